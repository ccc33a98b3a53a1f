/** A node without its children is answered before the router: with the very words of the long way, and with its refusals. */
import t, { type Test } from 'tap'
import { type Entry } from '../../src/vospace/node.ts'
import { type NodePath } from '../../src/vospace/path.ts'
import { type Call, type Gateway, overlay, startGateway, type GatewayOptions } from './gateway.ts'

interface Watched {
  readonly gateway: Gateway
  /** walks that were waited for, and those that were not */
  readonly walks: { long: number; short: number }
}

/** `/home/alice/größe` and `/pub/f`, both with bytes. */
async function watched(t: Test, options: GatewayOptions = {}): Promise<Watched> {
  const walks = { long: 0, short: 0 }
  const gateway = await startGateway(t, {
    ...options,
    backend: (memory) =>
      overlay(memory, {
        walk: async (path: NodePath): Promise<Entry[]> => {
          walks.long++
          return memory.walk(path)
        },
        walkNow: (path: NodePath): Entry[] => {
          walks.short++
          return memory.walkNow(path)
        },
      }),
  })
  for (const path of ['/home/alice/gr%C3%B6%C3%9Fe', '/pub/f'])
    await gateway.call(`/files${path}`, { method: 'PUT', as: 'alice', body: 'abc' })
  return { gateway, walks }
}

const LONG = '&order=asc'

t.test('it says what the long way says, in body, headers and log', async (t) => {
  const { gateway, walks } = await watched(t)
  for (const path of ['/home/alice/gr%C3%B6%C3%9Fe', '/pub/f']) {
    for (const more of ['', '&detail=min', '&detail=properties', '&Accept=application/json', '&detail=nonsense']) {
      const target = `/nodes${path}?limit=0${more}`
      const call: Call = { as: 'alice', ...(more === '' && { headers: { accept: 'application/json' } }) }
      walks.long = 0
      const said = await gateway.call(target, call)
      t.equal(walks.long, 0, `${target}: nothing was waited for`)
      const line = gateway.log.at(-1)
      const long = await gateway.call(target + LONG, call)
      t.ok(walks.long > 0)
      t.equal(said.status, 200)
      t.equal(said.text, long.text)
      t.same({ ...said.headers, date: '' }, { ...long.headers, date: '' })
      const of = Object(line?.fields) as Record<string, unknown>
      const other = Object(gateway.log.at(-1)?.fields) as Record<string, unknown>
      t.match(of['reqId'], /^[0-9a-f]{12}$/)
      const told = { ...of, milliseconds: 0 }
      t.same(told, { ...other, reqId: of['reqId'], target: of['target'], milliseconds: 0 })
      t.equal(line?.text, 'request')
    }
  }
})

t.test('what each caller may do of it, and what is more than one node, goes the long way', async (t) => {
  const { gateway, walks } = await watched(t)
  const targets = ['?limit=0&detail=max', '?view=data&limit=0', '?limit=1', '', '?limit=0&uri=', '?limit=0&sort=x']
  for (const target of targets) {
    walks.short = 0
    await gateway.call(`/nodes/pub/f${target}`, { as: 'alice' })
    t.equal(walks.short, 0, target)
  }
  const max = (await gateway.call('/nodes/pub/f?limit=0&detail=max', { as: 'alice' })).text
  t.match(max, '#writable')
  t.notMatch((await gateway.call('/nodes/pub/f?limit=0', { as: 'alice' })).text, '#writable')
  t.notMatch((await gateway.call('/nodes/pub/f?limit=0&detail=max', { as: 'bob' })).text, '#writable')
})

t.test('it refuses as the long way, once, and after an answer too', async (t) => {
  const { gateway } = await watched(t)
  const path = '/nodes/home/alice/gr%C3%B6%C3%9Fe?limit=0'
  t.equal((await gateway.call(path, { as: 'alice' })).status, 200)
  for (const [target, as, status] of [
    [path, 'carol', 403],
    [path, undefined, 403],
    [path, 'dave', 403],
    ['/nodes/home/alice/none?limit=0', 'alice', 404],
    ['/nodes/pub/f/below?limit=0', 'alice', 404],
    ['/nodes/pub/%ff?limit=0', 'alice', 400],
    ['/nodes/pub/f?limit=0&Accept=a/b', 'alice', 400],
  ] as const) {
    const lines = gateway.log.length
    const said = await gateway.call(target, { ...(as && { as }) })
    t.equal(said.status, status, `${target} of ${as}`)
    t.equal(gateway.log.slice(lines).filter(({ text }) => text === 'request').length, 1)
    const long = await gateway.call(target + LONG, { ...(as && { as }) })
    t.same([said.status, said.text], [long.status, long.text])
  }
  t.equal((await gateway.call('/nodes/pub/f?limit=0')).status, 200, 'anonymous callers read what is public')
})

t.test('it counts as one request of those that its caller may make', async (t) => {
  const { gateway, walks } = await watched(t, { people: { limits: { anonymous: { perSecond: 0.3 } } } })
  const statuses: number[] = []
  for (let i = 0; i < 6; i++) statuses.push((await gateway.call('/nodes/pub/f?limit=0')).status)
  t.same(statuses, [200, 200, 200, 503, 503, 503])
  walks.short = 0
  t.equal((await gateway.call('/nodes/pub/f?limit=0', { as: 'alice' })).status, 200)
  t.equal(walks.short, 1)
})

t.test('a suspended account is refused with the next request', async (t) => {
  const { gateway } = await watched(t, { people: {} })
  t.equal((await gateway.call('/nodes/pub/f?limit=0', { as: 'bob' })).status, 200)
  gateway.store.users.suspend('bob')
  t.equal((await gateway.call('/nodes/pub/f?limit=0', { as: 'bob' })).status, 403)
})

t.test('a node that has changed is told anew', async (t) => {
  const { gateway } = await watched(t)
  const before = (await gateway.call('/nodes/pub/f?limit=0', { as: 'alice' })).text
  await gateway.call('/files/pub/f', { method: 'PUT', as: 'alice', body: 'longer' })
  const after = (await gateway.call('/nodes/pub/f?limit=0', { as: 'alice' })).text
  t.match(before, '>3</vos:property>')
  t.match(after, '>6</vos:property>')
})
