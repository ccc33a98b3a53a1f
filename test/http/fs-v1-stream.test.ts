// The change stream of the mount API: what is told to whom, in order, and after a gap.
import { get } from 'node:https'
import { randomUUID } from 'node:crypto'
import { type IncomingMessage } from 'node:http'
import t, { type Test } from 'tap'
import { nodePath } from '../../src/vospace/path.ts'
import { type Gateway, operation, startGateway } from './gateway.ts'
import { authority, chainPem, credentials, type Name } from './people.ts'

interface Line {
  readonly seq: number
  readonly id?: string
  readonly kind?: string
  readonly path?: string
  readonly from?: string
  readonly resync?: boolean
}

class Stream {
  readonly lines: Line[] = []
  ended = false
  readonly #response: IncomingMessage

  private constructor(response: IncomingMessage) {
    this.#response = response
    let rest = ''
    response.on('data', (part: Buffer) => {
      const lines = (rest + part.toString()).split('\n')
      rest = lines.pop() ?? ''
      this.lines.push(...lines.map((line) => JSON.parse(line) as Line))
    })
    response.on('error', () => undefined)
    response.on('close', () => (this.ended = true))
  }

  static open(t: Test, gateway: Gateway, query = '', as: Name = 'alice'): Promise<Stream> {
    const tls = { cert: chainPem(credentials[as]), key: credentials[as].key, ca: authority.certificate }
    const place = { host: '127.0.0.1', servername: 'localhost', port: gateway.port, agent: false }
    return new Promise((resolve, reject) => {
      const request = get({ ...tls, ...place, path: gateway.path(`/fs/v1/changes${query}`) }, (response) => {
        if (response.statusCode === 200) resolve(new Stream(response))
        else reject(new Error(String(response.statusCode)))
      })
      request.on('error', reject)
      t.teardown(() => request.destroy())
    })
  }

  pause(): void {
    this.#response.pause()
  }

  /** What was told of nodes, once all up to now has been. */
  async told(gateway: Gateway): Promise<Line[]> {
    const last = gateway.store.changes.last()
    await this.until((lines) => lines.some(({ seq, id }) => id === undefined && seq >= last))
    return this.lines.filter(({ id }) => id !== undefined)
  }

