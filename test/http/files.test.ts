import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { nodePath } from '../../src/vospace/path.ts'
import { type Call, type Gateway, startGateway } from './gateway.ts'

const md5 = (bytes: string | Buffer): string => `md5=${createHash('md5').update(bytes).digest('base64')}`

const put = (gateway: Gateway, path: string, body: string | Buffer, headers: Call['headers'] = {}) =>
  gateway.call(`/files${path}`, { method: 'PUT', as: 'alice', body, headers })

await t.test('PUT of bytes', async (t) => {
  const gateway = await startGateway(t)
  await t.test('row 44: trap 16: is 201, empty, with the digest', async (t) => {
    const reply = await put(gateway, '/home/alice/a.txt', 'hello')
    t.equal(reply.status, 201)
    t.equal(reply.body.length, 0)
    t.equal(reply.headers['content-length'], '0')
    t.equal(reply.headers['digest'], md5('hello'))
    t.match(reply.headers.etag, /^"[A-Za-z0-9._-]+"$/)
    t.equal(reply.headers['x-vo-authenticated'], 'alice')
  })
  await t.test('comes without Content-Type, chunked, and with transaction headers that are ignored', async (t) => {
    t.equal((await put(gateway, '/home/alice/b', 'x', { 'x-put-txn-op': 'start', 'x-total-length': '1' })).status, 201)
    t.equal((await put(gateway, '/home/alice/b', 'yy', { 'transfer-encoding': 'chunked' })).status, 201)
    t.equal((await gateway.call('/files/home/alice/b', { as: 'alice' })).text, 'yy')
  })
  await t.test('replaces, and the version changes with the bytes', async (t) => {
    const before = await put(gateway, '/home/alice/c', 'one')
    const after = await put(gateway, '/home/alice/c', 'two')
    t.equal(after.status, 201)
    t.not(before.headers.etag, after.headers.etag)
  })
  await t.test('row 44: with a wrong digest is 412 and leaves what was there', async (t) => {
    await put(gateway, '/home/alice/d', 'old')
    const reply = await put(gateway, '/home/alice/d', 'new', { digest: md5('other') })
    t.match(reply, { status: 412, text: /^PreconditionFailed: / })
    t.equal((await gateway.call('/files/home/alice/d', { as: 'alice' })).text, 'old')
    t.equal((await put(gateway, '/home/alice/none', 'new', { digest: md5('other') })).status, 412)
    t.equal((await gateway.call('/nodes/home/alice/none', { as: 'alice' })).status, 404, 'and no debris')
    t.equal(
      (await put(gateway, '/home/alice/d', 'new', { Digest: `SHA-256=abc, ${md5('new').replace('md5', 'MD5')}` }))
        .status,
      201,
    )
    t.equal((await put(gateway, '/home/alice/d', 'new', { 'content-md5': md5('new').slice(4) })).status, 201)
  })
  await t.test('with a digest that is none is 400', async (t) => {
    for (const digest of [
      'md5=',
      'md5=xyz',
      'md5',
      `${md5('a')}, ${md5('b')}`,
      'md5=@@@@@@@@@@@@@@@@@@@@@@==',
      'md5=QUJD',
    ]) {
      const reply = await put(gateway, '/home/alice/e', 'x', { digest })
      t.match(reply, { status: 400, text: /^InvalidArgument: / }, digest)
    }
    t.equal((await put(gateway, '/home/alice/e', 'x', { 'content-md5': 'short' })).status, 400)
  })
  await t.test('of a part is refused: it would destroy the rest', async (t) => {
    t.match(await put(gateway, '/home/alice/c', 'x', { 'content-range': 'bytes 0-0/3' }), { status: 400 })
  })
  await t.test('is refused as wire.md says', async (t) => {
    t.match(await put(gateway, '/home/bob/x', 'x'), { status: 403, text: /^PermissionDenied: / })
    t.match(await put(gateway, '/home/alice/no/x', 'x'), { status: 404, text: /^ContainerNotFound: / })
    t.match(await put(gateway, '/home/alice', 'x'), { status: 400, text: /^InvalidArgument: / })
    t.match(await gateway.call('/files/pub/x', { method: 'PUT', body: 'x' }), { status: 403 })
  })
  await t.test('holds conditions against what is there', async (t) => {
    const { headers } = await put(gateway, '/home/alice/f', 'one')
    const etag = headers.etag ?? ''
    const cases: [headers: Call['headers'] & object, status: number][] = [
      [{ 'if-none-match': '*' }, 412],
      [{ 'if-none-match': etag }, 412],
      [{ 'if-match': '"other"' }, 412],
      [{ 'if-match': `W/${etag}` }, 412],
      [{ 'if-unmodified-since': 'Thu, 01 Jan 1970 00:00:00 GMT' }, 412],
      [{ 'if-unmodified-since': 'no date' }, 201],
    ]
    for (const [condition, status] of cases) {
      t.equal((await put(gateway, '/home/alice/f', 'one', condition)).status, status, JSON.stringify(condition))
    }
    t.equal((await put(gateway, '/home/alice/new', 'x', { 'if-match': '*' })).status, 412)
    t.equal((await put(gateway, '/home/alice/new', 'x', { 'if-none-match': '*' })).status, 201)
    const now = (await gateway.call('/files/home/alice/f', { method: 'HEAD', as: 'alice' })).headers.etag ?? ''
    t.equal((await put(gateway, '/home/alice/f', 'two', { 'if-match': `"a", ${now}` })).status, 201)
    t.equal((await put(gateway, '/home/alice/f', 'three', { 'if-match': now })).status, 412, 'the second with the same')
  })
})

