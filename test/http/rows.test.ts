/** Rows of the wire contract's checklist (VOSpace 2.1 and what clients make of it) that have no home in the other files. */
import t from 'tap'
import { ownFile, complaints, noXmllint } from '../unit/codec-validator.ts'
import { service } from '../../src/vospace/uri.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { KNOWN_PROPERTIES, PROPERTY } from '../../src/vospace/property.ts'
import { type Gateway, node, overlay, property, startGateway, VOS } from './gateway.ts'
import { CORE, document, GET, JobCalls, PUT } from './job-calls.ts'

const put = (gateway: Gateway, path: string, type = 'ContainerNode', inside = '') =>
  gateway.call(`/nodes${path}`, { method: 'PUT', as: 'alice', body: node(path, type, inside) })

const endpoints = (xml: string): string[] => [...xml.matchAll(/<vos:endpoint>([^<]*)/g)].map(([, url = '']) => url)

/** What a transfer document is answered with, and the phase of its job. */
async function negotiated(gateway: Gateway, body: string): Promise<{ details: string; job: string }> {
  const { status, headers, text } = await gateway.call('/synctrans', { method: 'POST', as: 'alice', body })
  if (status !== 303 || headers.location === undefined) throw new Error(text)
  const { text: details } = await gateway.call(headers.location, { as: 'alice' })
  return { details, job: headers.location.replace('/results/transferDetails', '') }
}

await t.test('row 1: nodes are named by vos URIs with the authority of the service', async (t) => {
  const gateway = await startGateway(t)
  await put(gateway, '/home/alice/c')
  const { text } = await gateway.call('/nodes/home/alice', { as: 'alice' })
  const uris = [...text.matchAll(/<vos:node[^>]* uri="([^"]*)"/g)].map(([, uri]) => uri)
  t.same(uris, [`${VOS}/home/alice`, `${VOS}/home/alice/c`])
})

await t.test('row 3: no node is without containers above it', async (t) => {
  const gateway = await startGateway(t)
  await put(gateway, '/home/alice/f', 'DataNode')
  t.match(await put(gateway, '/home/alice/no/way'), { status: 404, text: /^ContainerNotFound/ })
  t.match(await put(gateway, '/home/alice/f/below'), { status: 404, text: /^ContainerNotFound/ })
  const steps = '/home/alice'.split('/')
  for (let i = 1; i <= steps.length; i++) {
    const reply = await gateway.call(`/nodes${steps.slice(0, i).join('/')}?limit=0`, { as: 'alice' })
    t.match(reply, { status: 200, text: 'xsi:type="vos:ContainerNode"' })
  }
})

await t.test('rows 4 and 58: bytes come back as they went, unread, whatever they are said to be', async (t) => {
  const gateway = await startGateway(t)
  const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, i) => (i * 31) % 256))
  await put(gateway, '/home/alice/u', 'UnstructuredDataNode')
  for (const type of ['application/x-tar', 'text/plain; charset=utf-16', 'application/fits']) {
    const headers = { 'content-type': type }
    await gateway.call('/files/home/alice/u', { method: 'PUT', as: 'alice', body: bytes, headers })
    const reply = await gateway.call('/files/home/alice/u', { as: 'alice' })
    t.ok(reply.body.equals(bytes), type)
    t.equal(reply.headers['content-type'], type)
  }
  t.same(
    (await gateway.call('/nodes/home/alice', { as: 'alice' })).text.split('<vos:node ').length,
    3,
    'nothing unpacked',
  )
})

await t.test(
  'row 7: a node has its uri, properties and capabilities, a data node what it accepts and provides',
  async (t) => {
    const gateway = await startGateway(t)
    await put(gateway, '/home/alice/d', 'DataNode')
    const { text } = await gateway.call('/nodes/home/alice/d', { as: 'alice' })
    const order = ['<vos:properties>', '<vos:accepts', '<vos:provides', '<vos:capabilities'].map((tag) =>
      text.indexOf(tag),
    )
    t.ok(order.every((at) => at > 0))
    t.same(
      order,
      order.toSorted((a, b) => a - b),
      'in the order of the schema',
    )
    if (noXmllint === false) t.equal(await complaints(ownFile('vospace'), [text]), '')
  },
)

