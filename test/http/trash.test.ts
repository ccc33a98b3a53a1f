import t, { type Test } from 'tap'
import { nodePath } from '../../src/vospace/path.ts'
import { type Gateway, GROUP, node, property, startGateway } from './gateway.ts'
import { type Name } from './people.ts'

const started = (test: Test) => startGateway(test, { rules: { trashDays: 7, allocationParents: [nodePath('/home')] } })

async function planted(gateway: Gateway): Promise<void> {
  await gateway.call('/nodes/home/alice/d', { method: 'PUT', as: 'alice', body: node('/home/alice/d') })
  await gateway.call('/files/home/alice/d/f', { method: 'PUT', as: 'alice', body: 'bytes' })
}
const remove = async (gateway: Gateway, path: string, as: Name = 'alice') =>
  (await gateway.call(`/nodes${path}`, { method: 'DELETE', as })).status

interface Item {
  readonly id: string
  readonly path: string
}
async function items(gateway: Gateway, as: Name = 'alice', path = '/home/alice'): Promise<Item[]> {
  const { text } = await gateway.call(`/trash?path=${path}`, { as })
  return (JSON.parse(text) as { items: Item[] }).items
}
const post = async (gateway: Gateway, what: string, document: object, as: Name = 'alice') =>
  gateway.call(`/trash/${what}`, { method: 'POST', as, body: JSON.stringify(document) })

await t.test('what is deleted is listed, and put back', async (t) => {
  const gateway = await started(t)
  await planted(gateway)
  t.equal(await remove(gateway, '/home/alice/d'), 200)
  const listed = await gateway.call('/trash?path=/home/alice', { as: 'alice' })
  t.equal(listed.headers['content-type'], 'application/json')
  const [item, ...more] = await items(gateway)
  t.match(item, { path: '/home/alice/d', type: 'container', by: 'alice', nodes: 2, deleted: /Z$/, expires: /Z$/ })
  t.same(more, [])
  const answer = await post(gateway, 'restore', { path: '/home/alice', id: item?.id })
  t.same([answer.status, JSON.parse(answer.text)], [200, { path: '/home/alice/d' }])
  t.equal((await gateway.call('/files/home/alice/d/f', { as: 'alice' })).text, 'bytes')
  t.same(await items(gateway), [])
})

await t.test('it is put back elsewhere, or removed for good', async (t) => {
  const gateway = await started(t)
  await planted(gateway)
  await remove(gateway, '/home/alice/d/f')
  await planted(gateway)
  const [first] = await items(gateway)
  const ask = { path: '/home/alice', id: first?.id }
  t.equal((await post(gateway, 'restore', ask)).status, 409)
  t.equal((await post(gateway, 'restore', { ...ask, to: '/home/alice/d/g' })).status, 200)
  await remove(gateway, '/home/alice/d')
  t.same(JSON.parse((await post(gateway, 'empty', { path: '/home/alice' })).text), { removed: 1 })
  t.same(await items(gateway), [])
})

await t.test('others see and do nothing there, and bad requests are refused', async (t) => {
  const gateway = await started(t)
  await planted(gateway)
  const share = property('ivo://ivoa.net/vospace/core#groupread', GROUP)
  await gateway.call('/nodes/home/alice', {
    method: 'POST',
    as: 'alice',
    body: node('/home/alice', 'ContainerNode', share),
  })
  await remove(gateway, '/home/alice/d')
  const [item] = await items(gateway)
  t.same(await items(gateway, 'bob'), [])
  t.equal((await gateway.call('/trash?path=/home/alice')).status, 403)
  const ask = { path: '/home/alice', id: item?.id }
  for (const what of ['restore', 'empty']) t.equal((await post(gateway, what, ask, 'bob')).status, 404, what)
  t.equal((await items(gateway)).length, 1)
  for (const bad of [
    {},
    { path: 'x', id: 'y' },
    { path: '/home/alice', id: 1 },
    { ...ask, more: 1 },
    { ...ask, to: 'x' },
  ]) {
    t.equal((await post(gateway, 'restore', bad)).status, 400, JSON.stringify(bad))
  }
  t.equal((await post(gateway, 'restore', { path: '/home/alice', id: '../x' })).status, 404)
  t.equal((await gateway.call('/trash?path=home', { as: 'alice' })).status, 400)
  t.equal((await gateway.call('/trash?path=/home/none', { as: 'alice' })).status, 404)
  t.equal((await gateway.call('/trash', { method: 'POST', as: 'alice' })).status, 405)
})
