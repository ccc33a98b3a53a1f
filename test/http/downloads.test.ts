/** The bytes of files to clients: headers, ranges, conditions, and what a client gets when something goes wrong on the way. */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingMessage } from 'node:http'
import { get } from 'node:https'
import { Readable } from 'node:stream'
import t from 'tap'
import { Fault } from '../../src/vospace/fault.ts'
import { type Call, collect, type Gateway, node, overlay, property, startGateway, tlsOf, VOS } from './gateway.ts'

const md5 = (bytes: string | Buffer): string => `md5=${createHash('md5').update(bytes).digest('base64')}`

const put = (gateway: Gateway, path: string, body: string | Buffer, headers: Call['headers'] = {}) =>
  gateway.call(`/files${path}`, { method: 'PUT', as: 'alice', body, headers })

await t.test('GET and HEAD of bytes', async (t) => {
  const gateway = await startGateway(t)
  const content = '0123456789'
  await put(gateway, '/home/alice/f.txt', content, { 'content-type': 'text/plain; charset=KOI8-r' })
  const get = (headers = {}, path = '/home/alice/f.txt', method = 'GET') =>
    gateway.call(`/files${path}`, { as: 'alice', headers, method })

  await t.test('row 45: have every header that clients read', async (t) => {
    for (const method of ['GET', 'HEAD']) {
      const { status, headers, text } = await get({}, '/home/alice/f.txt', method)
      t.equal(status, 200)
      t.equal(headers['content-length'], '10')
      t.equal(headers['content-type'], 'text/plain; charset=KOI8-r', 'exactly as uploaded')
      t.equal(headers['content-disposition'], 'inline; filename="f.txt"')
      t.equal(headers['digest'], md5(content))
      t.equal(headers['accept-ranges'], 'bytes')
      t.ok(Date.parse(headers['last-modified'] ?? '') <= Date.now())
      t.equal(headers['x-content-type-options'], 'nosniff')
      t.equal(headers['content-security-policy'], 'sandbox')
      t.equal(text, method === 'GET' ? content : '')
    }
  })
  await t.test('row 45: trap 17: an empty file is 204, its HEAD 200', async (t) => {
    await put(gateway, '/home/alice/empty', '')
    const reply = await get({}, '/home/alice/empty')
    t.equal(reply.status, 204)
    t.equal(reply.headers['content-disposition'], 'inline; filename="empty"')
    t.equal(reply.headers['content-length'], undefined)
    t.match(await get({}, '/home/alice/empty', 'HEAD'), { status: 200, headers: { 'content-length': '0' } })
    t.match(await get({ range: 'bytes=0-' }, '/home/alice/empty'), {
      status: 416,
      headers: { 'content-range': 'bytes */0' },
    })
  })
  await t.test('row 45: answer one range', async (t) => {
    const cases: [range: string, text: string, contentRange: string][] = [
      ['bytes=0-3', '0123', 'bytes 0-3/10'],
      ['bytes=3-', '3456789', 'bytes 3-9/10'],
      ['bytes=-4', '6789', 'bytes 6-9/10'],
      ['bytes=-400', content, 'bytes 0-9/10'],
      ['bytes=5-500', '56789', 'bytes 5-9/10'],
      ['bytes=9-9', '9', 'bytes 9-9/10'],
      ['BYTES = 0-0', '0', 'bytes 0-0/10'],
    ]
    for (const [range, text, contentRange] of cases) {
      const reply = await get({ range })
      t.match(reply, { status: 206, text, headers: { 'content-range': contentRange } }, range)
      t.equal(reply.headers['content-length'], String(text.length))
      t.equal(reply.headers['digest'], md5(content), 'of the whole file: the Python client checks it at the end')
    }
  })
  await t.test('refuse a range that is none or beyond the end, and tell the size', async (t) => {
    for (const range of [
      'bytes=10-',
      'bytes=100-200',
      'bytes=5-2',
      'bytes=-0',
      'bytes=',
      'bytes=a-b',
      'bytes=--1',
      'bytes=1',
      `bytes=${'9'.repeat(30)}-`,
    ]) {
      const reply = await get({ range })
      t.match(reply, { status: 416, text: /^RangeNotSatisfiable: / }, range)
      t.equal(reply.headers['content-range'], 'bytes */10')
    }
  })
  await t.test('send the whole for other units and for several ranges, and to a HEAD', async (t) => {
    for (const range of ['lines=1-2', 'bytes=0-1,3-4', 'x'])
      t.match(await get({ range }), { status: 200, text: content }, range)
    t.equal((await get({ range: 'bytes=0-1' }, '/home/alice/f.txt', 'HEAD')).headers['content-length'], '10')
  })
  await t.test('hold conditions against what is there', async (t) => {
    const { headers } = await get()
    const etag = headers.etag ?? ''
    const modified = headers['last-modified'] ?? ''
    const cases: [headers: Record<string, string>, status: number][] = [
      [{ 'if-none-match': etag }, 304],
      [{ 'if-none-match': `W/${etag}, "b"` }, 304],
      [{ 'if-none-match': '*' }, 304],
      [{ 'if-none-match': '"b"' }, 200],
      [{ 'if-modified-since': modified }, 304],
      [{ 'if-modified-since': 'Thu, 01 Jan 1970 00:00:00 GMT' }, 200],
      [{ 'if-modified-since': modified, 'if-none-match': '"b"' }, 200],
      [{ 'if-match': '"b"' }, 412],
      [{ 'if-match': etag }, 200],
      [{ 'if-unmodified-since': 'Thu, 01 Jan 1970 00:00:00 GMT' }, 412],
      [{ range: 'bytes=0-1', 'if-range': etag }, 206],
      [{ range: 'bytes=0-1', 'if-range': modified }, 206],
      [{ range: 'bytes=0-1', 'if-range': '"b"' }, 200],
      [{ range: 'bytes=0-1', 'if-range': `W/${etag}` }, 200],
      [{ range: 'bytes=0-1', 'if-range': 'Thu, 01 Jan 1970 00:00:00 GMT' }, 200],
    ]
    for (const [condition, status] of cases) {
      const reply = await get(condition)
      t.equal(reply.status, status, JSON.stringify(condition))
      if (status === 304) t.match(reply, { text: '', headers: { etag } })
    }
  })
  await t.test('row 46: HEAD needs no permission to read, GET does', async (t) => {
    await put(gateway, '/pub/private', 'secret')
    t.equal((await gateway.call('/files/pub/private', { method: 'HEAD', as: 'bob' })).status, 200)
    t.match(await gateway.call('/files/pub/private', { as: 'bob' }), { status: 403, text: /^PermissionDenied: / })
    t.match(await gateway.call('/files/pub/private', { as: 'bob', headers: { range: 'bytes=0-0' } }), { status: 403 })
    t.equal((await gateway.call('/files/home/alice/f.txt', { method: 'HEAD', as: 'bob' })).status, 403, 'the path does')
  })
  await t.test('row 6: are refused for containers, for nothing, and for links out of the space', async (t) => {
    t.match(await get({}, '/home/alice'), { status: 400, text: /^InvalidArgument: / })
    t.match(await get({}, '/home/alice/nothing'), { status: 404, text: /^NodeNotFound: / })
    t.match(await get({}, '/home/alice/nothing', 'HEAD'), { status: 404, text: '' })
    const link = async (name: string, target: string) => {
      const body = node(`/home/alice/${name}`, 'LinkNode', `<vos:target>${target}</vos:target>`)
      t.equal((await gateway.call(`/nodes/home/alice/${name}`, { method: 'PUT', as: 'alice', body })).status, 201)
    }
    await link('out', 'file:///etc/passwd')
    t.match(await get({}, '/home/alice/out'), { status: 400, text: /^InvalidArgument: / })
    await link('in', `${VOS}/home/alice/f.txt`)
    const reply = await get({}, '/home/alice/in')
    t.match(reply, { status: 200, text: content })
    t.equal(reply.headers['content-disposition'], 'inline; filename="in"', 'the name as it was asked for')
  })
})

