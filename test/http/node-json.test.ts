import t from 'tap'
import { nodePath } from '../../src/vospace/path.ts'
import { node, property, startGateway, VOS } from './gateway.ts'

const JSON_TYPE = 'application/json'

interface JsonNode {
  readonly '@uri': string
  readonly '@xsi:type': string
  readonly 'vos:properties': { readonly $: readonly Record<string, string>[] }
  readonly 'vos:nodes'?: { readonly $: readonly JsonNode[] }
  readonly 'vos:target'?: { readonly $: string }
}

const nodeIn = (text: string): JsonNode => (JSON.parse(text) as { 'vos:node': JsonNode })['vos:node']

await t.test('a node in JSON', async (t) => {
  const gateway = await startGateway(t)
  const make = (path: string, type: string, inside = '') =>
    gateway.call(`/nodes${path}`, { method: 'PUT', as: 'alice', body: node(path, type, inside) })
  await make('/home/alice/c', 'ContainerNode')
  await make('/home/alice/c/a', 'DataNode', property('title', 'a "quoted" &lt;title&gt; é'))
  await make('/home/alice/c/l', 'LinkNode', `<vos:target>${VOS}/home/alice/c/a</vos:target>`)
  const get = (query: string, accept?: string) =>
    gateway.call(`/nodes/home/alice/c${query}`, { as: 'alice', ...(accept !== undefined && { headers: { accept } }) })

  await t.test('has what the XML has: children, properties, targets, every value a string', async (t) => {
    const reply = await get('?Accept=application%2Fjson')
    t.equal(reply.headers['content-type'], JSON_TYPE)
    const found = nodeIn(reply.text)
    t.match(found, { '@uri': `${VOS}/home/alice/c`, '@xsi:type': 'vos:ContainerNode' })
    const [a, l] = found['vos:nodes']?.$ ?? []
    t.match(a, { '@xsi:type': 'vos:DataNode', '@busy': 'false' })
    t.match(a?.['vos:properties'].$, [])
    t.ok(a?.['vos:properties'].$.some((one) => one['@uri'] === 'title' && one['$'] === 'a "quoted" <title> é'))
    t.ok(a?.['vos:properties'].$.every((one) => typeof one['$'] === 'string'))
    t.equal(l?.['vos:target']?.$, `${VOS}/home/alice/c/a`)
    const one = await gateway.call('/nodes/home/alice/c/a?accept=application/json', { as: 'alice' })
    t.equal(nodeIn(one.text)['@uri'], `${VOS}/home/alice/c/a`)
  })
  await t.test('is what PUT and POST answer too, to who asks', async (t) => {
    const headers = { accept: JSON_TYPE }
    const made = await gateway.call('/nodes/home/alice/j', {
      method: 'PUT',
      as: 'alice',
      headers,
      body: node('/home/alice/j'),
    })
    t.equal(nodeIn(made.text)['@uri'], `${VOS}/home/alice/j`)
    const set = await gateway.call('/nodes/home/alice/j?Accept=application/json', {
      method: 'POST', as: 'alice', body: node('/home/alice/j', 'ContainerNode', property('x', 'y')),
    }) // prettier-ignore
    t.match(nodeIn(set.text)['vos:properties'].$.at(-1), { '@uri': 'x', $: 'y' })
  })
  await t.test('comes for the header only where JSON is named and wanted most', async (t) => {
    const types: Record<string, string> = {
      'application/json': JSON_TYPE,
      'Application/JSON; charset=utf-8': JSON_TYPE,
      'application/json, text/plain, */*': JSON_TYPE,
      'text/xml;q=0.5, application/json': JSON_TYPE,
      '*/*': 'text/xml',
      '': 'text/xml',
      'text/xml': 'text/xml',
      'text/xml, application/json': 'text/xml',
      'application/json;q=0.1, */*': 'text/xml',
      'application/json;q=0': 'text/xml',
      'application/json;q=x': 'text/xml',
      'text/html, image/*': 'text/xml',
    }
    for (const [accept, type] of Object.entries(types)) {
      t.equal((await get('', accept)).headers['content-type'], type, accept)
    }
  })
  await t.test('is decided by the parameter, which knows two types only', async (t) => {
    t.equal((await get('?Accept=text/xml', JSON_TYPE)).headers['content-type'], 'text/xml')
    t.match(await get('?Accept=text/html'), { status: 400, text: /^InvalidArgument/ })
    const refused = await gateway.call('/nodes/home/alice/n?Accept=x', {
      method: 'PUT',
      as: 'alice',
      body: node('/home/alice/n'),
    })
    t.equal(refused.status, 400)
    t.equal((await gateway.call('/nodes/home/alice/n', { as: 'alice' })).status, 404, 'nothing was made')
  })
  await t.test('refusals stay what they are', async (t) => {
    const reply = await gateway.call('/nodes/home/alice/none', { as: 'alice', headers: { accept: JSON_TYPE } })
    t.match(reply, { status: 404, headers: { 'content-type': 'text/plain' }, text: /^NodeNotFound: / })
  })
})

await t.test('a long listing in JSON is streamed whole', async (t) => {
  const gateway = await startGateway(t)
  const access = { owner: 'alice', isPublic: true, groupRead: [], groupWrite: [], inherit: false, locked: false }
  const { backend } = gateway.space
  for (let i = 0; i < 2000; i++) await backend.make(nodePath(`/pub/n${i}`), { type: 'container', access, mode: 0o755 })
  const reply = await gateway.call('/nodes/pub', { headers: { accept: JSON_TYPE } })
  t.equal(reply.headers['transfer-encoding'], 'chunked')
  t.equal(nodeIn(reply.text)['vos:nodes']?.$.length, 2000)
})
