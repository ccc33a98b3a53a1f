/** What an S3 backend does when its server fails, in every manner that a proxy in between can play: over any server. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { DatabaseSync } from 'node:sqlite'
import t, { type Test } from 'tap'
import { type Backend } from '../../src/backend/backend.ts'
import { checkStore, type Finding } from '../../src/backend/s3/check.ts'
import { type S3Options } from '../../src/backend/s3/opened.ts'
import { type S3Backend } from '../../src/backend/s3/s3.ts'
import { ROOT } from '../../src/vospace/path.ts'
import { FaultProxy, type Asked, type HttpFault } from '../fixtures/fault-proxy.ts'
import { at, body, bytesOf, entryAt, extents, file, md5, namesIn, p, refused } from './cases.ts'
import { bucketOf, clientOf, optionsOf, scratch, type S3Place, type S3Scratch } from './s3-bucket.ts'

const MIB = 2 ** 20
const BIG = randomBytes(12 * MIB)

interface World {
  readonly backend: S3Backend
  readonly proxy: FaultProxy
  readonly place: S3Place
  readonly ground: S3Scratch
}

async function start(t: Test, server: S3Place, options: Partial<S3Options> = {}): Promise<World> {
  const proxy = await FaultProxy.start(server.endpoint)
  const place = { ...server, endpoint: proxy.endpoint }
  const ground = scratch(place)
  const backend = ground.backend(options)
  await backend.start()
  t.teardown(async () => {
    proxy.fault = () => undefined
    await backend.stop()
    await proxy.stop()
    ground.dispose()
  })
  return { backend, proxy, place, ground }
}

/** What a check finds of this store, beside whatever uses it. */
export async function findings(place: S3Place, ground: S3Scratch, repair: boolean): Promise<Finding[]> {
  const found: Finding[] = []
  const options = optionsOf(place, ground)
  await checkStore(options, { repair, found: (one) => found.push(one) })
  options.bucket.close()
  return found
}

/** The first `count` requests that match get the fault. */
const first = (count: number, matches: (asked: Asked) => boolean, fault: HttpFault) => {
  let left = count
  return (asked: Asked): HttpFault | undefined => (matches(asked) && left-- > 0 ? fault : undefined)
}
const isPut = ({ method }: Asked) => method === 'PUT'
const isGet = ({ method }: Asked) => method === 'GET'

const LOST: HttpFault = { kind: 'lost' }
const SLOW: HttpFault = { kind: 'refused', status: 503, code: 'SlowDown' }

const put = (b: Backend, bytes: Buffer | string = 'new') => b.put(p('/f'), body(bytes), { draft: file })

