import t from 'tap'
import { Fault } from '../../src/vospace/fault.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { type Gateway, GROUP, node, overlay, property, startGateway, VOS } from './gateway.ts'

const CORE = 'ivo://ivoa.net/vospace/core#'
const XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'

/** Puts a node as alice. */
async function make(gateway: Gateway, path: string, type = 'ContainerNode', inside = ''): Promise<void> {
  const body = node(path, type, inside)
  const { status, text } = await gateway.call(`/nodes${path}`, { method: 'PUT', as: 'alice', body })
  if (status !== 201) throw new Error(text)
}

const childrenIn = (xml: string): string[] =>
  [...xml.matchAll(/uri="(vos:[^"]*)"/g)].slice(1).map(([, uri = '']) => uri.slice(uri.lastIndexOf('/') + 1))

await t.test('PUT of a node', async (t) => {
  const gateway = await startGateway(t)
  const put = (target: string, body: string, headers = {}) =>
    gateway.call(`/nodes${target}`, { method: 'PUT', as: 'alice', body, headers })

  await t.test('row 10: is 201 with the node, and nothing but text/xml as its type (trap 2)', async (t) => {
    const reply = await put('/home/alice/dir', node('/home/alice/dir'), { 'content-type': 'text/xml' })
    t.equal(reply.status, 201)
    t.equal(reply.headers['content-type'], 'text/xml')
    t.match(reply.text, 'xsi:type="vos:ContainerNode"')
    t.match(reply.text, `uri="${VOS}/home/alice/dir"`)
  })
  await t.test('row 63: trap 3: is read whatever its Content-Type says, or without one', async (t) => {
    const types = [
      undefined,
      '',
      'text/xml; charset=utf-8',
      'application/json',
      'nonsense',
      ';;;',
      'a/b/c',
      'text/plain',
    ]
    for (const [i, type] of types.entries()) {
      const path = `/home/alice/typed${i}`
      const reply = await put(path, node(path), type === undefined ? {} : { 'content-type': type })
      t.equal(reply.status, 201, JSON.stringify(type))
    }
  })
  await t.test('comes chunked too', async (t) => {
    const reply = await put('/home/alice/chunked', node('/home/alice/chunked'), { 'transfer-encoding': 'chunked' })
    t.equal(reply.status, 201)
  })
  await t.test('ignores a slash at the end of the URL', async (t) => {
    t.equal((await put('/home/alice/slash/', node('/home/alice/slash'))).status, 201)
  })
  await t.test('row 2: takes both separators, and names encoded or raw, as one', async (t) => {
    const bang = node('/home/alice/bang').replace('karst.local~karst', 'karst.local!karst')
    t.equal((await put('/home/alice/bang', bang)).status, 201)
    t.equal((await put('/home/alice/sp%20%C3%A9+', node('/home/alice/sp é+'))).status, 201)
    t.match((await gateway.call('/nodes/home/alice', { as: 'alice' })).text, 'sp%20%C3%A9+')
  })
  await t.test('row 12: is InvalidURI when the document is of another node', async (t) => {
    for (const path of ['/home/alice/other', '/home/alice/x/y', '/home/bob/x']) {
      const reply = await put('/home/alice/x', node(path))
      t.equal(reply.status, 400)
      t.match(reply.text, /^InvalidURI: /)
    }
    t.match(
      (await put('/home/alice/x', node('/home/alice/x').replace('karst.local', 'example.org'))).text,
      /^InvalidURI/,
    )
  })
  await t.test('row 11: is refused as wire.md says', async (t) => {
    t.match(await put('/home/alice/dir', node('/home/alice/dir')), { status: 409, text: /^DuplicateNode: / })
    t.match(await put('/home/alice/no/way', node('/home/alice/no/way')), { status: 404, text: /^ContainerNotFound: / })
    t.match(await put('/home/bob/x', node('/home/bob/x')), { status: 403, text: /^PermissionDenied: / })
    t.match(await put('/home/alice/x', node('/home/alice/x', 'OddNode')), { status: 400, text: /^TypeNotSupported: / })
    t.match(await put('/home/alice/x', ''), { status: 400 })
    const anonymous = await gateway.call('/nodes/pub/x', { method: 'PUT', body: node('/pub/x') })
    t.match(anonymous, { status: 403, text: /^PermissionDenied: / })
  })
  await t.test(
    'row 16: trap 9 and 10: read-only properties are ignored, made-up standard ones refused, others kept',
    async (t) => {
      const at = (name: string, uri: string) =>
        put(`/home/alice/${name}`, node(`/home/alice/${name}`, 'DataNode', property(uri, '123')))
      t.equal((await at('p1', `${CORE}length`)).status, 201)
      t.match(await at('p2', 'ivo://ivoa.net/vospacecore#make-stuff-up'), { status: 400, text: /^InvalidArgument: / })
      t.match((await at('p3', 'quality')).text, '<vos:property uri="quality">123</vos:property>')
    },
  )
})

