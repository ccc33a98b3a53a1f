/** Catalog and bucket when others are at work on them too: what they take for left behind, and what they must not. */
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t from 'tap'
import { type Bucket } from '../../src/backend/s3/bucket.ts'
import { claimKey } from '../../src/backend/s3/claim.ts'
import { Catalog } from '../../src/store/catalog.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { ROOT } from '../../src/vospace/path.ts'
import { FakeS3 } from '../fixtures/fake-s3.ts'
import { at, body, bytesOf, container, extents, file, namesIn, p, refused } from './cases.ts'
import { bucketOf, FAKE, scratch, type S3Scratch } from './s3-bucket.ts'
import { findings } from './s3-faults.ts'

const server = await FakeS3.start()
t.teardown(() => server.stop())
const place = { ...FAKE, endpoint: server.endpoint }

/** Keys of the objects that nodes may have. */
const objects = ({ prefix }: S3Scratch): string[] =>
  [...server.objects.keys()].filter((key) => key.includes(prefix) && !key.endsWith(claimKey(prefix)))

/** Runs `meanwhile` once an object is in the bucket, before its node is. */
function interrupted(meanwhile: () => Promise<unknown>): Bucket {
  const bucket = bucketOf(place)
  const put = bucket.put.bind(bucket)
  bucket.put = async (key, ...rest) => {
    const etag = await put(key, ...rest)
    if (!key.endsWith('/catalog')) await meanwhile()
    return etag
  }
  return bucket
}

const sql = ({ dir }: S3Scratch, text: string): void => {
  const database = new DatabaseSync(join(dir, 'catalog.db'))
  database.exec(text)
  database.close()
}

void t.test(
  'a write that another process takes for left behind is refused, and no node is without its bytes',
  async (t) => {
    const ground = scratch(place)
    // as a gateway of another container has it, that was not heard of for long
    const forget = `UPDATE intents SET since = 0, holder = (SELECT replace(holder, ' ', ' 1') FROM intents) WHERE state = 'writing'`
    const bucket = interrupted(async () => {
      sql(ground, forget)
      await findings(place, ground, true)
    })
    const backend = ground.backend({ bucket })
    await backend.start()
    await refused(t, backend.put(p('/f'), body('bytes'), { draft: file }), 'ServiceBusy')
    t.same(await namesIn(backend, ROOT), [])
    t.same(await findings(place, ground, false), [])
    await backend.stop()
    ground.dispose()
  },
)

void t.test('what is ended or heard of between a look and the next step is not taken for left behind', (t) => {
  const ground = scratch(place)
  const catalog = new Catalog(join(ground.dir, 'catalog.db'))
  catalog.intents.begin('k', 5)
  catalog.intents.keep(7)
  t.match(catalog.intents.get('k'), { state: 'writing', since: 7 })
  t.equal(catalog.intents.bury(100_000), 0)
  catalog.intents.settle('k')
  t.throws(() => catalog.intents.settle('k'), /given up/)
  catalog.close()
  ground.dispose()
  t.end()
})

void t.test('an amend that begins anew leaves no object behind', async (t) => {
  const ground = scratch(place)
  const other = ground.backend()
  let times = 1
  const bucket = interrupted(async () => {
    if (times-- > 0) await other.put(p('/f'), body('others'), {})
  })
  await other.start()
  await other.put(p('/f'), body('old'), { draft: file })
  const backend = ground.backend({ bucket })
  await backend.start()
  await backend.amend({ path: p('/f') }, extents(at(0, 'A')), { length: 6 })
  t.equal(String(await bytesOf(backend, p('/f'))), 'Athers')
  for (let tries = 100; tries > 0 && objects(ground).length > 1; tries--) await new Promise((resolve) => setTimeout(resolve, 20))
  t.equal(objects(ground).length, 1)
  await backend.stop()
  await other.stop()
  ground.dispose()
}) // prettier-ignore

void t.test('what a purge that was cut short has left goes with the next sweep', async (t) => {
  const ground = scratch(place)
  const backend = ground.backend()
  await backend.start()
  const made = await backend.make(p('/d'), container)
  await backend.put(p('/d/f'), body('bytes'), { draft: file })
  await backend.trash.put(p('/d'), { id: made.id }, { id: 'x', path: p('/d'), type: 'container', deleted: 1 })
  sql(ground, 'DELETE FROM trash')
  for await (const keeper of backend.trash.keepers()) await backend.trash.sweep(keeper, 0)
  t.match(await backend.usage(ROOT), { used: 0, files: 1 })
  await backend.stop()
  ground.dispose()
})