await t.test('row 14: POST merges: what is given replaces, nil deletes, empty is blank, the rest stays', async (t) => {
  const gateway = await startGateway(t)
  const one = (uri: string, value: string): string => `<vos:property uri="${uri}">${value}</vos:property>`
  const three = `<vos:properties>${one('a', '1')}${one('b', '2')}${one('c', '3')}</vos:properties>`
  await put(gateway, '/home/alice/d', 'DataNode', three)
  const body = node(
    '/home/alice/d',
    'DataNode',
    `<vos:properties>${one('a', '')}
    <vos:property uri="b" xsi:nil="true"/><vos:property uri="never" xsi:nil="true"/>${one('d', '4')}</vos:properties>`,
  )
  const { status, text } = await gateway.call('/nodes/home/alice/d', { method: 'POST', as: 'alice', body })
  t.equal(status, 200)
  const found = [...text.matchAll(/<vos:property uri="(\w)">([^<]*)</g)].map(([, uri, value]) => [uri, value])
  t.same(found, [['a', ''], ['c', '3'], ['d', '4']]) // prettier-ignore
})

await t.test('row 30: an asynchronous transfer waits PENDING until it is told to run', async (t) => {
  const gateway = await startGateway(t)
  const jobs = new JobCalls(gateway)
  const made = await jobs.post(document('/home/alice/new', 'pushToVoSpace', PUT))
  t.equal(made.status, 303)
  const job = made.headers.location ?? ''
  t.match(job, new RegExp(`^${gateway.url}/transfers/`))
  t.equal(await jobs.phase(job), 'PENDING')
  t.equal((await gateway.call('/nodes/home/alice/new', { as: 'alice' })).status, 404, 'nothing has happened')
  t.equal((await jobs.form(`${job}/phase`, 'PHASE=RUN')).status, 303)
  await jobs.get(`${job}?WAIT=10&PHASE=QUEUED`)
  t.equal(await jobs.phase(job), 'EXECUTING')
  t.equal((await jobs.form(`${job}/phase`, 'PHASE=RUN')).status, 400, 'once')
})

await t.test('row 34: protocols that are not served are left out; when none is left it is a fault', async (t) => {
  const gateway = await startGateway(t)
  const other = '<vos:protocol uri="ivo://example.org/own#gopher"/>'
  const both = await negotiated(gateway, document('/home/alice/new', 'pushToVoSpace', other + PUT + other))
  t.equal(endpoints(both.details).length, 1)
  t.notMatch(both.details, 'gopher')
  const none = await negotiated(gateway, document('/home/alice/none', 'pushToVoSpace', other))
  t.notMatch(none.details, '<vos:protocol ')
  t.equal((await gateway.call(`${none.job}/error`, { as: 'alice' })).text, 'ProtocolNotSupported')
  t.equal((await gateway.call('/nodes/home/alice/none', { as: 'alice' })).status, 404)
})

await t.test('row 35: a security method is echoed when it was asked for, and only then', async (t) => {
  const gateway = await startGateway(t)
  const method = '<vos:securityMethod uri="ivo://ivoa.net/sso#tls-with-certificate"/>'
  const asked = `<vos:protocol uri="${CORE}httpsput">${method}</vos:protocol>`
  const { details } = await negotiated(gateway, document('/home/alice/m', 'pushToVoSpace', asked))
  t.match(details, method)
  t.same(endpoints(details), [`${gateway.url}/files/home/alice/m`])
  const plain = await negotiated(gateway, document('/home/alice/m', 'pushToVoSpace', PUT))
  t.notMatch(plain.details, 'securityMethod')
  t.match(endpoints(plain.details)[0], '/preauth:')
})

await t.test('row 40: a push makes the node that is not there, as the standard says of createNode', async (t) => {
  const gateway = await startGateway(t)
  await negotiated(gateway, document('/home/alice/new', 'pushToVoSpace', PUT))
  const reply = await gateway.call('/nodes/home/alice/new', { as: 'alice' })
  t.match(reply, { status: 200, text: 'xsi:type="vos:DataNode"' })
  t.match(reply.text, />alice</)
})