await t.test('a document that is hostile', async (t) => {
  const gateway = await startGateway(t)
  const put = (body: string | Buffer) => gateway.call('/nodes/home/alice/h', { method: 'PUT', as: 'alice', body })
  const good = node('/home/alice/h')
  const cases: Record<string, string | Buffer> = {
    'is cut short': good.slice(0, -5),
    'has a DTD': `<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>${good}`,
    'has an unknown entity': node('/home/alice/h', 'DataNode', property('a', '&e;')),
    'is no XML': 'vos://karst.local~karst/home/alice/h',
    'is binary': Buffer.from([0, 1, 2, 255, 254]),
    'is nested without end': node('/home/alice/h', 'DataNode', '<a>'.repeat(5000) + '</a>'.repeat(5000)),
    'is another document': '<transfer xmlns="http://www.ivoa.net/xml/VOSpace/v2.0"/>',
  }
  for (const [what, body] of Object.entries(cases)) {
    const reply = await put(body)
    t.equal(reply.status, 400, what)
    t.equal(reply.headers['content-type'], 'text/plain', what)
    t.notMatch(reply.text, 'root:')
  }
  await t.test('by its size is RequestEntityTooLarge, told even while it is being sent', async (t) => {
    for (const headers of [{}, { 'transfer-encoding': 'chunked' }]) {
      const body = Buffer.alloc(3 << 20, ' ')
      const reply = await gateway.call('/nodes/home/alice/h', { method: 'PUT', as: 'alice', body, headers })
      t.match(reply, { status: 413, text: /^RequestEntityTooLarge: / })
    }
    t.equal((await put(good)).status, 201, 'and the next request is fine')
  })
})

await t.test('illegal paths', async (t) => {
  const gateway = await startGateway(t)
  const paths = [
    '/home/alice/../bob', '/home/alice/%2e%2e/bob', '/home/alice/%2E%2E', '/home/alice/.', '/home/alice/a%2Fb',
    '/home/alice/a%2fb', '/home//alice', '//home', '/home/alice//', '/home/alice/a%00b', '/home/alice/%FF',
    '/home/alice/%C0%AF', '/home/alice/%ED%A0%80', `/home/alice/${'n'.repeat(256)}`, '/..', '/%2e',
    `/${'a/'.repeat(3000)}b`,
  ] // prettier-ignore
  for (const path of paths) {
    for (const [family, method] of [
      ['nodes', 'GET'],
      ['nodes', 'PUT'],
      ['nodes', 'DELETE'],
      ['files', 'GET'],
      ['files', 'PUT'],
    ] as const) {
      const body = method === 'PUT' ? node(path) : ''
      const reply = await gateway.call(`/${family}${path}`, { method, as: 'alice', body })
      t.equal(reply.status, 400, `${method} /${family}${path.slice(0, 60)}`)
      t.match(reply.text, /^InvalidURI: /)
    }
  }
})

await t.test('names with every awkward character go there and back', async (t) => {
  const gateway = await startGateway(t)
  const names = ['a b', 'é', 'a+b', 'a&b', '100%', '%zz', 'a%2e', 'a?b', 'a#b', 'q"q', "it's", '<x>', '日本', '\u0001', '[1]', 'a;b=c', ':', '~', 'preauth:x'] // prettier-ignore
  for (const name of names) {
    const path = `/home/alice/${encodeURIComponent(name)}`
    const reply = await gateway.call(`/nodes${path}`, { method: 'PUT', as: 'alice', body: node(path, 'DataNode') })
    t.equal(reply.status, 201, name)
    t.equal((await gateway.call(`/nodes${path}`, { as: 'alice' })).status, 200, name)
    t.equal((await gateway.call(`/nodes${path}`, { method: 'DELETE', as: 'alice' })).status, 200, name)
  }
  const loose = await gateway.call('/nodes/home/alice/50%', {
    method: 'PUT',
    as: 'alice',
    body: node('/home/alice/50%25'),
  })
  t.equal(loose.status, 201, 'a percent sign that starts no code stands for itself')
})