await t.test('a file name in Content-Disposition', async (t) => {
  const gateway = await startGateway(t)
  const cases: [name: string, header: string][] = [
    ['a b.fits', 'inline; filename="a b.fits"'],
    ["a'b;c=d%20.txt", `inline; filename="a'b;c=d%20.txt"`],
    ['é', `inline; filename="_"; filename*=UTF-8''%C3%A9`],
    ['a"b', `inline; filename="a_b"; filename*=UTF-8''a%22b`],
    ['a\\b', `inline; filename="a_b"; filename*=UTF-8''a%5Cb`],
    ['x\r\nSet-Cookie: a=b', `inline; filename="x__Set-Cookie: a=b"; filename*=UTF-8''x%0D%0ASet-Cookie%3A%20a%3Db`],
  ]
  for (const [name, header] of cases) {
    const path = `/home/alice/${encodeURIComponent(name)}`
    t.equal((await put(gateway, path, 'x')).status, 201, JSON.stringify(name))
    const { status, headers } = await gateway.call(`/files${path}`, { as: 'alice' })
    t.equal(status, 200)
    t.equal(headers['content-disposition'], header)
    t.equal(headers['set-cookie'], undefined)
  }
})

await t.test('a property that would break a header is not sent as one', async (t) => {
  const gateway = await startGateway(t)
  await put(gateway, '/home/alice/f', 'x')
  const type = property('ivo://ivoa.net/vospace/core#type', 'text/html&#13;&#10;Set-Cookie: a=b')
  const body = node('/home/alice/f', 'DataNode', type)
  t.equal((await gateway.call('/nodes/home/alice/f', { method: 'POST', as: 'alice', body })).status, 200)
  const { headers, status } = await gateway.call('/files/home/alice/f', { as: 'alice' })
  t.equal(status, 200)
  t.equal(headers['content-type'], 'application/octet-stream')
  t.equal(headers['set-cookie'], undefined)
})