export function s3Faults(name: string, server: S3Place): void {
  const world = (sentence: string, run: (t: Test, world: World) => Promise<void>): void =>
    void t.test(`${name}: ${sentence}`, async (t) => run(t, await start(t, server)))

  world('what passes by itself is tried again, and nobody is told', async (t, { backend, proxy, place, ground }) => {
    for (const fault of [LOST, SLOW, { kind: 'unanswered' } as const]) {
      proxy.fault = first(1, isPut, fault)
      await put(backend, 'small')
      proxy.fault = first(1, isPut, fault)
      await put(backend, BIG)
      proxy.fault = first(1, ({ method }) => method === 'POST', fault)
      t.equal((await put(backend, BIG)).md5, md5(BIG))
      proxy.fault = first(1, isGet, fault)
      t.ok(BIG.equals(await bytesOf(backend, p('/f'))))
    }
    proxy.fault = () => undefined
    // an upload that was begun twice has one that nobody knows of
    const found = await findings(place, ground, true)
    t.same(
      found.filter(({ kind }) => kind !== 'upload'),
      [],
    )
    t.same(await findings(place, ground, false), [])
  })

  world('a read goes on where the connection broke off', async (t, { backend, proxy }) => {
    await put(backend, BIG)
    proxy.asked.length = 0
    proxy.fault = first(2, isGet, { kind: 'truncated', bytes: 3 * MIB })
    t.ok(BIG.equals(await bytesOf(backend, p('/f'))))
    t.equal(proxy.asked.filter(isGet).length, 3)
    proxy.fault = (asked) => (isGet(asked) ? { kind: 'truncated', bytes: 0 } : undefined)
    await t.rejects(bytesOf(backend, p('/f')), 'and not without end')
  })

  void t.test(`${name}: several connections bring an object where that is asked for, and no more than are read`, async (t) => {
    const { backend, proxy } = await start(t, server, { parallelReads: 3 })
    const bytes = randomBytes(32 * MIB)
    const gets = (): number => proxy.asked.filter(isGet).length
    await put(backend, bytes)
    proxy.asked.length = proxy.most = 0
    proxy.fault = (asked) => (isGet(asked) ? { kind: 'slow', milliseconds: 100 } : undefined)
    t.ok(bytes.equals(await bytesOf(backend, p('/f'))))
    t.same([gets(), proxy.most], [7, 3], 'a range of 5 MiB each')
    // who reads nothing more has as much waiting as before
    proxy.asked.length = 0
    const { body: left } = await backend.read({ path: p('/f') })
    await once(left, 'readable')
    await new Promise((resolve) => setTimeout(resolve, 500))
    t.equal(gets(), 3)
    left.destroy()
    proxy.asked.length = 0
    proxy.fault = first(2, ({ method, url }) => isGet({ method, url }) && gets() > 2, { kind: 'truncated', bytes: MIB })
    t.ok(bytes.equals(await bytesOf(backend, p('/f'))), 'one that breaks off is taken up')
    proxy.fault = (asked) => (isGet(asked) && gets() > 4 ? LOST : undefined)
    await t.rejects(bytesOf(backend, p('/f')))
  }) // prettier-ignore

  world('a server that is gone is one fault, and what was there stays', async (t, { backend, proxy, place, ground }) => {
    await put(backend, 'old')
    const kept = await entryAt(backend, p('/f'))
    proxy.fault = () => LOST
    await refused(t, put(backend), 'ServiceBusy')
    await refused(t, put(backend, BIG), 'ServiceBusy')
    await refused(t, backend.put(p('/g'), body('x'), { draft: file }), 'ServiceBusy')
    await refused(t, bytesOf(backend, p('/f')), 'ServiceBusy')
    await refused(t, backend.amend({ path: p('/f') }, extents(at(0, 'x')), { length: 3 }), 'ServiceBusy')
    await refused(t, backend.copy(p('/f'), p('/h'), file), 'ServiceBusy')
    await refused(t, backend.probe(), 'ServiceBusy')
    t.same(await entryAt(backend, p('/f')), kept)
    t.same(await namesIn(backend, ROOT), ['f'])
    // what needs no bytes goes on
    await backend.move(p('/f'), p('/moved'))
    await backend.move(p('/moved'), p('/f'))
    proxy.fault = () => undefined
    t.equal(String(await bytesOf(backend, p('/f'))), 'old')
    t.same(await findings(place, ground, false), [])
  }) // prettier-ignore

  world('a server that goes away in the middle of an upload leaves nothing', async (t, { backend, proxy, place, ground }) => {
    for (const after of [1, 2, 3, 4, 5]) {
      let count = 0
      proxy.fault = () => (++count > after ? LOST : undefined)
      await put(backend, BIG).then(
        () => t.fail('it had no server'),
        () => t.pass(),
      )
    }
    proxy.fault = () => undefined
    t.same(await namesIn(backend, ROOT), [])
    await findings(place, ground, true)
    t.same(await findings(place, ground, false), [])
  }) // prettier-ignore

  world('503 without end is ServiceBusy, after a bounded number of tries', async (t, { backend, proxy }) => {
    proxy.fault = () => SLOW
    proxy.asked.length = 0
    await refused(t, put(backend), 'ServiceBusy', 'EAGAIN')
    t.equal(proxy.asked.filter(isPut).length, 3)
  })

  world('a full bucket is QuotaExceeded', async (t, { backend, proxy }) => {
    await put(backend, 'old')
    for (const code of ['QuotaExceeded', 'XMinioStorageFull']) {
      proxy.fault = (asked) => (isPut(asked) ? { kind: 'refused', status: 403, code } : undefined)
      await refused(t, put(backend), 'QuotaExceeded', 'ENOSPC')
      await refused(t, put(backend, BIG), 'QuotaExceeded', 'ENOSPC')
    }
    t.equal(String(await bytesOf(backend, p('/f'))), 'old')
  })

  world('another ETag than that of the bytes is no success', async (t, { backend, proxy }) => {
    await put(backend, 'old')
    proxy.fault = first(1, isPut, { kind: 'etag' })
    await put(backend, 'once more')
    t.equal(String(await bytesOf(backend, p('/f'))), 'once more')
    proxy.fault = first(99, isPut, { kind: 'etag' })
    await refused(t, put(backend), 'TransferFailed')
    await refused(t, put(backend, BIG), 'TransferFailed')
    t.equal(String(await bytesOf(backend, p('/f'))), 'once more')
  })

  world('a catalog and a bucket that disagree are told apart and put right', async (t, { backend, place, ground }) => {
    await put(backend, 'bytes')
    await backend.put(p('/gone'), body('bytes'), { draft: file })
    await backend.put(p('/other'), body('bytes'), { draft: file })
    const { bucket, keyOf } = inside(backend, place)
    await bucket.remove(keyOf('gone'))
    const intruder = Buffer.from('what nobody wrote')
    const sum = Buffer.from(md5(intruder), 'hex')
    await bucket.put(keyOf('other'), intruder, sum)
    await bucket.put(`${ground.prefix}stray`, intruder, sum)
    await bucket.createUpload(`${ground.prefix}parts`)
    await refused(t, bytesOf(backend, p('/gone')), 'TransferFailed', 'EIO')
    await refused(t, bytesOf(backend, p('/other')), 'TransferFailed', 'EIO')
    const kinds = (found: Finding[]) => found.map(({ kind, what }) => `${kind} ${what}`).sort()
    const all = ['dangling /gone', 'different /other', `orphan ${ground.prefix}stray`, `upload ${ground.prefix}parts`]
    t.same(kinds(await findings(place, ground, false)), all)
    t.same(kinds(await findings(place, ground, true)), all)
    t.same(kinds(await findings(place, ground, false)), ['different /other'], 'only a new put can say what it shall be')
    t.same(await namesIn(backend, ROOT), ['f', 'other'])
    bucket.close()
  })

  world('an ETag that was kept without its quotes is that of the object', async (t, { backend, place, ground }) => {
    await put(backend, 'bytes')
    const database = new DatabaseSync(optionsOf(place, ground).catalog)
    database.exec(`UPDATE nodes SET etag = replace(etag, '"', '')`)
    database.close()
    t.same(await findings(place, ground, false), [])
  })

  world('clients that rename and write one node at once lose nothing', async (t, { backend, place, ground }) => {
    const { id } = await put(backend, 'first')
    const names = ['/f', '/g', '/h'] as const
    const turn = async (i: number): Promise<unknown> => {
      const [from, to] = [names[i % 3] ?? '/f', names[(i + 1) % 3] ?? '/g']
      return i % 2 === 0 ? backend.move(p(from), p(to)) : backend.put(p(from), body(`from ${i}`), { id })
    }
    const ended = await Promise.allSettled(Array.from({ length: 40 }, (_, i) => turn(i)))
    t.ok(ended.some((one) => one.status === 'fulfilled'))
    const left = await namesIn(backend, ROOT)
    t.equal(left.length, 1, 'one node, under one name')
    t.match(await entryAt(backend, p(`/${left[0] ?? ''}`)), { id })
    t.match(String(await bytesOf(backend, p(`/${left[0] ?? ''}`))), /^(first|from \d+)$/)
    await until(async () => (await findings(place, ground, false)).length === 0)
  })

  void t.test(`${name}: it does not start where there is no server, or no such bucket`, async (t) => {
    const gone = scratch({ ...server, endpoint: 'http://127.0.0.1:9' })
    await refused(t, gone.backend().start(), 'ServiceBusy')
    const bucket = bucketOf({ ...server, bucket: 'not-there-at-all' }, clientOf(server))
    await refused(t, gone.backend({ bucket }).start(), 'InternalFault')
    gone.dispose()
  })
}

function inside(backend: S3Backend, place: S3Place) {
  return { bucket: bucketOf(place), keyOf: (name: string): string => backend.objectOf(p(`/${name}`)) ?? '' }
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 100; tries > 0; tries--) {
    if (await holds()) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('it has not come to hold')
}