  async until(holds: (lines: readonly Line[]) => boolean): Promise<void> {
    for (let left = 2000; !holds(this.lines); left--) {
      if (left === 0) throw new Error(`not told: ${JSON.stringify(this.lines.slice(-5))}`)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
}

const put = (gateway: Gateway, path: string, as: Name = 'alice', headers = {}) =>
  gateway.call(`/fs/v1/data?path=${path}`, {
    ...{ method: 'PUT', as, body: 'x' },
    headers: { ...operation(), ...headers },
  })

const post = (gateway: Gateway, call: string, document: object, as: Name = 'alice') =>
  gateway.call(`/fs/v1/${call}`, { method: 'POST', as, headers: operation(), body: JSON.stringify(document) })

t.test('what is changed is told at once, in order, and again to who asks from before it', async (t) => {
  const gateway = await startGateway(t)
  const stream = await Stream.open(t, gateway)
  await stream.until((lines) => lines.length > 0)
  t.same(stream.lines, [{ seq: gateway.store.changes.last() }], 'where it begins')
  const since = gateway.store.changes.last()
  await put(gateway, '/home/alice/f')
  await put(gateway, '/home/alice/f')
  await post(gateway, 'rename', { from: '/home/alice/f', to: '/home/alice/g' })
  await post(gateway, 'setattr', { path: '/home/alice/g', mode: 0o600 })
  await post(gateway, 'remove', { path: '/home/alice/g', type: 'leaf' })
  const told = await stream.told(gateway)
  t.match(told, [
    { kind: 'made', path: '/home/alice/f' },
    { kind: 'bytes', path: '/home/alice/f' },
    { kind: 'moved', path: '/home/alice/g', from: '/home/alice/f' },
    { kind: 'attributes', path: '/home/alice/g' },
    { kind: 'removed', path: '/home/alice/g' },
  ])
  t.equal(new Set(told.map(({ id }) => id)).size, 1)
  const again = await Stream.open(t, gateway, `?since=${since}`)
  t.same(await again.told(gateway), told)
  const later = await Stream.open(t, gateway, `?since=${told[2]?.seq ?? 0}`)
  t.same(await later.told(gateway), told.slice(3))
})

t.test(
  'a mount that changes much hears now and then how far the sequence has come, and at once when it waits',
  async (t) => {
    const gateway = await startGateway(t)
    const mount = randomUUID()
    const stream = await Stream.open(t, gateway, `?mount=${mount}`)
    await stream.until((lines) => lines.length > 0)
    const began = performance.now()
    for (let i = 0; i < 30; i++) await put(gateway, `/home/alice/f${i}`, 'alice', { 'mount-id': mount })
    t.same(await stream.told(gateway), [])
    // one when it begins, one for the first change, then one every 100 ms
    const most = 2 + Math.ceil((performance.now() - began) / 100)
    t.ok(stream.lines.length <= most, `${stream.lines.length} lines, at most ${most}`)
    await put(gateway, '/home/alice/g', 'alice', { 'mount-id': mount })
    const { session } = JSON.parse((await post(gateway, 'lease/session', {})).text) as { session: string }
    const asked = { session, path: '/home/alice/g', kind: 'flock', type: 'write', owner: 'a' }
    const { seq } = JSON.parse((await post(gateway, 'lease', asked)).text) as { seq: number }
    await stream.until((lines) => lines.some((line) => line.seq >= seq))
  },
)

t.test('nobody is told of what lies in containers that are closed to them', async (t) => {
  const gateway = await startGateway(t)
  const [alices, bobs] = [await Stream.open(t, gateway), await Stream.open(t, gateway, '', 'bob')]
  await put(gateway, '/home/alice/secret')
  await put(gateway, '/pub/open')
  await post(gateway, 'mkdir', { path: '/pub/closed' })
  await put(gateway, '/pub/closed/secret')
  await post(gateway, 'rename', { from: '/pub/open', to: '/pub/closed/open' })
  await post(gateway, 'rename', { from: '/home/alice/secret', to: '/pub/appeared' })
  await post(gateway, 'remove', { path: '/pub/closed/secret', type: 'leaf' })
  t.equal((await alices.told(gateway)).length, 7)
  t.match(await bobs.told(gateway), [
    { kind: 'made', path: '/pub/open' },
    { kind: 'made', path: '/pub/closed' },
    { kind: 'removed', path: '/pub/open' },
    { kind: 'moved', path: '/pub/appeared' },
  ])
  t.notMatch(JSON.stringify(bobs.lines), /secret|closed\/open|home\/alice/)
})

t.test('where the containers are gone, what is told has no path', async (t) => {
  const gateway = await startGateway(t)
  const since = gateway.store.changes.last()
  await post(gateway, 'mkdir', { path: '/pub/closed' })
  await put(gateway, '/pub/closed/secret')
  await post(gateway, 'remove', { path: '/pub/closed/secret', type: 'leaf' })
  await post(gateway, 'remove', { path: '/pub/closed', type: 'container' })
  const bobs = await Stream.open(t, gateway, `?since=${since}`, 'bob')
  const told = await bobs.told(gateway)
  t.match(told, [{ path: '/pub/closed' }, { kind: 'made' }, { kind: 'removed' }, { path: '/pub/closed' }])
  t.notMatch(JSON.stringify(told), /secret/)
})

t.test('a mount hears of its own tree, and not of its own changes', async (t) => {
  const gateway = await startGateway(t)
  const mount = randomUUID()
  const stream = await Stream.open(t, gateway, `?path=/home/alice/d&mount=${mount}`)
  await post(gateway, 'mkdir', { path: '/home/alice/d' })
  await put(gateway, '/home/alice/d/mine', 'alice', { 'mount-id': mount })
  await put(gateway, '/home/alice/d/other', 'alice', { 'mount-id': randomUUID() })
  await put(gateway, '/home/alice/elsewhere')
  await post(gateway, 'setattr', { path: '/home/alice', mode: 0o700 })
  t.match(await stream.told(gateway), [
    { path: '/home/alice/d' },
    { path: '/home/alice/d/other' },
    { path: '/home/alice', kind: 'attributes' },
  ])
})

t.test('after a gap, from the future and from another store it says resync', async (t) => {
  const gateway = await startGateway(t)
  await put(gateway, '/home/alice/f')
  const last = gateway.store.changes.last()
  const stream = await Stream.open(t, gateway, `?since=${last + 1000}`)
  await stream.until((lines) => lines.length > 0)
  t.same(stream.lines[0], { seq: last, resync: true })
  await put(gateway, '/home/alice/f')
  t.match(await stream.told(gateway), [{ path: '/home/alice/f', kind: 'bytes' }])
})

t.test('it beats, ends for its reader to be authenticated again, and ends with the gateway', async (t) => {
  const gateway = await startGateway(t, { limits: { heartbeat: 20, streamLife: 300 } })
  const stream = await Stream.open(t, gateway)
  await stream.until((lines) => lines.length > 3)
  while (!stream.ended) await new Promise((resolve) => setTimeout(resolve, 10))
  const other = await startGateway(t)
  const last = await Stream.open(t, other)
  await other.server.close(60)
  while (!last.ended) await new Promise((resolve) => setTimeout(resolve, 10))
  t.pass('long before its time')
})

t.test('a reader that does not read keeps nothing in memory, and one that reads gets a burst whole', async (t) => {
  const gateway = await startGateway(t)
  const [slow, quick] = [await Stream.open(t, gateway), await Stream.open(t, gateway)]
  slow.pause()
  const burst = Array.from({ length: 20_000 }, (_, at) => ({
    ...{ id: `n${at}`, path: nodePath(`/home/alice/${'x'.repeat(200)}${at}`) },
    kind: 'made' as const,
  }))
  gateway.space.changes.appendAll(burst)
  const told = await quick.told(gateway)
  t.equal(told.length, 20_000)
  t.same([told[0]?.id, told.at(-1)?.id], ['n0', 'n19999'])
  t.ok(slow.lines.length < 20_000)
})

t.test('bad input is refused', async (t) => {
  const gateway = await startGateway(t)
  for (const query of ['since=-1', 'since=x', 'since=1e3', 'path=..', 'path=/a/../b'])
    t.equal((await gateway.call(`/fs/v1/changes?${query}`, { as: 'alice' })).status, 400, query)
  t.equal((await gateway.call('/fs/v1/changes', { as: 'alice', method: 'POST' })).status, 405)
})