await t.test('a file that changes between the look and the read is read as one version', async (t) => {
  let race: (() => Promise<unknown>) | undefined
  const gateway = await startGateway(t, {
    backend: (memory) =>
      overlay(memory, {
        async read(ref, options) {
          const before = race
          race = undefined
          await before?.()
          return memory.read(ref, options)
        },
      }),
  })
  await put(gateway, '/home/alice/r', 'short')
  race = () => put(gateway, '/home/alice/r', 'much longer than before')
  const reply = await gateway.call('/files/home/alice/r', { as: 'alice' })
  t.equal(reply.text, 'much longer than before')
  t.equal(reply.headers['digest'], md5('much longer than before'))
  race = () => put(gateway, '/home/alice/r', 'x')
  const etag = reply.headers.etag ?? ''
  t.equal((await gateway.call('/files/home/alice/r', { as: 'alice', headers: { 'if-match': etag } })).status, 412)
})

await t.test('a body that takes its chunks back gets them when their bytes have gone, and not before', async (t) => {
  const content = randomBytes(4 << 20)
  let buffers = 0
  const gateway = await startGateway(t, {
    backend: (memory) =>
      overlay(memory, {
        async read(ref, options) {
          const { entry } = await memory.read(ref, options)
          const free: Buffer[] = []
          let at = 0
          const body = new Readable({
            highWaterMark: 1 << 16,
            read() {
              if (free.length === 0) buffers++
              const chunk = free.pop() ?? Buffer.alloc(1 << 16)
              content.copy(chunk, 0, at)
              at += chunk.length
              this.push(at > content.length ? null : chunk)
            },
          })
          return { entry, body: Object.assign(body, { recycle: (chunk: Buffer) => free.push(chunk.fill(0)) }) }
        },
      }),
  })
  await put(gateway, '/home/alice/f', content)
  t.ok((await gateway.call('/files/home/alice/f', { as: 'alice' })).body.equals(content))
  t.ok(buffers < 20, 'the same few buffers')
})

await t.test('headers do not wait for the bytes of a large file, which would be copied to go with them', async (t) => {
  const seen = Promise.withResolvers<void>()
  const gateway = await startGateway(t, {
    backend: (memory) =>
      overlay(memory, {
        async read(ref, options) {
          const { entry, body } = await memory.read(ref, options)
          const parts = async function* () {
            await seen.promise
            yield* body as AsyncIterable<Buffer>
          }
          return { entry, body: Readable.from(parts(), { objectMode: false }) }
        },
      }),
  })
  const content = randomBytes(1 << 20)
  await put(gateway, '/home/alice/f', content)
  const { port } = gateway
  const request = get({ host: 'localhost', port, path: '/karst/files/home/alice/f', agent: false, ...tlsOf('alice') })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  t.equal(response.headers['content-length'], String(content.length))
  seen.resolve()
  t.ok((await collect(response)).body.equals(content))
})

await t.test('a failure of the storage in the midst of a download cuts it', async (t) => {
  const gateway = await startGateway(t, {
    backend: (memory) =>
      overlay(memory, {
        async read(ref, options) {
          const { entry } = await memory.read(ref, options)
          const parts = async function* () {
            yield Buffer.from('01234')
            throw new Fault('InternalFault', 'the disk is on fire')
          }
          return { entry, body: Readable.from(parts(), { objectMode: false }) }
        },
      }),
  })
  await put(gateway, '/home/alice/f', '0123456789')
  await t.rejects(gateway.call('/files/home/alice/f', { as: 'alice' }), { code: 'ECONNRESET' })
})