await t.test('row 41: a push to a node that is there keeps its properties', async (t) => {
  const gateway = await startGateway(t)
  await put(gateway, '/home/alice/d', 'DataNode', property('quality', 'good'))
  const { details } = await negotiated(gateway, document('/home/alice/d', 'pushToVoSpace', PUT))
  t.equal((await gateway.call(endpoints(details)[0] ?? '', { method: 'PUT', body: 'bytes' })).status, 201)
  t.match((await gateway.call('/nodes/home/alice/d', { as: 'alice' })).text, '>good<')
  const { details: pull } = await negotiated(gateway, document('/home/alice/d', 'pullFromVoSpace', GET))
  t.equal((await gateway.call(endpoints(pull)[0] ?? '')).text, 'bytes')
})

await t.test(
  'row 49: each capability has its URL without a slash, for anonymous callers and certificates',
  async (t) => {
    const gateway = await startGateway(t)
    const { text } = await gateway.call('/capabilities')
    const std = 'ivo://ivoa.net/std/VOSpace'
    const served = { [`${std}/v2.0#nodes`]: 'nodes', [`${std}/v2.0#transfers`]: 'transfers', [`${std}#sync-2.1`]: 'synctrans', [`${std}/v2.0#sync`]: 'synctrans', [`${std}#files-proto`]: 'files', [`${std}/v2.0#views`]: 'views', [`${std}/v2.0#protocols`]: 'protocols', [`${std}/v2.0#properties`]: 'properties' } // prettier-ignore
    for (const [id, path] of Object.entries(served)) {
      const capability = text.split('<capability ').find((part) => part.startsWith(`standardID="${id}"`)) ?? ''
      t.match(capability, `>${gateway.url}/${path}</accessURL>`, id)
      t.match(capability, '<securityMethod/>', id)
      t.match(capability, '<securityMethod standardID="ivo://ivoa.net/sso#tls-with-certificate"/>', id)
    }
    for (const id of [`${std}#recursive-delete-proto`, `${std}#recursive-nodeprops-proto`]) t.match(text, `"${id}"`)
    for (const id of ['capabilities', 'availability']) t.match(text, `"ivo://ivoa.net/std/VOSI#${id}"`)
    if (noXmllint === false) t.equal(await complaints(ownFile('capabilities'), [text]), '')
  },
)

await t.test('row 56: standard properties are recognised, publicread and the times among them', async (t) => {
  const gateway = await startGateway(t)
  const publicRead = property(`${CORE}publicread`, 'true')
  t.match((await put(gateway, '/home/alice/p', 'DataNode', publicRead)).text, /core#ispublic">true</)
  const computed: string[] = [PROPERTY.mtime, PROPERTY.ctime, PROPERTY.btime]
  for (const [i, uri] of KNOWN_PROPERTIES.entries()) {
    const value = /groupread|groupwrite/.test(uri) ? 'ivo://karst.local/gms?team' : /immutable|ispublic|publicread|islocked|inherit/i.test(uri) ? 'false' : '5' // prettier-ignore
    const reply = await put(gateway, `/home/alice/k${i}`, 'DataNode', property(uri, value))
    t.equal(reply.status, 201, uri)
    if (computed.includes(uri)) t.notMatch(reply.text, '>5<', 'ours to say')
  }
})

await t.test('row 61: a service that cannot just now says 503 and when to come again', async (t) => {
  const storage = { away: false }
  const gateway = await startGateway(t, {
    backend: (memory) =>
      overlay(memory, {
        walk: async (path) => {
          if (storage.away) throw new Fault('ServiceBusy', 'the storage is away')
          return memory.walk(path)
        },
      }),
  })
  storage.away = true
  const reply = await gateway.call('/nodes/home', { as: 'alice' })
  t.match(reply, { status: 503, text: /^ServiceBusy: / })
  t.match(reply.headers['retry-after'], /^[1-9]\d*$/)
})

await t.test('row 64: a resource ID is in lower case, since clients fold it', async (t) => {
  for (const id of [
    'ivo://Karst.local/karst',
    'ivo://karst.local/Karst',
    'ivo://karst.local:80/karst',
    'vos://karst.local/karst',
  ]) {
    t.throws(() => service(id), { message: /^InvalidURI/ }, id)
  }
  t.equal(service('ivo://karst.local/karst').authority, 'karst.local~karst')
})
