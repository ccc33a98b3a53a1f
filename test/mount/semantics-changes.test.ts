// What one mount or an HTTP client changes, another mount sees within a second, whatever it may believe: by the change stream alone.
import t from 'tap'
import { type Gateway, operation, startGateway } from '../http/gateway.ts'
import { fuseSkip } from '../parts.ts'
import { mountOf, type MountedHere } from './client-harness.ts'
import { js, until } from './driver-harness.ts'
import { Wire } from './wire.ts'

const skip = await fuseSkip()
t.setTimeout(600_000)

/** Seconds: nothing is seen because time has passed. */
const LONG = 3600

/** Asks a process in the mount until it sees what is wanted. */
const seen = (dir: string, expression: string, wanted: unknown): Promise<unknown> =>
  js(
    `const dir = argv[0], wanted = argv[1], began = Date.now()
     for (;;) {
       const said = JSON.stringify(attempt(() => ${expression}))
       if (said === wanted || Date.now() - began > 20000) return JSON.parse(said)
       await new Promise((resolve) => setTimeout(resolve, 20))
     }`,
    dir,
    JSON.stringify(wanted),
  )

const read = (name: string): string => `fs.readFileSync(dir + '/${name}', 'utf8')`
const size = (name: string): string => `fs.statSync(dir + '/${name}').size`
const exists = (name: string): string => `fs.existsSync(dir + '/${name}')`

t.test('news-at-once', { skip }, async (t) => {
  const gateway = await startGateway(t)
  const [a, b] = [await mountOf(t, gateway, { ttl: LONG }), await mountOf(t, gateway, { ttl: LONG })]
  const put = (name: string, body: string) =>
    gateway.call(`/files/home/alice/${name}`, { method: 'PUT', as: 'alice', body })
  await put('f', 'one')
  await put('d', '')
  await t.test('bytes and sizes', async (t) => {
    t.equal(await seen(b.dir, size('f'), 3), 3)
    await put('f', 'by HTTP')
    t.equal(await seen(b.dir, size('f'), 7), 7)
    t.equal(await seen(b.dir, read('f'), 'by HTTP'), 'by HTTP')
    await js(`fs.writeFileSync(argv[0] + '/f', 'by the other mount')`, a.dir)
    t.equal(await seen(b.dir, size('f'), 18), 18)
    t.equal(await seen(a.dir, size('f'), 18), 18, 'and its own')
  })
  await t.test('names that come, go and move', async (t) => {
    t.equal(await seen(b.dir, exists('new'), false), false)
    await put('new', 'x')
    t.equal(await seen(b.dir, exists('new'), true), true)
    await js(`fs.renameSync(argv[0] + '/new', argv[0] + '/moved')`, a.dir)
    t.equal(await seen(b.dir, exists('new'), false), false)
    t.equal(await seen(b.dir, read('moved'), 'x'), 'x')
    await js(`fs.unlinkSync(argv[0] + '/moved')`, a.dir)
    t.equal(await seen(b.dir, exists('moved'), false), false)
  })
  await t.test('modes, and folders with what is in them', async (t) => {
    t.equal(await seen(b.dir, `fs.statSync(dir + '/f').mode & 0o777`, 0o640), 0o640)
    await js(`fs.chmodSync(argv[0] + '/f', 0o644); fs.mkdirSync(argv[0] + '/x/y', { recursive: true })`, a.dir)
    t.equal(await seen(b.dir, `fs.statSync(dir + '/f').mode & 0o777`, 0o644), 0o644)
    await js(`fs.writeFileSync(argv[0] + '/x/y/deep', 'deep')`, a.dir)
    t.equal(await seen(b.dir, read('x/y/deep'), 'deep'), 'deep')
    await js(`fs.renameSync(argv[0] + '/x', argv[0] + '/z')`, a.dir)
    t.equal(await seen(b.dir, exists('x/y/deep'), false), false)
    t.equal(await seen(b.dir, read('z/y/deep'), 'deep'), 'deep')
  })
  await t.test('what is read of an open file', async (t) => {
    const [open] = [js(`const fd = fs.openSync(argv[0] + '/f', 'r'), buffer = Buffer.alloc(100)
      fs.writeFileSync(argv[0] + '/opened', '')
      for (let left = 1000; left > 0; left--) {
        const said = buffer.toString('utf8', 0, fs.readSync(fd, buffer, 0, 100, 0))
        if (said === 'while it is open') return said
        await new Promise((resolve) => setTimeout(resolve, 20))
      }`, b.dir)] // prettier-ignore
    const opened = () => gateway.call('/fs/v1/entry?path=/home/alice/opened', { as: 'alice' })
    await until(opened, ({ status }) => status === 200)
    await put('f', 'while it is open')
    t.equal(await open, 'while it is open')
  })
  t.same(await b.ask('log'), [])
})