void t.test('a catalog that is not of the bucket starts no gateway, and repairs nothing', async (t) => {
  const ground = scratch(place)
  const backend = ground.backend()
  await backend.start()
  await backend.put(p('/f'), body('bytes'), { draft: file })
  await backend.stop()
  const lost = { ...scratch(place), prefix: ground.prefix }
  await t.rejects(findings(place, lost, true), /there is no catalog/)
  t.notOk(existsSync(join(lost.dir, 'catalog.db')))
  const fresh = (): Promise<void> => ground.backend({ catalog: join(lost.dir, 'catalog.db') }).start()
  await refused(t, fresh(), 'InternalFault')
  await t.rejects(findings(place, lost, true), /is of another catalog/)
  const bucket = bucketOf(place)
  await bucket.remove(claimKey(ground.prefix))
  await refused(t, fresh(), 'InternalFault')
  await t.rejects(findings(place, lost, true), /has objects, and the catalog is new/)
  t.same(objects(ground).length, 1)
  t.same(await findings(place, ground, true), [], 'its own catalog finds its objects again, and says so anew')
  const empty = await FakeS3.start()
  await refused(
    t,
    ground.backend({ bucket: bucketOf({ ...place, endpoint: empty.endpoint }) }).start(),
    'InternalFault',
  )
  await empty.stop()
  await backend.start()
  t.equal(String(await bytesOf(backend, p('/f'))), 'bytes')
  await backend.stop()
  bucket.close()
  rmSync(lost.dir, { recursive: true })
  ground.dispose()
})

void t.test('objects of a profile whose prefix is within that of another one are its own', async (t) => {
  const outer = scratch(place)
  const inner = { ...scratch(place), prefix: `${outer.prefix}inner/` }
  const backends = [outer.backend(), outer.backend({ prefix: inner.prefix, catalog: join(inner.dir, 'catalog.db') })]
  for (const backend of backends) {
    await backend.start()
    await backend.put(p('/f'), body('bytes'), { draft: file })
  }
  t.same(await findings(place, outer, true), [])
  t.same(await findings(place, inner, true), [])
  for (const backend of backends) {
    t.equal(String(await bytesOf(backend, p('/f'))), 'bytes')
    await backend.stop()
  }
  rmSync(inner.dir, { recursive: true })
  outer.dispose()
})

void t.test('objects that cannot be deleted keep no others from it', async (t) => {
  const ground = scratch(place)
  const bucket = bucketOf(place)
  const remove = bucket.remove.bind(bucket)
  const stuck = new Set<string>()
  bucket.remove = async (key, ...rest) => {
    if (stuck.has(key)) throw new Fault('InternalFault', 'the object store refuses: AccessDenied')
    return remove(key, ...rest)
  }
  const backend = ground.backend({ bucket })
  await backend.start()
  for (let i = 0; i < 20; i++) {
    await backend.put(p(`/f${i}`), body('bytes'), { draft: file })
    if (i < 12) stuck.add(backend.objectOf(p(`/f${i}`)) ?? '')
  }
  for (let i = 0; i < 20; i++) await backend.remove(p(`/f${i}`), 'data')
  for (let tries = 100; tries > 0 && objects(ground).length > 12; tries--) await sleep(20)
  t.same(objects(ground).sort(), [...stuck].sort())
  stuck.clear()
  sql(ground, 'UPDATE intents SET since = 0')
  t.same(await findings(place, ground, true), [])
  t.same(objects(ground), [], 'they are tried again')
  await backend.stop()
  ground.dispose()
})

void t.test('an object that comes after its write was given up is deleted again', async (t) => {
  const ground = scratch(place)
  const bucket = bucketOf(place)
  const put = bucket.put.bind(bucket)
  const late: (() => Promise<unknown>)[] = []
  bucket.put = async (key, ...rest) => {
    if (key.endsWith('/catalog')) return put(key, ...rest)
    late.push(() => put(key, ...rest))
    throw new Fault('ServiceBusy', 'the object store does not answer')
  }
  const backend = ground.backend({ bucket })
  await backend.start()
  await refused(t, backend.put(p('/f'), body('bytes'), { draft: file }), 'ServiceBusy')
  const count = (): number => server.seen.filter((one) => one.startsWith(`DELETE ${ground.prefix}`)).length
  for (let tries = 100; tries > 0 && count() === 0; tries--) await sleep(20)
  for (const come of late) await come()
  t.equal(objects(ground).length, 1)
  t.same(await findings(place, ground, false), [], 'it is known')
  sql(ground, 'UPDATE intents SET since = 0')
  t.same(await findings(place, ground, true), [])
  t.same(objects(ground), [])
  await backend.stop()
  ground.dispose()
})

const sleep = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))
