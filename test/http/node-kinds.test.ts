/** What nodes there are beside the common ones: classes of data, reserved names, links of links, allocations; and nodes in JSON. */
import { createHash } from 'node:crypto'
import { request as httpsRequest } from 'node:https'
import t from 'tap'
import { ownFile, complaints, noXmllint } from '../unit/codec-validator.ts'
import { type Gateway, GROUP, node, overlay, property, startGateway, VOS } from './gateway.ts'
import { document, GET, JobCalls, moveDocument, PUT } from './job-calls.ts'
import { authority, chainPem, credentials, dnOf, type Name } from './people.ts'
import { nodePath } from '../../src/vospace/path.ts'

const CORE = 'ivo://ivoa.net/vospace/core#'

const put = (gateway: Gateway, path: string, body: string, as: Name | 'dave' = 'alice') =>
  gateway.call(`/nodes${path}`, { method: 'PUT', as, body })

async function link(gateway: Gateway, path: string, target: string): Promise<void> {
  const { status, text } = await put(gateway, path, node(path, 'LinkNode', `<vos:target>${VOS}${target}</vos:target>`))
  if (status !== 201) throw new Error(text)
}

await t.test('row 5: every class of node is understood, kept and told, and only unknown ones are not', async (t) => {
  const gateway = await startGateway(t)
  const kept = { DataNode: 'DataNode', Node: 'DataNode', StructuredDataNode: 'StructuredDataNode', UnstructuredDataNode: 'UnstructuredDataNode', ContainerNode: 'ContainerNode' } // prettier-ignore
  const documents: string[] = []
  for (const [asked, told] of Object.entries(kept)) {
    const path = `/home/alice/${asked}`
    t.match(await put(gateway, path, node(path, asked)), { status: 201, text: `xsi:type="vos:${told}"` }, asked)
    const got = await gateway.call(`/nodes${path}`, { as: 'alice' })
    t.match(got.text, `xsi:type="vos:${told}"`, asked)
    t.notMatch(got.text, 'karst.local/vospace', 'the class is no property')
    documents.push(got.text)
  }
  t.match(await put(gateway, '/home/alice/x', node('/home/alice/x', 'MoonNode')), { status: 400, text: /^TypeNotSupp/ })
  if (noXmllint === false) t.equal(await complaints(ownFile('vospace'), documents), '')
  await t.test(
    'the class outlives new bytes, new properties and a move, and a DataNode means any of them',
    async (t) => {
      const path = '/home/alice/StructuredDataNode'
      await gateway.call(`/files${path}`, { method: 'PUT', as: 'alice', body: 'bytes' })
      const body = node(path, 'DataNode', property('quality', 'good'))
      t.match(
        (await gateway.call(`/nodes${path}`, { method: 'POST', as: 'alice', body })).text,
        'vos:StructuredDataNode',
      )
      await new JobCalls(gateway).done(moveDocument(path, '/home/alice/moved'))
      t.match((await gateway.call('/nodes/home/alice/moved', { as: 'alice' })).text, 'vos:StructuredDataNode')
    },
  )
  await t.test('nobody sets the class as a property', async (t) => {
    const inside = property('ivo://karst.local/vospace/core#class', 'StructuredDataNode')
    const reply = await put(gateway, '/home/alice/sly', node('/home/alice/sly', 'DataNode', inside))
    t.match(reply, { status: 201, text: 'xsi:type="vos:DataNode"' })
  })
})