t.test('news-after-a-gap', { skip }, async (t) => {
  const gateway = await startGateway(t)
  const wire = new Wire(t, gateway.port)
  await wire.listening
  const b = await mountOf(t, gateway, { ttl: LONG, url: wire.url })
  const put = (name: string, body: string) =>
    gateway.call(`/files/home/alice/${name}`, { method: 'PUT', as: 'alice', body })
  await put('f', 'one')
  await put('g', 'one')
  t.equal(await seen(b.dir, size('f'), 3), 3)
  t.equal(await seen(b.dir, exists('later'), false), false)
  wire.cut()
  await put('f', 'three')
  await put('later', '')
  wire.mend()
  t.equal(await seen(b.dir, size('f'), 5), 5)
  t.equal(await seen(b.dir, exists('later'), true), true)
  t.equal(await seen(b.dir, size('g'), 3), 3)
  t.equal(await seen(b.dir, exists('absent'), false), false)
  wire.cut()
  await put('g', 'another')
  await put('absent', '')
  forgetChanges(gateway)
  wire.mend()
  t.equal(await seen(b.dir, size('g'), 7), 7)
  t.equal(await seen(b.dir, exists('absent'), true), true)
})

/** As if so much had been changed that the gateway no longer has it all. */
function forgetChanges({ store }: Gateway): void {
  const last = store.changes.last()
  const real = store.changes.since.bind(store.changes)
  store.changes.since = (seq, limit) => (seq < last ? { changes: [], resync: true } : real(seq, limit))
}

t.test(
  'ten thousand changes at once are borne by a mount that knows the files, in bounded memory',
  { skip },
  async (t) => {
    const gateway = await startGateway(t)
    const b = await mountOf(t, gateway, { ttl: LONG })
    for (let at = 0; at < 200; at++) {
      const path = `/home/alice/f${at}`
      await gateway.call('/fs/v1/data?path=' + path, { method: 'PUT', as: 'alice', headers: operation(), body: 'x' })
    }
    await js(`for (let at = 0; at < 200; at++) fs.statSync(argv[0] + '/f' + at)`, b.dir)
    const before = Number(await b.ask('rss'))
    const entries = await Promise.all(
      Array.from({ length: 200 }, (_, at) => gateway.call(`/fs/v1/entry?path=/home/alice/f${at}`, { as: 'alice' })),
    )
    const nodes = entries.map(({ text }) => JSON.parse(text) as { id: string; path: never })
    for (let round = 0; round < 50; round++) {
      gateway.space.changes.appendAll(
        nodes.map(({ id, path }) => ({ id, path, kind: round % 2 === 0 ? 'bytes' : 'made' })),
      )
    }
    await gateway.call('/files/home/alice/f7', { method: 'PUT', as: 'alice', body: 'the last' })
    t.equal(await seen(b.dir, size('f7'), 8), 8)
    const grown = (Number(await b.ask('rss')) - before) / 1048576
    t.ok(grown < 100, `${grown.toFixed(0)} MiB`)
    t.same(await b.ask('log'), [])
  },
)

for (const [what, body] of Object.entries({
  'no JSON': 'garbage\n',
  'lines of other things': '[]\n',
  'numbers that go back': '{"seq":5}\n{"seq":4}\n',
  'a path that is none': '{"seq":5}\n{"seq":6,"id":"x","kind":"made","path":"../x"}\n',
  'a line without an end': 'x'.repeat(3 << 20),
  nothing: '',
})) {
  t.test(
    `a gateway whose stream says ${what} is not asked without pause, and the mount goes on`,
    { skip },
    async (t) => {
      let asked = 0
      const gateway = await startGateway(t, {
        services: {
          changes: {
            async *follow() {
              asked++
              if (body !== '') yield { toJSON: () => undefined, map: () => ({ join: () => body }) } as never
            },
            stop: () => undefined,
          } as never,
        },
      })
      const b: MountedHere = await mountOf(t, gateway, { ttl: 0 })
      await js(
        `fs.writeFileSync(argv[0] + '/f', 'x'); await new Promise((resolve) => setTimeout(resolve, 2000))`,
        b.dir,
      )
      t.equal(await seen(b.dir, read('f'), 'x'), 'x')
      t.ok(asked >= 2 && asked < 12, `asked ${asked} times in two seconds`)
      if (body !== '') t.match(await b.ask('log'), /no news of changes made elsewhere/)
    },
  )
}