await t.test('a pre-authorised URL', async (t) => {
  const gateway = await startGateway(t)
  await put(gateway, '/home/alice/p%20q', 'content')
  const path = nodePath('/home/alice/p q')
  const token = (kind: 'read' | 'write', now?: number): string =>
    gateway.preauth.issue({
      service: gateway.space.service,
      path,
      kind,
      user: 'alice',
      ...(now !== undefined && { now }),
    })
  const at = (value: string, rest = '/home/alice/p%20q') => `/files/preauth:${value}${rest}`

  await t.test(
    'row 39: reads without credentials, several times, and whoever shows a certificate besides',
    async (t) => {
      for (const as of [undefined, undefined, 'carol', 'dave'] as const) {
        const reply = await gateway.call(at(token('read')), { ...(as && { as }) })
        t.match(reply, { status: 200, text: 'content' })
        t.equal(reply.headers['content-disposition'], 'inline; filename="p q"')
      }
    },
  )
  await t.test('writes as the user it was given to', async (t) => {
    const write = token('write')
    t.equal((await gateway.call(at(write), { method: 'PUT', body: 'x', headers: { digest: md5('y') } })).status, 412)
    t.equal((await gateway.call(at(write), { method: 'PUT', body: 'new' })).status, 201, 'the second try')
    t.match((await gateway.call('/nodes/home/alice/p%20q', { as: 'alice' })).text, /creator" readOnly="true">alice</)
  })
  await t.test('is good for its verb, its node and its time only', async (t) => {
    const cases: [target: string, method: string][] = [
      [at(token('read')), 'PUT'],
      [at(token('write')), 'GET'],
      [at(token('read'), '/home/alice/other'), 'GET'],
      [at(token('read'), '/home/alice'), 'GET'],
      [at(token('read', Date.now() - 3_601_000)), 'GET'],
      [at('nonsense'), 'GET'],
      [at(''), 'GET'],
      [at(`${token('read')}x`), 'GET'],
    ]
    for (const [target, method] of cases) {
      const reply = await gateway.call(target, { method, ...(method === 'PUT' && { body: 'x' }) })
      t.match(reply, { status: 403, text: /^PermissionDenied: / }, `${method} ${target}`)
    }
  })
  await t.test('never gets into the log', async (t) => {
    const secret = token('read')
    await gateway.call(at(secret))
    await gateway.call(at(secret).replace(':', '%3A'))
    await gateway.call(`${at(secret)}/no/such`)
    const logged = JSON.stringify(gateway.log)
    t.match(logged, 'preauth:[token]')
    t.notOk(logged.includes(secret.slice(0, 30)))
  })
})

await t.test('a refused upload', async (t) => {
  const gateway = await startGateway(t, { quota: 1 << 20 })
  const big = randomBytes(20 << 20)
  await t.test('of many bytes still gets to see why, permission and quota alike, again and again', async (t) => {
    for (let i = 0; i < 2; i++) {
      t.match(await put(gateway, '/home/bob/big', big), { status: 403, text: /^PermissionDenied: / })
      t.match(await put(gateway, '/home/alice/big', big), { status: 413, text: /^QuotaExceeded: / })
      t.match(await put(gateway, '/home/alice/big', big, { 'transfer-encoding': 'chunked' }), { status: 413 })
    }
    t.equal((await gateway.call('/nodes/home/alice/big', { as: 'alice' })).status, 404)
  })
  await t.test('reaches a client that reads nothing before it has sent all, as the Python client does', async (t) => {
    const socket = await gateway.raw('alice')
    socket.pause()
    socket.write(`PUT /karst/files/home/bob/big HTTP/1.1\r\nHost: x\r\nContent-Length: ${big.length}\r\n\r\n`)
    const failure = await new Promise((resolve) => socket.write(big, resolve))
    t.notOk(failure)
    await sleep(100)
    let text = ''
    for await (const part of socket) text += String(part)
    t.match(text, /^HTTP\/1.1 403 /)
  })
  await t.test('is refused before 100 Continue, and the connection closed', async (t) => {
    const socket = await gateway.raw('alice')
    socket.write('PUT /karst/files/home/bob/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n')
    let text = ''
    for await (const part of socket) text += String(part)
    t.match(text, /^HTTP\/1.1 403 /)
    t.notMatch(text, ' 100 ')
    t.match(text, /connection: close/i)
  })
  await t.test('and an accepted one gets its 100 Continue first', async (t) => {
    const socket = await gateway.raw('alice')
    socket.write(
      'PUT /karst/files/home/alice/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n',
    )
    let text = ''
    for await (const part of socket) {
      text += String(part)
      if (text.endsWith('100 Continue\r\n\r\n')) socket.write('hello')
      if (text.includes(' 201 ') && text.endsWith('\r\n\r\n')) break
    }
    t.match(text, /^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 201 /)
    t.equal((await gateway.call('/files/home/alice/x', { as: 'alice' })).text, 'hello')
  })
})