await t.test('row 54: .auto gets a name that the service makes up', async (t) => {
  const gateway = await startGateway(t)
  const path = '/home/alice/.auto'
  const uris = new Set<string>()
  for (const type of ['ContainerNode', 'DataNode', 'DataNode']) {
    const { status, text } = await put(gateway, path, node(path, type))
    t.equal(status, 201)
    uris.add(/ uri="(vos:[^"]*)"/.exec(text)?.[1] ?? '')
  }
  t.equal(uris.size, 3)
  for (const uri of uris) {
    t.equal((await gateway.call(`/nodes${uri.slice(VOS.length)}`, { as: 'alice' })).status, 200, uri)
  }
  await t.test('a push and a move tell the name', async (t) => {
    const jobs = new JobCalls(gateway)
    const made = await gateway.call('/synctrans', {
      method: 'POST',
      as: 'alice',
      body: document(path, 'pushToVoSpace', PUT),
    })
    const endpoint = /<vos:endpoint>([^<]*)/.exec((await jobs.get(made.headers.location ?? '')).text)?.[1] ?? ''
    t.match(endpoint, /\/auto-[^/]*$/)
    t.equal((await gateway.call(endpoint, { method: 'PUT', body: 'x' })).status, 201)
    await gateway.call('/files/home/alice/f', { method: 'PUT', as: 'alice', body: 'x' })
    const { phase, destinations } = await jobs.done(moveDocument('/home/alice/f', path))
    t.equal(phase, 'COMPLETED')
    t.match(destinations[0], /\/home\/alice\/auto-/)
  })
})

await t.test('row 54: .null takes any bytes and gives none', async (t) => {
  const gateway = await startGateway(t)
  const path = '/home/alice/.null'
  const body = 'into the void'
  const written = await gateway.call(`/files${path}`, { method: 'PUT', as: 'alice', body })
  t.equal(written.status, 201)
  t.equal(written.headers['digest'], `md5=${createHash('md5').update(body).digest('base64')}`)
  t.equal((await gateway.call(`/files${path}`, { as: 'alice' })).status, 204)
  t.match(await gateway.call(`/files${path}`, { method: 'HEAD', as: 'alice' }), { status: 200 })
  const wrong = { digest: `md5=${createHash('md5').update('else').digest('base64')}` }
  t.equal((await gateway.call(`/files${path}`, { method: 'PUT', as: 'alice', body, headers: wrong })).status, 412)
  t.equal((await gateway.call(`/files${path}`, { method: 'PUT', as: 'bob', body })).status, 403)
  t.match(await put(gateway, path, node(path)), { status: 400, text: /^InvalidURI/ })
  t.notMatch((await gateway.call('/nodes/home/alice', { as: 'alice' })).text, '.null')
  await t.test('transfers lead to it, and what moves to it is deleted', async (t) => {
    const jobs = new JobCalls(gateway)
    for (const [direction, protocol, method] of [
      ['pushToVoSpace', PUT, 'PUT'],
      ['pullFromVoSpace', GET, 'GET'],
    ] as const) {
      // prettier-ignore
      const made = await gateway.call('/synctrans', { method: 'POST', as: 'alice', body: document(path, direction, protocol) })
      const endpoint = /<vos:endpoint>([^<]*)/.exec((await jobs.get(made.headers.location ?? '')).text)?.[1] ?? ''
      const { status } = await gateway.call(endpoint, { method, ...(method === 'PUT' && { body }) })
      t.equal(status, method === 'PUT' ? 201 : 204, direction)
    }
    await put(gateway, '/home/alice/tree', node('/home/alice/tree'))
    await gateway.call('/files/home/alice/tree/f', { method: 'PUT', as: 'alice', body })
    t.equal((await jobs.done(moveDocument('/home/alice/tree', path))).phase, 'COMPLETED')
    t.equal((await gateway.call('/nodes/home/alice/tree', { as: 'alice' })).status, 404)
  })
  await t.test('where a node has that name it is a node like others', async (t) => {
    const access = { owner: 'alice', isPublic: false, groupRead: [], groupWrite: [], inherit: false, locked: false }
    await gateway.space.backend.put(nodePath(path), bytes('old'), { draft: { access, mode: 0o600 } })
    t.equal((await gateway.call(`/files${path}`, { as: 'alice' })).text, 'old')
    await gateway.call(`/files${path}`, { method: 'PUT', as: 'alice', body: 'new' })
    t.equal((await gateway.call(`/files${path}`, { as: 'alice' })).text, 'new')
  })
})

async function* bytes(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text)
}

