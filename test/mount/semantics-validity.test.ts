// mount/SEMANTICS.md `long-validity` and `names-ahead`: what is not asked for again, and what is not asked for one by one.
import t from 'tap'
import { type Inode } from '../../mount/cache.ts'
import { Doubts } from '../../mount/doubts.ts'
import { startGateway } from '../http/gateway.ts'
import { fuseSkip } from '../parts.ts'
import { mountOf } from './client-harness.ts'
import { drive, HOME, js, sh, until } from './driver-harness.ts'

const skip = await fuseSkip()
const HOURS = 3600

t.test('long-validity', { skip }, async (t) => {
  await t.test('what was asked is not asked again, by opens neither', async (t) => {
    const { dir, remote } = await drive(t, { ttl: HOURS, readOnly: true })
    remote.write(`${HOME}/survey/image.fits`, Buffer.alloc(300_000, 'i'))
    const look =
      'ls -lR . > /dev/null; cat survey/image.fits | wc -c; test ! -e survey/absent; stat -c %s survey/image.fits'
    t.equal((await sh(look, dir)).output, '300000\n300000\n')
    remote.calls.splice(0)
    t.equal((await sh(`sleep 1.2; ${look.replace(/^[^;]*; /, '')}`, dir)).output, '300000\n300000\n')
    t.same(
      remote.calls.map(({ name }) => name),
      [],
      'not one call, though more than the usual second has passed',
    )
  })

  await t.test('an ordinary mount asks at every open, one for writing too', async (t) => {
    for (const options of [{ ttl: 1, readOnly: true }, { ttl: HOURS }]) {
      const { dir, remote } = await drive(t, options)
      remote.write(`${HOME}/f`, 'one')
      t.equal((await sh('cat f', dir)).output, 'one')
      remote.write(`${HOME}/f`, 'three')
      t.equal((await sh('cat f', dir)).output, 'three')
    }
  })

  await t.test('news of changes still counts', async (t) => {
    const gateway = await startGateway(t)
    const put = (name: string, body: string) =>
      gateway.call(`/files/home/alice/${name}`, { method: 'PUT', as: 'alice', body })
    await put('f', 'one')
    const { dir } = await mountOf(t, gateway, { ttl: HOURS, readOnly: true })
    const read = (name: string) =>
      js<string>(`return attempt(() => fs.readFileSync(argv[0] + '/${name}', 'utf8'))`, dir)
    t.equal(await read('f'), 'one')
    t.equal(await read('later'), 'ENOENT')
    await put('f', 'three')
    await put('later', 'is there')
    t.equal(
      await until(
        () => read('f'),
        (text) => text !== 'one',
      ),
      'three',
    )
    t.equal(
      await until(
        () => read('later'),
        (text) => text !== 'ENOENT',
      ),
      'is there',
    )
  })

  await t.test('of absent names as many are believed as could be told of after a gap', async (t) => {
    const doubts = new Doubts({ advance: () => 0 })
    const folder = { nodeid: 1 } as Inode
    const dropped = Array.from({ length: 5000 }, (_, i) => doubts.absent(folder, `none-${i}`)?.[1])
    const last = dropped.findIndex((name) => name !== undefined)
    t.equal(dropped[last], 'none-0', 'the oldest is to be looked up again')
    t.equal(doubts.takeAbsent().length, last)
  })
})

t.test('names-ahead', { skip }, async (t) => {
  const gateway = await startGateway(t)
  const { dir } = await mountOf(t, gateway)
  const make = `fs.mkdirSync(argv[0] + '/many'); for (let i = 0; i < 80; i++) fs.mkdirSync(argv[0] + '/many/d' + i)`
  await js(make, dir)
  const { dir: other } = await mountOf(t, gateway)
  const asked = () =>
    gateway.log.filter(({ fields }) => /fs\/v1\/(entry|list)/.test((fields as { target?: string }).target ?? '')).length
  const before = asked()
  const stat = `return [...Array(80).keys()].filter((i) => fs.statSync(argv[0] + '/many/d' + i).isDirectory()).length`
  t.equal(await js(stat, other), 80)
  t.ok(asked() - before < 70, `${asked() - before} requests for 80 names`)
  await gateway.call('/nodes/home/alice/many/d7', { method: 'DELETE', as: 'alice' })
  const there = () => js<boolean>(`return fs.existsSync(argv[0] + '/many/d7')`, other)
  t.equal(await until(there, (is) => !is), false)
})
