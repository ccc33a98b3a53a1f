/** What each call of the client says on the wire, and what it makes of the answers. */
import { type ServerResponse } from 'node:http'
import t from 'tap'
import { type Client } from '../../mount/client.ts'
import { readBytes } from '../../mount/read-bytes.ts'
import { type WireExtent } from '../../src/codec/fs-v1.ts'
import { Fault, type FaultName } from '../../src/vospace/fault.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { entryJson, GatewayDouble, json, Pki } from './gateway-double.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const A = nodePath('/home/alice/a')
const B = nodePath('/home/alice/b')
const AWKWARD = nodePath('/home/a b%#?é+&="\'\\\n/☃')

const pki = await Pki.make()
const gateway = await new GatewayDouble(pki).start()
const client = await gateway.client()
t.teardown(async () => {
  await client.close()
  await gateway.stop()
  pki.remove()
})
t.beforeEach(() => {
  gateway.requests.length = 0
})

type Expected = { method: string; url: string; body?: unknown; headers?: Record<string, unknown> }

async function* bytes(...parts: string[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield Buffer.from(part)
}

async function* extents(...all: WireExtent[]): AsyncGenerator<WireExtent> {
  yield* all
}

const CALLS: { name: string; call: (client: Client) => Promise<unknown>; expected: Expected; changes?: true }[] = [
  {
    name: 'entry',
    call: (c) => c.entry({ path: A }),
    expected: { method: 'GET', url: '/entry?path=/home/alice/a' },
  },
  {
    name: 'entry of an open node',
    call: (c) => c.entry({ path: A, id: 'n7' }),
    expected: { method: 'GET', url: '/entry?path=/home/alice/a&id=n7' },
  },
  {
    name: 'put of a new file',
    call: (c) => c.put({ path: A }, () => bytes('ab', '', 'c'), { ifAbsent: true, mode: 0o644, mtime: 5n, length: 3 }),
    expected: {
      method: 'PUT',
      url: '/data?path=/home/alice/a&mode=0644&mtime=5',
      body: 'abc',
      headers: { 'if-none-match': '*', 'content-length': '3', 'if-match': undefined },
    },
    changes: true,
  },
  {
    name: 'put over known content',
    call: (c) => c.put({ path: A, id: 'n7' }, () => bytes(), { ifContentVersion: 'c9', length: 0 }),
    expected: {
      method: 'PUT',
      url: '/data?path=/home/alice/a&id=n7',
      body: '',
      headers: { 'if-match': '"c9"', 'content-length': '0', 'if-none-match': undefined },
    },
    changes: true,
  },
  {
    name: 'amend',
    call: (c) =>
      c.amend({ path: A, id: 'n7' }, () => extents({ offset: 2, bytes: Buffer.from('xy') }, { offset: 9, hole: 4 }), {
        length: 13,
        ifContentVersion: 'c1',
        mtime: -1n,
      }),
    expected: {
      method: 'PATCH',
      url: '/data?path=/home/alice/a&id=n7&length=13&mtime=-1',
      body: `010000000000000002000000000000000278790200000000000000090000000000000004000000000000000000${'0000000000000002'}`,
      headers: { 'if-match': '"c1"', 'content-type': 'application/vnd.karst.extents' },
    },
    changes: true,
  },
  {
    name: 'mkdir',
    call: (c) => c.mkdir(A, 0o2750),
    expected: { method: 'POST', url: '/mkdir', body: { path: A, mode: 0o2750 } },
    changes: true,
  },
  {
    name: 'symlink',
    call: (c) => c.symlink(A, Buffer.from('../é')),
    expected: { method: 'POST', url: '/symlink', body: { path: A, text: '../é' } },
    changes: true,
  },
  {
    name: 'symlink to what is not UTF-8',
    call: (c) => c.symlink(A, Buffer.from([0xff, 0x2f])),
    expected: { method: 'POST', url: '/symlink', body: { path: A, text64: '/y8=' } },
    changes: true,
  },
  {
    name: 'rename',
    call: (c) => c.rename(A, B, 'noreplace'),
    expected: { method: 'POST', url: '/rename', body: { from: A, to: B, flags: 'noreplace' } },
    changes: true,
  },
  {
    name: 'setattr',
    call: (c) =>
      c.setattr({ path: A, id: 'n7' }, { mode: 0, uid: 1, gid: 2, size: 3, mtime: 2n ** 60n + 1n, atime: -1n }),
    expected: {
      method: 'POST',
      url: '/setattr',
      body: { path: A, id: 'n7', mode: 0, uid: 1, gid: 2, size: 3, mtime: '1152921504606846977', atime: '-1' },
    },
    changes: true,
  },
]

for (const { name, call, expected, changes } of CALLS) {
  t.test(`it says ${name} as the contract does and reads the entry`, async (t) => {
    gateway.handler = (_, response) => json(response, 200, entryJson(A, { text64: '/y8=' }))
    t.match(await call(client), { path: A, mtime: 1700000000123456789n, text: Buffer.from([0xff, 0x2f]) })
    const [request] = gateway.requests
    t.equal(gateway.requests.length, 1)
    t.equal(request?.method, expected.method)
    t.equal(request?.url, `/karst/fs/v1${expected.url}`)
    for (const [header, value] of Object.entries(expected.headers ?? {})) t.equal(request?.headers[header], value)
    if (changes) t.match(request?.headers['operation-id'], UUID)
    else t.notOk(request?.headers['operation-id'])
    if (expected.method === 'PATCH') t.equal(request?.body.toString('hex'), expected.body)
    else if (typeof expected.body === 'object') t.same(JSON.parse(String(request?.body)), expected.body)
    else t.equal(String(request?.body), expected.body ?? '')
  })
}

t.test('it removes, and sets and removes extended attributes, each under an operation id of its own', async (t) => {
  gateway.handler = (_, response) => void response.writeHead(204).end()
  await client.remove(A, 'leaf')
  await client.setXattr(A, 'user.ivo://x#y z', Buffer.from([0, 255]), 'create')
  await client.removeXattr(A, 'user.k')
  const said = gateway.requests.map(({ method, url }) => `${method} ${url}`)
  t.same(said, [
    'POST /karst/fs/v1/remove',
    'PUT /karst/fs/v1/xattr?path=/home/alice/a&name=user.ivo%3A//x%23y%20z&flags=create',
    'DELETE /karst/fs/v1/xattr?path=/home/alice/a&name=user.k',
  ])
  t.same(JSON.parse(String(gateway.requests[0]?.body)), { path: A, type: 'leaf' })
  t.same(gateway.requests[1]?.body, Buffer.from([0, 255]))
  t.equal(new Set(gateway.requests.map(({ headers }) => headers['operation-id'])).size, 3)
})

t.test('it reads identity, extended attributes and space', async (t) => {
  gateway.handler = ({ url }, response) => {
    const call = url.replace('/karst/fs/v1', '')
    if (call === '') json(response, 200, { version: 1, resourceId: 'ivo://x/y', user: null, uid: 65534, gid: 65534 })
    else if (call === `/xattr?path=${A}`) json(response, 200, { names: ['user.a', 'user.é'] })
    else if (call === `/xattr?path=${A}&name=user.a`) response.writeHead(200).end(Buffer.from([0, 255, 10]))
    else json(response, 200, { ...SPACE, used: 5, quota: null })
  }
  t.same(await client.identity(), { resourceId: 'ivo://x/y', user: undefined, uid: 65534, gid: 65534 })
  t.same(await client.xattrNames(A), ['user.a', 'user.é'])
  t.same(await client.xattr(A, 'user.a'), Buffer.from([0, 255, 10]))
  t.same(await client.statfs(A), { ...SPACE, hasQuota: false })
})
const SPACE = { blockSize: 4096, blocks: 10, blocksFree: 5, files: 3, filesFree: 2, nameMax: 255 }

t.test('it encodes every awkward name once', async (t) => {
  gateway.handler = ({ url }, response) => {
    const path = new URL(url, gateway.url).searchParams.get('path') ?? ''
    json(response, 200, entryJson(path))
  }
  t.equal((await client.entry({ path: AWKWARD })).path, AWKWARD)
  t.notMatch(gateway.requests[0]?.url, /[^!-~]|\+/, 'printable ASCII, and no plus that could mean a space')
  await t.rejects(async () => client.xattr(A, 'user.\ud800'), { name: 'Fault', fault: 'InvalidArgument' })
})

t.test('it shows the certificate of its file', async (t) => {
  gateway.handler = (_, response) => json(response, 200, entryJson(A))
  await client.entry({ path: A })
  t.match(gateway.requests[0]?.user, /^alice$/)
})

const CONTENT = Buffer.from(Array.from({ length: 1000 }, (_, index) => index % 251))

function serveRange(range: string | undefined, response: ServerResponse): void {
  const [, first = '0', last = ''] = /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? []
  const start = Number(first)
  const part = CONTENT.subarray(start, Math.min(Number(last), CONTENT.length - 1) + 1)
  if (start >= CONTENT.length) return json(response, 416, { fault: 'RangeNotSatisfiable', errno: 'EINVAL', detail: '' })
  const span = `bytes ${start}-${start + part.length - 1}/${CONTENT.length}`
  response.writeHead(206, { 'content-range': span, 'content-length': part.length }).end(part)
}

t.test('it reads ranges, cut at the end of the file', async (t) => {
  gateway.handler = ({ headers }, response) => serveRange(headers.range, response)
  for (const [start, end] of [
    [0, 0],
    [0, 999],
    [0, 5000],
    [999, 999],
    [999, 5000],
    [13, 77],
    [1000, 1000],
    [4000, 5000],
  ] as const) {
    const got = await readBytes(client, { path: A }, { start, end })
    t.same(got, CONTENT.subarray(start, end + 1), `${start}-${end}`)
  }
  t.equal(gateway.requests[0]?.headers.range, 'bytes=0-0')
  t.notOk(gateway.requests[0]?.headers['if-match'])
})

t.test('it ties a read to a content version', async (t) => {
  const refusal = { fault: 'PreconditionFailed', errno: 'ESTALE', detail: 'changed' }
  gateway.handler = (_, response) => json(response, 412, refusal)
  const read = readBytes(client, { path: A, id: 'n7' }, { start: 0, end: 9 }, { ifContentVersion: 'c3' })
  await t.rejects(read, new Fault('PreconditionFailed', 'changed'))
  t.equal(gateway.requests[0]?.headers['if-match'], '"c3"')
  t.match(gateway.requests[0]?.url, '&id=n7')
})

t.test('it takes its part of a whole answer, and nothing of an empty file', async (t) => {
  gateway.handler = (_, response) => void response.writeHead(200).end(CONTENT)
  for (const [start, end] of [
    [0, 999],
    [10, 19],
    [990, 2000],
    [1000, 1001],
    [3000, 4000],
  ] as const) {
    t.same(await readBytes(client, { path: A }, { start, end }), CONTENT.subarray(start, end + 1), `${start}-${end}`)
  }
  gateway.handler = (_, response) => void response.writeHead(204).end()
  t.equal((await readBytes(client, { path: A }, { start: 0, end: 99 })).length, 0)
})

t.test('it refuses bytes of another range than asked for', async (t) => {
  gateway.handler = (_, response) => void response.writeHead(206, { 'content-range': 'bytes 5-9/1000' }).end('56789')
  await t.rejects(readBytes(client, { path: A }, { start: 4, end: 9 }), { name: 'Fault', fault: 'InternalFault' })
  gateway.handler = (_, response) => void response.writeHead(206).end('56789')
  await t.rejects(readBytes(client, { path: A }, { start: 5, end: 9 }), { name: 'Fault', fault: 'InternalFault' })
})

const REFUSALS: [status: number, body: string, fault: FaultName, errno: string][] = [
  [404, '{"fault":"NodeNotFound","errno":"ENOENT","detail":"x"}', 'NodeNotFound', 'ENOENT'],
  [404, '{"fault":"NodeNotFound","errno":"ENODATA","detail":"x"}', 'NodeNotFound', 'ENODATA'],
  [413, '{"fault":"QuotaExceeded","errno":"ENOSPC","detail":"x"}', 'QuotaExceeded', 'ENOSPC'],
  [400, '{"fault":"TypeNotSupported","errno":"EISDIR"}', 'TypeNotSupported', 'EISDIR'],
  [403, '{"fault":"PermissionDenied","errno":17,"detail":"x"}', 'PermissionDenied', 'EACCES'],
  [403, '{"fault":"PermissionDenied","errno":"rm -rf","detail":"x"}', 'PermissionDenied', 'EACCES'],
  [409, '{"fault":"TeapotFault","errno":"EEXIST","detail":"x"}', 'InternalFault', 'EIO'],
  [409, '{"fault":"toString","errno":"EEXIST","detail":"x"}', 'InternalFault', 'EIO'],
  [500, '{"fault":"InternalFault","errno":"EIO","detail":"x"}', 'InternalFault', 'EIO'],
  [401, 'NotAuthenticated: certificate expired\n', 'NotAuthenticated', 'EACCES'],
  [401, '', 'NotAuthenticated', 'EACCES'],
  [404, '<html>no such page</html>', 'InternalFault', 'EIO'],
  [400, 'null', 'InternalFault', 'EIO'],
  [302, '', 'InternalFault', 'EIO'],
]
for (const [status, body, fault, errno] of REFUSALS) {
  t.test(`it takes ${status} ${body.trim()} for ${fault} with ${errno}, at once`, async (t) => {
    gateway.handler = (_, response) => void response.writeHead(status).end(body)
    await t.rejects(client.entry({ path: A }), { name: 'Fault', fault, errno })
    t.equal(gateway.requests.length, 1)
  })
}

const NO_ENTRIES = ['', '{', 'null', '[]', '{"fault":"NodeNotFound"}', JSON.stringify(entryJson('not/absolute'))]
NO_ENTRIES.push(JSON.stringify({ ...entryJson(A), mtime: 5 }), 'x'.repeat(5 << 20))
for (const body of NO_ENTRIES) {
  t.test(`it takes 200 ${body.slice(0, 40)} for a fault of the gateway`, async (t) => {
    gateway.handler = (_, response) => void response.writeHead(200).end(body)
    await t.rejects(client.entry({ path: A }), { name: 'Fault', fault: 'InternalFault', errno: 'EIO' })
    t.equal(gateway.requests.length, 1)
  })
}

t.test('it refuses malformed names, counts and identities', async (t) => {
  gateway.handler = (_, response) => json(response, 200, { names: ['a', 5], blocks: 'many', version: 1, user: 7 })
  await t.rejects(client.xattrNames(A), { name: 'Fault', fault: 'InternalFault' })
  await t.rejects(client.statfs(A), { name: 'Fault', fault: 'InternalFault' })
  await t.rejects(client.identity(), { name: 'Fault', fault: 'InternalFault' })
  gateway.handler = (_, response) => json(response, 200, { version: 2 })
  await t.rejects(client.identity(), { name: 'Fault', fault: 'OperationNotSupported' })
})
