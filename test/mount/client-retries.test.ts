/** What the client does when answers are lost, late or never come. */
import { utimesSync, writeFileSync } from 'node:fs'
import { type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { connect } from '../../mount/client.ts'
import { readBytes } from '../../mount/read-bytes.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { entryJson, GatewayDouble, HELLO, json, Pki, type Handler } from './gateway-double.ts'

const A = nodePath('/home/alice/a')
const GIVEN_UP = { name: 'Fault', fault: 'ServiceBusy', errno: 'EIO' }

const pki = await Pki.make()
const gateway = await new GatewayDouble(pki).start()
const client = await gateway.client()
const impatient = await gateway.client({ timeLimit: 1 })
t.teardown(async () => {
  await Promise.all([client.close(), impatient.close()])
  await gateway.stop()
  pki.remove()
})
t.beforeEach(() => {
  gateway.requests.length = 0
})

/** Applies each operation id once; loses the first `lost` replies, as `lose` says. */
function applying(lost: number, lose: (response: ServerResponse) => void, applied: string[]): Handler {
  return ({ headers, url }, response) => {
    const id = String(headers['operation-id'])
    if (!applied.includes(id)) applied.push(id)
    if (lost-- > 0) return lose(response)
    if (url.endsWith('/remove')) response.writeHead(204).end()
    else json(response, 201, entryJson(A))
  }
}

const LOSSES: [how: string, lose: (response: ServerResponse) => void][] = [
  ['the connection is cut before the reply', (response) => response.destroy()],
  [
    'the connection is reset',
    (response) => (response.socket as unknown as { resetAndDestroy(): void }).resetAndDestroy(),
  ],
  [
    'the reply is cut short',
    (response) => void response.writeHead(201, { 'content-length': 500 }).write('{', () => response.destroy()),
  ],
  ['a balancer says 502', (response) => void response.writeHead(502).end('<html>')],
  ['the gateway says 503', (response) => json(response, 503, { fault: 'ServiceBusy', errno: 'EAGAIN', detail: '' })],
]

for (const [how, lose] of LOSSES) {
  t.test(`it repeats a change under one operation id when ${how}`, async (t) => {
    const applied: string[] = []
    let bodies = 0
    async function* body(): AsyncGenerator<Uint8Array> {
      bodies++
      yield Buffer.alloc(60_000, 'a')
      yield Buffer.alloc(10_000, 'b')
    }
    gateway.handler = applying(2, lose, applied)
    t.equal((await client.put({ path: A }, body, { ifAbsent: true, length: 70_000 })).path, A)
    t.equal(bodies, 3, 'a body for each attempt')
    const sent = gateway.requests.map((request) => String(request.body))
    t.same(sent, Array(3).fill('a'.repeat(60_000) + 'b'.repeat(10_000)))
    gateway.handler = applying(2, lose, applied)
    t.equal((await client.mkdir(A, 0o755)).path, A)
    gateway.handler = applying(1, lose, applied)
    await client.remove(A, 'container')
    t.equal(applied.length, 3, 'each change once')
  })

  t.test(`it repeats a small change with the same bytes when ${how}`, async (t) => {
    const applied: string[] = []
    let written = 'abc'
    async function* body(): AsyncGenerator<Uint8Array> {
      yield Buffer.from(written)
      written = 'changed meanwhile'
    }
    gateway.handler = applying(2, lose, applied)
    await client.put({ path: A }, body, { ifAbsent: true, length: 3 })
    const sent = gateway.requests.map((request) => [String(request.body), request.headers['content-length']])
    t.same(sent, Array(3).fill(['abc', '3']))
    t.equal(applied.length, 1)
  })

  t.test(`it repeats a read when ${how}`, async (t) => {
    let lost = 2
    gateway.handler = (_, response) => {
      if (lost-- > 0) return lose(response)
      response.writeHead(206, { 'content-range': 'bytes 1-3/9', 'content-length': 3 }).end('bcd')
    }
    t.equal(String(await readBytes(client, { path: A }, { start: 1, end: 3 })), 'bcd')
    t.equal(gateway.requests.length, 3)
  })
}

t.test('it waits as long as Retry-After says', async (t) => {
  const times: number[] = []
  gateway.handler = (_, response) => {
    times.push(performance.now())
    if (times.length === 1) json(response, 503, { fault: 'ServiceBusy' }, { 'retry-after': '1' })
    else json(response, 200, entryJson(A))
  }
  await client.entry({ path: A })
  t.ok((times[1] ?? 0) - (times[0] ?? 0) > 950, 'a second later')
})

t.test('it gives up at the time limit when the gateway stays busy, whatever wait it asks for', async (t) => {
  gateway.handler = (_, response) => json(response, 503, { fault: 'ServiceBusy' }, { 'retry-after': '3600' })
  await t.rejects(impatient.entry({ path: A }), GIVEN_UP)
  t.ok(gateway.requests.length > 1)
})

t.test('it carries a call over a restart of the gateway', async (t) => {
  const applied: string[] = []
  gateway.handler = applying(1, () => undefined, applied)
  const made = client.mkdir(A, 0o755)
  while (applied.length === 0) await sleep(5)
  await gateway.stop()
  await sleep(300)
  await gateway.start()
  t.equal((await made).path, A)
  t.equal(applied.length, 1)
})

t.test('it gives up with EIO when nobody listens', async (t) => {
  await gateway.stop()
  await t.rejects(impatient.entry({ path: A }), GIVEN_UP)
  await t.rejects(impatient.mkdir(A, 0o755), GIVEN_UP)
  await gateway.start()
})

t.test('it gives up with EIO when no answer comes', async (t) => {
  gateway.handler = () => undefined
  // undici's timers may be a second late
  await t.rejects(client.entry({ path: A }), GIVEN_UP)
  t.ok(gateway.requests.length > 1, 'and has tried again before')
})

t.test('it gives up with EIO when the body of an answer stalls', async (t) => {
  gateway.handler = (_, response) =>
    void response.writeHead(206, { 'content-range': 'bytes 0-9/10', 'content-length': 10 }).write('abc')
  await t.rejects(readBytes(impatient, { path: A }, { start: 0, end: 9 }), GIVEN_UP)
})

t.test('it gives up with EIO when an upload is not answered', async (t) => {
  gateway.handler = () => undefined
  const body = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from('abc')
  }
  await t.rejects(impatient.put({ path: A }, body, { length: 3 }), GIVEN_UP)
})

