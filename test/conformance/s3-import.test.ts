/** Imports over a server in this process, what no real one can be made to do included; over real ones: test/s3. */
import t from 'tap'
import { FakeS3 } from '../fixtures/fake-s3.ts'
import { bytesOf, container, entryAt, namesIn, p, refused } from './cases.ts'
import { FAKE } from './s3-bucket.ts'
import { importWorld, s3Imports } from './s3-import.ts'

const server = await FakeS3.start()
t.teardown(() => server.stop())
const place = { ...FAKE, endpoint: server.endpoint }

s3Imports('a server in this process', place)

void t.test('a run that was cut short goes on after its last page, and counts right', async (t) => {
  const { backend, others, bring } = await importWorld(t, place)
  for (let i = 0; i < 2500; i++) server.keep(`${others.prefix}d${i % 10}/f${i}`, 'x')
  const source = { container: p('/data'), bucket: place.bucket, prefix: others.prefix, writable: false }
  for await (const { counts } of backend.imports.bring(source, 'one')) {
    t.equal(counts.objects, 1000)
    break
  }
  t.match(backend.imports.state(p('/data')), { run: 'one', counts: { added: 1000 } })
  server.seen.length = 0
  t.match((await bring({ run: 'one' })).counts, { objects: 2500, added: 2500 })
  t.equal(server.seen.length, 3, 'a look at the bucket, and two pages')
  t.equal((await bring({ run: 'one' })).counts, undefined, 'one that has ended has nothing to do')
  t.match((await bring({ run: 'two' })).counts, { objects: 2500, added: 0 })
  for (let i = 0; i < 2500; i += 2) server.objects.delete(`${others.prefix}d${i % 10}/f${i}`)
  t.match((await bring()).counts, { objects: 1250, removed: 1250 })
  t.same(await namesIn(backend, p('/data')), ['d1', 'd3', 'd5', 'd7', 'd9'])
  t.match(await backend.usage(p('/')), { used: 1250, files: 1257 })
})

void t.test('another run that begins meanwhile ends the first', async (t) => {
  const { backend, others, bring } = await importWorld(t, place)
  for (let i = 0; i < 1500; i++) server.keep(`${others.prefix}f${i}`, 'x')
  const source = { container: p('/data'), bucket: place.bucket, prefix: others.prefix, writable: false }
  const first = backend.imports.bring(source, 'one')
  await first.next()
  t.match((await bring({ run: 'two' })).counts, { objects: 1500, added: 500 })
  await refused(t, first.next(), 'NodeBusy')
})

void t.test('a key that is no UTF-8 is told as it stands in URIs, and stops nothing', async (t) => {
  const { backend, others, bring } = await importWorld(t, place)
  server.keep(`${others.prefix}bad\udcff`, 'x')
  server.keep(`${others.prefix}good`, 'x')
  server.keep(`${others.prefix}.karst/x`, 'x')
  t.match((await bring()).counts, { objects: 3, added: 2, leftOut: 1 })
  t.same(backend.imports.leftOut(p('/data'), '', 9), [{ key: `${encodeURIComponent(others.prefix)}bad%FF`, reason: 'name' }])
}) // prettier-ignore

void t.test('a server that lists in another order loses nothing', async (t) => {
  const { backend, others, bring } = await importWorld(t, place)
  // by path and not by byte, as a server has them that walks folders
  for (let i = 0; i < 1500; i++) server.keep(`${others.prefix}z/f${i}`, 'x')
  server.keep(`${others.prefix}a`, 'x')
  server.order = (a, b) => (a < b ? 1 : -1)
  t.teardown(() => (server.order = undefined))
  t.match((await bring()).counts, { objects: 1501, added: 1501 })
  t.match((await bring()).counts, { objects: 1501, added: 0, changed: 0, removed: 0 })
  server.objects.delete(`${others.prefix}a`)
  server.objects.delete(`${others.prefix}z/f7`)
  t.match((await bring()).counts, { objects: 1499, removed: 2 })
  t.same(await namesIn(backend, p('/data')), ['z'])
})

void t.test('an object that others have keys below is a container, unless somebody has said something of its node', async (t) => {
  const { backend, others, bring } = await importWorld(t, place)
  server.keep(`${others.prefix}both`, 'x')
  server.keep(`${others.prefix}said`, 'x')
  await bring()
  await backend.set({ path: p('/data/said') }, { properties: new Map([['ivo://x#note', 'kept']]) })
  server.keep(`${others.prefix}both/f`, 'x')
  server.keep(`${others.prefix}said/f`, 'x')
  for (let round = 0; round < 2; round++) {
    await bring()
    const why = backend.imports.leftOut(p('/data'), '', 9).map(({ key, reason }) => `${key.slice(others.prefix.length)} ${reason}`)
    t.same(why, ['both prefix', 'said/f below'])
  }
  t.match(await entryAt(backend, p('/data/both')), { type: 'container' })
  t.match(await entryAt(backend, p('/data/said')), { type: 'data' })
}) // prettier-ignore

void t.test('what cannot be imported is refused before anything is', async (t) => {
  const { backend, ground, others } = await importWorld(t, place)
  const bring = async (at: string, prefix: string, bucket: string = place.bucket): Promise<void> => {
    for await (const _ of backend.imports.bring({ container: p(at), bucket, prefix, writable: false }, 'r'));
  }
  server.keep(`${others.prefix}d/f`, 'x')
  await refused(t, bring('/none', others.prefix), 'NodeNotFound')
  await refused(t, bring('/data', ground.prefix), 'InvalidArgument')
  await refused(t, bring('/data', others.prefix, 'no-such-bucket'), 'InternalFault')
  await bring('/data', others.prefix)
  await refused(t, bring('/data', 'elsewhere/'), 'DuplicateNode')
  await refused(t, bring('/data/d', others.prefix), 'InvalidArgument')
  await refused(t, bring('/', others.prefix), 'InvalidArgument')
  await backend.make(p('/all'), container)
  await bring('/all', '')
  t.notOk((await namesIn(backend, p('/all'))).includes(ground.prefix.slice(0, -1)), 'the bytes of our own nodes are no data set')
  t.equal(String(await bytesOf(backend, p(`/all/${others.prefix}d/f`))), 'x')
}) // prettier-ignore