await t.test('GET of a container', async (t) => {
  const gateway = await startGateway(t)
  await make(gateway, '/home/alice/c')
  for (const name of ['a', 'b', 'd']) await make(gateway, `/home/alice/c/${name}`, 'DataNode')
  await make(gateway, '/home/alice/c/sub')
  await make(gateway, '/home/alice/c/l', 'LinkNode', `<vos:target>${VOS}/home/alice/c</vos:target>`)
  const get = (query = '', as: 'alice' | 'bob' = 'alice') => gateway.call(`/nodes/home/alice/c${query}`, { as })

  await t.test('row 21: lists it whole, in the order of the names', async (t) => {
    const reply = await get()
    t.equal(reply.headers['content-type'], 'text/xml')
    t.same(childrenIn(reply.text), ['a', 'b', 'd', 'l', 'sub'])
  })
  await t.test(
    'rows 8, 9, 24 and 25: traps 6, 7 and 8: every node has its date and ispublic, every container nodes, every link its target',
    async (t) => {
      const { text } = await get()
      t.equal(text.split(`${CORE}date"`).length - 1, 6)
      t.equal(text.split(`${CORE}ispublic"`).length - 1, 6)
      t.equal(text.split('inheritPermissions"').length - 1, 2)
      t.equal(text.split('<vos:nodes').length - 1, 2)
      t.match(text, `<vos:target>${VOS}/home/alice/c</vos:target>`)
      t.equal(text.split('xsi:type="vos:').length - 1, 6, 'trap 5')
    },
  )
  await t.test('row 19: trap 12: has no children with limit=0, without looking at them', async (t) => {
    const reply = await get('?limit=0')
    t.equal(reply.status, 200)
    t.same(childrenIn(reply.text), [])
  })
  await t.test('trap 4: is answered to who expects 100-continue', async (t) => {
    const reply = await gateway.call('/nodes/home/alice/c?limit=0', {
      as: 'alice',
      headers: { expect: '100-continue' },
    })
    t.equal(reply.status, 200)
  })
  await t.test(
    'row 18: pages from a child, inclusive, named with either separator and in any case of the parameter',
    async (t) => {
      const from = encodeURIComponent(`${VOS}/home/alice/c/b`)
      t.same(childrenIn((await get(`?limit=2&uri=${from}`)).text), ['b', 'd'])
      t.same(childrenIn((await get(`?LIMIT=2&Uri=${from.replace('~', '!')}`)).text), ['b', 'd'])
      const gone = encodeURIComponent(`${VOS}/home/alice/c/c`)
      t.same(
        childrenIn((await get(`?uri=${gone}`)).text),
        ['d', 'l', 'sub'],
        'one that has gone meanwhile loses nothing',
      )
    },
  )
  await t.test('is InvalidURI from what is no child', async (t) => {
    for (const uri of [
      `${VOS}/home/alice`,
      `${VOS}/home/alice/c`,
      `${VOS}/home/alice/c/sub/x`,
      'b',
      'vos://a~b/c',
      VOS,
    ]) {
      t.match(await get(`?uri=${encodeURIComponent(uri)}`), { status: 400, text: /^InvalidURI: / }, uri)
    }
  })
  await t.test('is InvalidArgument with a limit that is none', async (t) => {
    for (const limit of ['-1', 'x', '', '1.5', '1e3', '99999999999999999999']) {
      t.match(await get(`?limit=${limit}`), { status: 400, text: /^InvalidArgument: / }, limit)
    }
  })
  await t.test(
    'row 23: sorts by length and date, either way; anything else is refused in the words clients look for',
    async (t) => {
      const length = encodeURIComponent(`${CORE}length`)
      t.equal((await get(`?sort=${length}&order=desc`)).status, 200)
      t.same(childrenIn((await get(`?sort=${length}&order=asc&limit=2`)).text), ['a', 'b'])
      t.same(childrenIn((await get('?order=desc')).text), ['sub', 'l', 'd', 'b', 'a'])
      t.match(await get('?sort=colour'), { status: 400, text: /^OptionNotSupported: .*sorting options not supported/ })
      t.match(await get('?order=up'), { status: 400, text: /^InvalidArgument/ })
    },
  )
  await t.test('ignores parameters it does not know, and detail levels too', async (t) => {
    t.same(childrenIn((await get('?offset=3&detail=everything&x')).text).length, 5)
  })
  await t.test('row 20: has no properties with detail=min, and rights with detail=max', async (t) => {
    t.notMatch((await get('?detail=min')).text, '<vos:property ')
    t.same(childrenIn((await get('?detail=min')).text).length, 5)
    t.match((await get('?detail=max')).text, /core#writable" readOnly="true">true/)
    t.notMatch((await get()).text, 'core#writable')
  })
  await t.test('is 200 without children for who may not list it, and 403 below', async (t) => {
    const home = await gateway.call('/nodes/home/alice', { as: 'bob' })
    t.equal(home.status, 200)
    t.same(childrenIn(home.text), [])
    t.match(await get('', 'bob'), { status: 403, text: /^PermissionDenied/ })
  })
  await t.test('works on the root, with and without its slash', async (t) => {
    for (const target of ['/nodes', '/nodes/']) {
      const reply = await gateway.call(target)
      t.match(reply.text, `uri="${VOS}"`)
      t.same(childrenIn(reply.text), ['home', 'pub'])
    }
  })
  await t.test('rows 22 and 59: view=data leads to the bytes, absolutely', async (t) => {
    const reply = await gateway.call('/nodes/home/alice/c/a%20%C3%A9?view=data&limit=1', { as: 'alice' })
    t.equal(reply.status, 303)
    t.equal(reply.headers.location, `${gateway.url}/files/home/alice/c/a%20%C3%A9`)
  })
  await t.test('through a link pages by what the listing says', async (t) => {
    const first = await gateway.call('/nodes/home/alice/c/l/sub', { as: 'alice' })
    t.equal(first.status, 200)
    await make(gateway, '/home/alice/c/sub/x', 'DataNode')
    const uri = encodeURIComponent(`${VOS}/home/alice/c/sub/x`)
    const reply = await gateway.call(`/nodes/home/alice/c/l/sub?uri=${uri}`, { as: 'alice' })
    t.same(childrenIn(reply.text), ['x'])
  })
})

await t.test('POST of a node', async (t) => {
  const gateway = await startGateway(t)
  await make(gateway, '/home/alice/n', 'DataNode', property('quality', 'good'))
  const post = (body: string, as: 'alice' | 'bob' = 'alice', target = '/home/alice/n') =>
    gateway.call(`/nodes${target}`, { method: 'POST', as, body })

  await t.test('is 200 with the whole node', async (t) => {
    const reply = await post(node('/home/alice/n', 'DataNode', property(`${CORE}title`, 'T')))
    t.equal(reply.status, 200)
    t.match(reply.text, '>T</vos:property>')
    t.match(reply.text, '>good</vos:property>')
  })
  await t.test('row 26: trap 11: grants groups separated by blanks', async (t) => {
    await post(node('/home/alice', 'ContainerNode', property(`${CORE}groupread`, GROUP)), 'alice', '/home/alice')
    const two = `${GROUP} ivo://karst.local/gms?other`
    gateway.store.groups.create('ivo://karst.local/gms?other', { owner: 'alice' })
    t.match(
      (await post(node('/home/alice/n', 'DataNode', property(`${CORE}groupread`, two)))).text,
      `>${GROUP.slice(0, 10)}`,
    )
    t.equal((await gateway.call('/nodes/home/alice/n', { as: 'bob' })).status, 200)
    t.equal((await gateway.call('/nodes/home/alice/n', { as: 'carol' })).status, 403)
  })
  await t.test('row 14: removes what is nil', async (t) => {
    const nil = `<vos:properties><vos:property uri="quality" ${XSI} xsi:nil="true"/></vos:properties>`
    t.notMatch((await post(node('/home/alice/n', 'DataNode', nil))).text, 'quality')
  })
  await t.test('is InvalidArgument when the document is of another node or type', async (t) => {
    t.match(await post(node('/home/alice/m', 'DataNode')), { status: 400, text: /^InvalidArgument: / })
    t.match(await post(node('/home/alice/n', 'ContainerNode')), { status: 400, text: /^InvalidArgument: / })
  })
  await t.test('is refused to others, and for what is not there', async (t) => {
    t.equal((await post(node('/home/alice/n', 'DataNode'), 'bob')).status, 403)
    t.match(await post(node('/home/alice/z', 'DataNode'), 'alice', '/home/alice/z'), {
      status: 404,
      text: /^NodeNotFound: /,
    })
  })
})

await t.test('DELETE of a node', async (t) => {
  const gateway = await startGateway(t)
  await t.test('trap 1: is 200, empty, of a whole tree', async (t) => {
    await make(gateway, '/home/alice/tree')
    await make(gateway, '/home/alice/tree/a', 'DataNode')
    const reply = await gateway.call('/nodes/home/alice/tree/', {
      method: 'DELETE',
      as: 'alice',
      headers: { 'content-length': '0' },
    })
    t.equal(reply.status, 200)
    t.equal(reply.body.length, 0)
    t.equal((await gateway.call('/nodes/home/alice/tree', { as: 'alice' })).status, 404)
  })
  await t.test('is 204 to the letter of the standard', async (t) => {
    const strict = await startGateway(t, { rules: { strict: true } })
    await make(strict, '/home/alice/x')
    t.equal((await strict.call('/nodes/home/alice/x', { method: 'DELETE', as: 'alice' })).status, 204)
  })
  await t.test('is refused as wire.md says', async (t) => {
    t.match(await gateway.call('/nodes/home/alice/no', { method: 'DELETE', as: 'alice' }), { status: 404 })
    t.match(await gateway.call('/nodes/home/alice', { method: 'DELETE', as: 'bob' }), { status: 403 })
    t.match(await gateway.call('/nodes/pub', { method: 'DELETE' }), { status: 403 })
  })
})

await t.test('a long listing', async (t) => {
  const gateway = await startGateway(t, {
    backend: (memory) =>
      overlay(memory, {
        async *list(container, options) {
          let n = 0
          for await (const entry of memory.list(container, options)) {
            if (container === '/pub/broken' && ++n === 2000) throw new Error('the disk is on fire')
            if (container === '/pub/broken-at-once') throw new Fault('InternalFault', 'the store /srv/x.db is on fire')
            yield entry
          }
        },
      }),
  })
  const access = { owner: 'alice', isPublic: true, groupRead: [], groupWrite: [], inherit: false, locked: false }
  const fill = async (path: string, count: number): Promise<void> => {
    await gateway.space.backend.make(nodePath(path), { type: 'container', access, mode: 0o755 })
    for (let i = 0; i < count; i++) {
      const name = nodePath(`${path}/n${String(i).padStart(5, '0')}`)
      await gateway.space.backend.make(name, { type: 'container', access, mode: 0o755 })
    }
  }
  await fill('/pub/many', 3000)
  await fill('/pub/broken', 3000)
  await fill('/pub/broken-at-once', 1)
  await t.test('is streamed whole', async (t) => {
    const reply = await gateway.call('/nodes/pub/many')
    t.equal(reply.headers['content-length'], undefined)
    t.equal(reply.headers['content-type'], 'text/xml')
    t.equal(childrenIn(reply.text).length, 3000)
    t.match(reply.text, /<\/vos:node>\n$/)
  })
  await t.test('that fails midway is cut, not ended politely', async (t) => {
    await t.rejects(gateway.call('/nodes/pub/broken'), { code: 'ECONNRESET' })
    t.match(gateway.log.find(({ level }) => level === 'warn')?.text, 'cut')
  })
  await t.test(
    'row 60: that fails at once is an InternalFault with a request id, its reason in the log only',
    async (t) => {
      const reply = await gateway.call('/nodes/pub/broken-at-once')
      t.equal(reply.status, 500)
      t.match(reply.text, /^InternalFault: .*request [0-9a-f]{12}\n$/)
      t.notMatch(reply.text, 'fire')
      t.ok(
        gateway.log.some(
          ({ level, fields }) => level === 'error' && String((fields as { err: unknown }).err).includes('fire'),
        ),
      )
    },
  )
})