t.test('it hands on the failure of a body as it is, without another attempt', async (t) => {
  gateway.handler = (_, response) => json(response, 200, entryJson(A))
  let bodies = 0
  const failure = new Error('spool file: EIO')
  const body = async function* (): AsyncGenerator<Uint8Array> {
    bodies++
    yield Buffer.from('abc')
    throw failure
  }
  await t.rejects(client.put({ path: A }, body, { length: 9 }), failure)
  t.equal(bodies, 1)
  t.equal(gateway.requests.length, 0)
})

t.test('it does not send a body of another length than announced', async (t) => {
  gateway.handler = (_, response) => json(response, 200, entryJson(A))
  const body = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from('abc')
  }
  await t.rejects(client.put({ path: A }, body, { length: 4 }), { name: 'Fault', fault: 'InternalFault' })
  await t.rejects(client.put({ path: A }, body, { length: 2 }), { name: 'Fault', fault: 'InternalFault' })
  t.equal(gateway.requests.length, 0)
})

t.test('it ends at once on an abort: before the answer, within it, between attempts', async (t) => {
  const handlers: Handler[] = [
    () => undefined,
    (_, response) =>
      void response.writeHead(206, { 'content-range': 'bytes 0-9/10', 'content-length': 10 }).write('abc'),
    (_, response) => json(response, 503, {}, { 'retry-after': '2' }),
  ]
  for (const handler of handlers) {
    const abort = new AbortController()
    const asked = Promise.withResolvers<void>()
    gateway.handler = async (request, response, raw) => {
      await handler(request, response, raw)
      asked.resolve()
    }
    const read = readBytes(client, { path: A }, { start: 0, end: 9 }, { signal: abort.signal })
    await asked.promise
    await sleep(20)
    const before = performance.now()
    abort.abort(new Error('interrupted'))
    await t.rejects(read, new Error('interrupted'))
    t.ok(performance.now() - before < 500, 'at once')
  }
  gateway.requests.length = 0
  const read = readBytes(client, { path: A }, { start: 0, end: 9 }, { signal: AbortSignal.abort() })
  await t.rejects(read, { name: 'AbortError' })
  t.equal(gateway.requests.length, 0)
})