await t.test('row 54: an immutable node is neither overwritten nor deleted, until it is not any more', async (t) => {
  const gateway = await startGateway(t)
  const path = '/home/alice/stone'
  const set = (value: string) =>
    gateway.call(`/nodes${path}`, {
      method: 'POST',
      as: 'alice',
      body: node(path, 'DataNode', property(`${CORE}immutable`, value)),
    })
  await gateway.call(`/files${path}`, { method: 'PUT', as: 'alice', body: 'carved' })
  t.equal((await set('true')).status, 200)
  t.match(await gateway.call(`/files${path}`, { method: 'PUT', as: 'alice', body: 'x' }), {
    status: 403,
    text: /^PermissionDenied/,
  })
  t.match(await gateway.call(`/nodes${path}`, { method: 'DELETE', as: 'alice' }), { status: 403 })
  t.equal((await new JobCalls(gateway).done(moveDocument(path, '/home/alice/away'))).error, 'PermissionDenied')
  t.equal((await set('maybe')).status, 400)
  t.equal((await set('false')).status, 200)
  t.equal((await gateway.call(`/nodes${path}`, { method: 'DELETE', as: 'alice' })).status, 200)
})

await t.test('row 42: a node is busy while its bytes come, however that ends', async (t) => {
  const gateway = await startGateway(t)
  await gateway.call('/files/home/alice/slow', { method: 'PUT', as: 'alice', body: 'old' })
  const busy = async (): Promise<string | undefined> =>
    / busy="(\w+)"/.exec((await gateway.call('/nodes/home/alice/slow', { as: 'alice' })).text)?.[1]
  t.equal(await busy(), 'false')
  for (const ending of ['whole', 'cut']) {
    const credential = credentials.alice
    const upload = httpsRequest({
      host: '127.0.0.1', port: gateway.port, servername: 'localhost', path: '/karst/files/home/alice/slow', method: 'PUT',
      agent: false, ca: authority.certificate, cert: chainPem(credential), key: credential.key,
    }) // prettier-ignore
    upload.on('error', () => undefined) // cut on purpose
    upload.write('half')
    while ((await busy()) !== 'true') await new Promise((done) => setTimeout(done, 10))
    t.equal((await gateway.call('/files/home/alice/slow', { as: 'alice' })).status, 200, 'it can be read meanwhile')
    if (ending === 'whole') upload.end()
    else upload.destroy()
    while ((await busy()) !== 'false') await new Promise((done) => setTimeout(done, 10))
    t.equal((await gateway.call('/files/home/alice/slow', { as: 'alice' })).text, 'half', ending)
  }
})

await t.test('row 13: links on the way and at the end', async (t) => {
  const gateway = await startGateway(t)
  await put(gateway, '/home/alice/real', node('/home/alice/real'))
  await gateway.call('/files/home/alice/real/f', { method: 'PUT', as: 'alice', body: 'found' })
  await link(gateway, '/home/alice/l1', '/home/alice/real')
  for (let i = 2; i <= 21; i++) await link(gateway, `/home/alice/l${i}`, `/home/alice/l${i - 1}`)
  await t.test('twenty are followed, one more is not', async (t) => {
    t.equal((await gateway.call('/files/home/alice/l20/f', { as: 'alice' })).text, 'found')
    t.match(await gateway.call('/files/home/alice/l21/f', { as: 'alice' }), {
      status: 404,
      text: /^UnreadableLinkTarget/,
    })
    const made = await put(gateway, '/home/alice/l20/new', node('/home/alice/l20/new'))
    t.match(made, { status: 201, text: `uri="${VOS}/home/alice/real/new"` })
  })
  await t.test('a cycle, and a link to nothing, are told as such', async (t) => {
    await link(gateway, '/home/alice/c1', '/home/alice/c2')
    await link(gateway, '/home/alice/c2', '/home/alice/c1')
    await link(gateway, '/home/alice/self', '/home/alice/self/x')
    await link(gateway, '/home/alice/broken', '/home/alice/nothing')
    for (const path of ['c1', 'c1/x', 'self', 'broken']) {
      const reply = await gateway.call(`/files/home/alice/${path}`, { as: 'alice' })
      t.match(reply, { status: 404, text: /^UnreadableLinkTarget/ }, path)
    }
    t.match(await gateway.call('/nodes/home/alice/c1', { as: 'alice' }), { status: 200, text: 'vos:LinkNode' })
  })
  await t.test('links have properties of their own', async (t) => {
    const body = node('/home/alice/l1', 'LinkNode', property('quality', 'good'))
    t.match((await gateway.call('/nodes/home/alice/l1', { method: 'POST', as: 'alice', body })).text, '>good<')
    t.notMatch((await gateway.call('/nodes/home/alice/real', { as: 'alice' })).text, 'quality')
  })
  await t.test('DELETE takes the link and leaves the target', async (t) => {
    t.equal((await gateway.call('/nodes/home/alice/l1', { method: 'DELETE', as: 'alice' })).status, 200)
    t.equal((await gateway.call('/nodes/home/alice/real', { as: 'alice' })).status, 200)
  })
})