t.test('it does not try again after close, and lets what is under way end', async (t) => {
  const other = await gateway.client()
  const answer = Promise.withResolvers<void>()
  gateway.handler = async ({ url }, response) => {
    if (url.includes('busy')) return json(response, 503, {}, { 'retry-after': '60' })
    await answer.promise
    json(response, 200, entryJson(A))
  }
  const entry = other.entry({ path: A })
  const busy = other.entry({ path: nodePath('/busy') })
  const givenUp = t.rejects(busy, GIVEN_UP)
  while (gateway.requests.length < 2) await sleep(5)
  await sleep(20)
  const closed = other.close()
  answer.resolve()
  t.equal((await entry).path, A)
  await givenUp
  await closed
  await t.rejects(other.entry({ path: A }), GIVEN_UP)
})

t.test('it reuses its connections and bounds them', async (t) => {
  const other = await gateway.client()
  gateway.handler = async ({ url }, response) => {
    await sleep(20)
    if (url.includes('data')) response.writeHead(206, { 'content-range': 'bytes 0-0/1', 'content-length': 1 }).end('x')
    else json(response, 200, entryJson(A))
  }
  const before = gateway.connections
  for (let rounds = 0; rounds < 2; rounds++) {
    const reads = Array.from({ length: 60 }, () => readBytes(other, { path: A }, { start: 0, end: 0 }))
    await Promise.all([...reads, ...Array.from({ length: 60 }, () => other.entry({ path: A }))])
  }
  t.ok(gateway.connections - before <= 18, `${gateway.connections - before} connections`)
  await other.close()
})

t.test('it looks up a name while every connection for bytes is busy', async (t) => {
  const other = await gateway.client()
  const release = Promise.withResolvers<void>()
  gateway.handler = async ({ url }, response) => {
    if (!url.includes('data')) return json(response, 200, entryJson(A))
    await release.promise
    response.writeHead(206, { 'content-range': 'bytes 0-0/1', 'content-length': 1 }).end('x')
  }
  const reads = Array.from({ length: 40 }, () => readBytes(other, { path: A }, { start: 0, end: 0 }))
  t.equal((await other.entry({ path: A })).path, A)
  release.resolve()
  await Promise.all(reads)
  await other.close()
})

t.test('it takes up a renewed certificate, at the latest when the old one is refused', async (t) => {
  const file = await pki.proxy('bob')
  const other = await gateway.client({ certificate: file })
  gateway.handler = ({ user }, response) => {
    if (user === 'carol') json(response, 200, entryJson(A))
    else json(response, 401, { fault: 'NotAuthenticated', errno: 'EACCES', detail: `${user} has expired` })
  }
  await t.rejects(other.entry({ path: A }), { name: 'Fault', fault: 'NotAuthenticated' })
  writeFileSync(file, 'half writ')
  await t.rejects(other.entry({ path: A }), { name: 'Fault', fault: 'NotAuthenticated' }, 'the old one serves on')
  await pki.proxy('carol', file)
  t.equal((await other.entry({ path: A })).path, A)
  await other.close()
})

t.test('it looks for a renewed certificate without being refused', async (t) => {
  const file = await pki.proxy('bob')
  const other = await gateway.client({ certificate: file })
  gateway.handler = (_, response) => json(response, 200, entryJson(A))
  await other.entry({ path: A })
  await pki.proxy('carol', file)
  utimesSync(file, new Date(), new Date(Date.now() + 5000))
  for (let tries = 0; gateway.requests.at(-1)?.user !== 'carol' && tries < 100; tries++) {
    await other.entry({ path: A })
    await sleep(50)
  }
  t.equal(gateway.requests.at(-1)?.user, 'carol')
  await other.close()
})

t.test(
  'it shows the token of a file, and takes up a renewed one, at the latest when the old one is refused',
  async (t) => {
    const tokenFile = join(pki.folder, 'token')
    writeFileSync(tokenFile, 'old.token.1\n')
    gateway.handler = (_, response) => json(response, 200, HELLO)
    const logged: unknown[] = []
    const logger = { warn: (...all: unknown[]) => void logged.push(all) }
    const other = await connect({ url: gateway.url, tokenFile, ca: pki.ca, timeLimit: 4, logger })
    gateway.handler = ({ user, headers }, response) => {
      t.equal(user, '', 'no certificate is shown')
      if (headers.authorization === 'Bearer new.token.2') json(response, 200, entryJson(A))
      else json(response, 401, { fault: 'NotAuthenticated', errno: 'EACCES', detail: 'the token has expired' })
    }
    await t.rejects(other.entry({ path: A }), { name: 'Fault', fault: 'NotAuthenticated' })
    for (const broken of ['', 'two words', 'a\nb', 'x'.repeat(20_000)]) {
      writeFileSync(tokenFile, broken)
      await t.rejects(other.entry({ path: A }), { name: 'Fault', fault: 'NotAuthenticated' }, 'the old one serves on')
    }
    writeFileSync(tokenFile, 'new.token.2')
    t.equal((await other.entry({ path: A })).path, A)
    t.notMatch(JSON.stringify(logged), /old\.token|new\.token|two words/, 'and none of them is logged')
    await other.close()
  },
)