await t.test('the standard to the letter, by the switch', async (t) => {
  const gateway = await startGateway(t, { rules: { strict: true } })
  await put(gateway, '/home/alice/real', node('/home/alice/real'))
  await link(gateway, '/home/alice/way', '/home/alice/real')
  await t.test('row 13: a link on the way of PUT and DELETE is LinkFound', async (t) => {
    const path = '/home/alice/way/x'
    t.match(await put(gateway, path, node(path)), { status: 400, text: /^LinkFound/ })
    await put(gateway, '/home/alice/real/x', node('/home/alice/real/x'))
    t.match(await gateway.call(`/nodes${path}`, { method: 'DELETE', as: 'alice' }), { status: 400, text: /^LinkFound/ })
    t.equal((await gateway.call(`/nodes${path}`, { as: 'alice' })).status, 200, 'GET follows it')
  })
  await t.test('row 15: read-only properties are refused, which are ignored otherwise', async (t) => {
    const body = node('/home/alice/p', 'DataNode', property(`${CORE}length`, '123'))
    t.match(await put(gateway, '/home/alice/p', body), { status: 403, text: /^PermissionDenied/ })
    t.equal((await gateway.call('/nodes/home/alice/p', { as: 'alice' })).status, 404, 'nothing is half made')
    const loose = await startGateway(t)
    const made = await put(loose, '/home/alice/p', body)
    t.match(made, { status: 201, text: /core#length" readOnly="true">0</ })
  })
  await t.test('row 32: parameters in a form are answered with the document', async (t) => {
    const target = encodeURIComponent(`${VOS}/home/alice/new`)
    const body = `TARGET=${target}&DIRECTION=pushToVoSpace&PROTOCOL=${encodeURIComponent(`${CORE}httpsput`)}`
    const reply = await gateway.call('/synctrans', { method: 'POST', as: 'alice', body })
    t.match(reply, { status: 200, text: '<vos:endpoint>' })
  })
})

await t.test('an administrator makes homes for others, sets quotas, and sees nothing of theirs', async (t) => {
  const gateway = await startGateway(t, { rules: { allocationParents: [nodePath('/home')] }, quota: 100_000 })
  gateway.store.users.create({ name: 'dave', admin: true })
  gateway.store.users.addIdentity('dave', { kind: 'x509', value: dnOf('dave') })
  const path = '/home/carol'
  const home = (creator: string): string =>
    node(
      path,
      'ContainerNode',
      `<vos:properties><vos:property uri="${CORE}creator">${creator}</vos:property>
      <vos:property uri="${CORE}quota">1000</vos:property></vos:properties>`,
    )
  t.equal((await put(gateway, path, home('carol'))).status, 403, 'alice is none')
  t.match(await put(gateway, path, home('nobody-known'), 'dave'), { status: 400, text: /^InvalidArgument/ })
  t.equal((await put(gateway, path, home('carol'), 'dave')).status, 201)
  const { text } = await gateway.call(`/nodes${path}`, { as: 'carol' })
  t.match(text, />carol</)
  t.match(text, /core#quota" readOnly="true">1000</)
  t.match(text, /core#availableSpace" readOnly="true">\d+</)
  t.match(await gateway.call(`/files${path}/f`, { method: 'PUT', as: 'carol', body: 'x'.repeat(1001) }), {
    status: 413,
    text: /^QuotaExceeded/,
  })
  t.equal((await gateway.call(`/files${path}/f`, { method: 'PUT', as: 'carol', body: 'x'.repeat(900) })).status, 201)
  t.equal((await gateway.call(`/files${path}/f`, { as: 'dave' })).status, 403)
  const own = await gateway.call(`/nodes${path}`, {
    method: 'POST',
    as: 'carol',
    body: home('carol').replace('1000', '9999'),
  })
  t.match(own, { status: 200, text: /core#quota" readOnly="true">1000</ }, 'her own quota is not hers to set')
  const change = async (as: 'carol' | 'dave', value: string): Promise<string> => {
    const body = node(path, 'ContainerNode', `<vos:properties>${value}</vos:properties>`)
    const { status, text: shown } = await gateway.call(`/nodes${path}`, { method: 'POST', as, body })
    t.equal(status, 200)
    return shown
  }
  t.match(
    await change('dave', `<vos:property uri="${CORE}quota">5000</vos:property>`),
    /core#quota" readOnly="true">5000</,
  )
  t.equal((await gateway.call(`/files${path}/g`, { method: 'PUT', as: 'carol', body: 'x'.repeat(2000) })).status, 201)
  t.match(
    await change('carol', `<vos:property uri="${CORE}title">T</vos:property>`),
    />5000</,
    'it stays when others change',
  )
  t.notMatch(await change('dave', `<vos:property uri="${CORE}quota" xsi:nil="true"/>`), />5000</)
})

await t.test('members of a group that may write where allocations stand make their own', async (t) => {
  const gateway = await startGateway(t, { rules: { allocationParents: [nodePath('/pub')] } })
  const grant = node('/pub', 'ContainerNode', property(`${CORE}groupwrite`, GROUP))
  t.equal((await gateway.call('/nodes/pub', { method: 'POST', as: 'alice', body: grant })).status, 200)
  const shown = node('/pub/bobs', 'ContainerNode', property(`${CORE}groupread`, GROUP))
  t.equal((await put(gateway, '/pub/bobs', shown, 'bob')).status, 201)
  const private_ = node('/pub/bobs/private', 'ContainerNode', property(`${CORE}groupwrite`, GROUP))
  t.equal((await put(gateway, '/pub/bobs/private', private_, 'bob')).status, 201)
  t.equal((await put(gateway, '/pub/bobs/private/alices', node('/pub/bobs/private/alices'))).status, 201)
  const reply = await put(gateway, '/pub/bobs/private/alices/x', node('/pub/bobs/private/alices/x'), 'bob')
  t.equal(reply.status, 201, 'the owner of an allocation writes everywhere below')
  t.equal((await put(gateway, '/pub/carols', node('/pub/carols'), 'carol')).status, 403, 'carol is no member')
})

await t.test('where the storage has no quotas an administrator is told so, and nothing is made', async (t) => {
  const gateway = await startGateway(t, {
    rules: { allocationParents: [nodePath('/home')] },
    backend: (memory) => overlay(memory, { capabilities: { ...memory.capabilities, quota: false } }),
  })
  gateway.store.users.create({ name: 'dave', admin: true })
  gateway.store.users.addIdentity('dave', { kind: 'x509', value: dnOf('dave') })
  const limited = (path: string): string => node(path, 'ContainerNode', property(`${CORE}quota`, '1000'))
  const refused = { status: 400, text: /^OperationNotSupported: this storage has no quotas/ }
  t.match(await put(gateway, '/home/carol', limited('/home/carol'), 'dave'), refused)
  t.equal((await gateway.call('/nodes/home/carol', { as: 'dave' })).status, 404)
  const set = { method: 'POST', as: 'dave', body: limited('/home/alice') } as const
  t.match(await gateway.call('/nodes/home/alice', set), refused)
  t.notMatch((await gateway.call('/nodes/home/alice', { as: 'alice' })).text, 'core#quota')
})