t.test('what is the matter with a file is said of that file', async (t) => {
  const missing = join(pki.folder, 'missing.pem')
  const good = { url: gateway.url, certificate: await pki.proxy('bob'), ca: pki.ca, timeLimit: 1 }
  const logger = { warn: () => undefined }
  const detail = `${missing} cannot be read (ENOENT): name another file`
  await t.rejects(connect({ ...good, certificate: missing, logger }), { name: 'Fault', detail })
  await t.rejects(connect({ ...good, ca: missing, logger }), { name: 'Fault', detail }, 'and not of the certificate')
  const inPem = /a certificate and its key are expected there, in PEM/
  await t.rejects(connect({ ...good, certificate: pki.ca, logger }), { name: 'Fault', detail: inPem }, 'it has no key')
  const { ca: _, ...rest } = good
  await t.rejects(connect({ ...rest, logger }), { name: 'Fault', detail: /name its CA by --ca PEM or KARST_CA/ })
})

t.test('it refuses to start with a file that holds no token, and without any credential', async (t) => {
  const tokenFile = join(pki.folder, 'no-token')
  const logger = { warn: () => undefined }
  const good = { url: gateway.url, ca: pki.ca, timeLimit: 1, logger }
  await t.rejects(connect({ ...good, tokenFile }), { name: 'Fault', fault: 'NotAuthenticated' }, 'no such file')
  writeFileSync(tokenFile, '-----BEGIN CERTIFICATE-----\n')
  await t.rejects(connect({ ...good, tokenFile }), { name: 'Fault', fault: 'NotAuthenticated' })
  await t.rejects(connect(good), { name: 'Fault', fault: 'NotAuthenticated' })
})

t.test('it refuses to start without a usable certificate, authority, URL or mount API', async (t) => {
  const logger = { warn: () => undefined }
  const certificate = await pki.proxy('alice')
  const good = { url: gateway.url, certificate, ca: pki.ca, timeLimit: 1, logger }
  gateway.handler = (_, response) => json(response, 200, { version: 2 })
  await t.rejects(connect(good), { name: 'Fault', fault: 'OperationNotSupported' })
  const missing = { ...good, certificate: `${certificate}.missing` }
  await t.rejects(connect(missing), { name: 'Fault', fault: 'NotAuthenticated' })
  await t.rejects(connect({ ...good, certificate: pki.ca }), { name: 'Fault', fault: 'NotAuthenticated' })
  await t.rejects(connect({ ...good, url: 'http://localhost/karst' }), { name: 'Fault', fault: 'InvalidArgument' })
  await t.rejects(connect({ ...good, url: 'localhost' }), { name: 'Fault', fault: 'InvalidArgument' })
  const { ca: _, ...untrusting } = good
  gateway.requests.length = 0
  await t.rejects(connect(untrusting), { name: 'Fault', fault: 'InternalFault' }, 'an authority nobody vouches for')
  t.equal(gateway.requests.length, 0)
})

t.test('it answers at once when the gateway refuses before it has read the body', async (t) => {
  const other = await gateway.client()
  gateway.early = (raw, response) => {
    if (raw.method !== 'PUT') return false
    json(response, 413, { fault: 'QuotaExceeded', errno: 'EDQUOT', detail: '' }, { connection: 'close' })
    return true
  }
  const part = Buffer.alloc(1 << 16)
  const body = async function* (): AsyncGenerator<Uint8Array> {
    for (let sent = 0; sent < 1 << 26; sent += part.length) yield part
  }
  await t.rejects(other.put({ path: A }, body, { length: 1 << 26 }), { name: 'Fault', fault: 'QuotaExceeded' })
  gateway.early = () => false
  await other.close()
})
