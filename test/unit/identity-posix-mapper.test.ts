/** A POSIX mapper asked by the gateway: a fake one that answers, lies, is slow, or is not there at all. */
import { createServer as createTlsServer, type Server } from 'node:https'
import { type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo } from 'node:net'
import { type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { Accounts } from '../../src/identity/accounts.ts'
import { Newcomers } from '../../src/identity/newcomers.ts'
import { type Proof } from '../../src/identity/proof.ts'
import { isFault } from '../../src/vospace/fault.ts'
import { PosixMapper } from '../../src/identity/posix-mapper.ts'
import { openStore, type Store } from '../../src/store/store.ts'
import { authority, chainPem, credentials, host } from '../http/people.ts'

const TABLE = { 'Content-Type': 'text/tab-separated-values' }
const GROUP = 'ivo://far.example/gms?team'

type Answer = (request: IncomingMessage, response: ServerResponse, asked: URLSearchParams) => void

/** By path. */
interface Fake {
  readonly url: string
  uid: Answer
  gid: Answer
  readonly asked: string[]
  readonly server: Server
}

const table =
  (text: string): Answer =>
  (_request, response) =>
    void response.writeHead(200, TABLE).end(text)

/** Tells of its people who is asked for, all without a question; 404 for nobody. */
const people =
  (map: Readonly<Record<string, number>>): Answer =>
  (_request, response, asked) => {
    const wanted = [...asked.values()]
    const found = Object.entries(map).filter(
      ([n, id]) => wanted.length === 0 || wanted.includes(n) || wanted.includes(`${id}`),
    )
    if (wanted.length > 0 && found.length === 0) return void response.writeHead(404).end()
    const isUser =
      [...asked.keys()].every((key) => key === 'user' || key === 'uid') &&
      !Object.keys(map).some((n) => n.includes(':'))
    response.writeHead(200, TABLE).end(found.map(([n, id]) => `${n}\t${id}${isUser ? `\t${id}` : ''}\n`).join(''))
  }

async function fake(t: Test, map: Readonly<Record<string, number>> = { alice: 10_001 }): Promise<Fake> {
  const server = createTlsServer({
    key: host.key,
    cert: host.certificate,
    requestCert: true,
    rejectUnauthorized: false,
  })
  const asked: string[] = []
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const port = (server.address() as AddressInfo).port
  const made: Fake = {
    url: `https://localhost:${port}`,
    uid: people(map),
    gid: people({ [GROUP]: 90_001 }),
    asked,
    server,
  }
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    asked.push(request.url ?? '')
    const { pathname, searchParams } = new URL(request.url ?? '', made.url)
    made[pathname === '/uid' ? 'uid' : 'gid'](request, response, searchParams)
  })
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return made
}

interface Lab {
  readonly mapper: PosixMapper
  readonly store: Store
  readonly log: string[]
  now: number
}

function lab(t: Test, url: string, options: { timeout?: number; largest?: number; store?: Store } = {}): Lab {
  const store = options.store ?? openStore(':memory:')
  if (options.store === undefined) t.teardown(() => store.close())
  const log: string[] = []
  const note = (level: string) => (fields: object, text: string) =>
    void log.push(`${level} ${text} ${JSON.stringify(fields)}`)
  const made = { now: 1e12 }
  const mapper = new PosixMapper({
    place: {
      uid: `${url}/uid`,
      gid: `${url}/gid`,
      ca: authority.certificate,
      credential: async () => chainPem(credentials.bob) + credentials.bob.key,
      timeout: options.timeout ?? 60_000,
      ...(options.largest !== undefined && { largest: options.largest }),
    },
    numbers: store.mapped,
    log: { info: note('info'), warn: note('warn'), error: note('error') },
    refresh: 3_600_000,
    now: () => made.now,
  })
  t.teardown(() => mapper.close())
  return Object.assign(made, { mapper, store, log })
}

const reasonOf = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'none',
    (error: unknown) => (error as Error).message,
  )

/** Until what was missed is asked for and learned. */
async function until(is: () => boolean): Promise<void> {
  for (let i = 0; !is(); i++) {
    if (i > 6000) throw new Error('never')
    await new Promise((done) => setTimeout(done, 10))
  }
}

t.test('the whole map at the start, with the credential of the gateway, and no default groups', async (t) => {
  const far = await fake(t, { alice: 10_001, bob: 10_002 })
  const seen: string[] = []
  far.gid = (request, response) => {
    const { subject } = (request.socket as TLSSocket).getPeerCertificate()
    seen.push(JSON.stringify(subject), String(request.headers.accept))
    const own = 'ivo://default-group-should-be-ignored.opencadc.org/default-group?alice\t10001'
    response.writeHead(200, TABLE).end(`${own}\n${GROUP}\t90001\r\n\n`)
  }
  const { mapper, store, log } = lab(t, far.url)
  await mapper.start(true)
  const ids = store.ids()
  t.same([ids.ownerOf(10_002), ids.uidOf('alice'), ids.gidOf(GROUP)], ['bob', 10_001, 90_001])
  t.equal(store.mapped.count, 3)
  t.match(seen, [/bob/, 'text/tab-separated-values'])
  t.same(log, [])
})

t.test('a hostile map is told in the log, and what was known before stays', async (t) => {
  const far = await fake(t)
  const { mapper, store, log } = lab(t, far.url)
  await mapper.start(true)
  far.uid = table(
    [
      'alice\t10009\t10009',
      'mallory\t10001\t10001',
      'root\t0\t0',
      'neg\t-5\t-5',
      'big\t4294967296\t4294967296',
      'odd\t10003\t10004',
      'no number\t10005\t10005',
      'short\t10006',
      'hex\t0x2711\t0x2711',
      'good\t10010\t10010',
      'twin\t10010\t10010',
    ].join('\n'),
  )
  far.gid = table(
    `${GROUP}\t90002\nnot-a-uri\t90003\nivo://far.example/gms?zero\t0\nivo://far.example/gms?alice\t10001\n`,
  )
  await mapper.refresh()
  const ids = store.ids()
  t.same(
    [ids.uidOf('alice'), ids.ownerOf(10_001), ids.uidOf('good'), ids.gidOf(GROUP)],
    [10_001, 'alice', 10_010, 90_001],
  )
  t.equal(store.mapped.count, 3)
  for (const name of [
    'alice',
    'mallory',
    'root',
    'neg',
    'big',
    'odd',
    'no number',
    'short',
    'hex',
    'twin',
    'not-a-uri',
    '?zero',
    '?alice',
  ])
    t.ok(
      log.some((line) => line.startsWith('error') && line.includes(name)),
      name,
    )
  far.uid = table(Array.from({ length: 5000 }, (_, i) => `u${i}\t0\t0\n`).join(''))
  log.length = 0
  await mapper.refresh()
  t.ok(log.length < 40, 'the log is not filled')
  t.ok(log.some((line) => line.includes('5000')))
})

t.test('what is no answer of a mapper is refused with its reason', async (t) => {
  const far = await fake(t)
  const { mapper, store } = lab(t, far.url, { largest: 1 << 20 })
  const reason = async (answer: Answer): Promise<string> => {
    far.uid = answer
    return reasonOf(mapper.refresh())
  }
  t.match(await reason((_, response) => void response.writeHead(403).end()), /403.*posixMapper.certificate/)
  t.match(await reason((_, response) => void response.writeHead(404).end()), /status 404/)
  t.match(
    await reason((_, response) => void response.writeHead(302, { Location: 'https://evil.example/' }).end()),
    /status 302/,
  )
  t.match(
    await reason((_, response) => void response.writeHead(200, { 'Content-Type': 'text/html' }).end('<p>')),
    /text\/html/,
  )
  t.match(await reason(table('x'.repeat(5000))), /does not end/)
  t.match(await reason(table('bob\t10002\t10002\n'.repeat(100_000))), /more than 1048576 bytes/)
  t.match(
    await reason((_, response) => void response.writeHead(200, TABLE).end(Buffer.from([0xff, 0xfe, 0x0a]))),
    /not valid|encoded/i,
  )
  t.match(
    await reason((_, response) => {
      response.writeHead(200, { ...TABLE, 'Content-Length': '1000' }).write('alice\t10001\t10001\n')
      setImmediate(() => response.destroy())
    }),
    /aborted|hang up|ECONNRESET/,
  )
  t.ok(store.mapped.count <= 2)
})

t.test('a slow one is given up', async (t) => {
  const far = await fake(t)
  const drips: NodeJS.Timeout[] = []
  t.teardown(() => drips.forEach(clearInterval))
  far.uid = (_, response) => {
    response.writeHead(200, TABLE)
    drips.push(setInterval(() => response.write('a'), 20))
  }
  const { mapper } = lab(t, far.url, { timeout: 300 })
  t.match(await reasonOf(mapper.refresh()), /no answer in time/)
})

t.test('down at the start: it does not start, or goes on with what is remembered', async (t) => {
  const far = await fake(t)
  const store = openStore(':memory:')
  t.teardown(() => store.close())
  await lab(t, far.url, { store }).mapper.start(true)
  far.server.close()
  far.server.closeAllConnections()
  t.match(await reasonOf(lab(t, far.url, { store }).mapper.start(true)), /ECONNREFUSED.*2 numbers are remembered/)
  const { mapper, log } = lab(t, far.url, { store })
  await mapper.start(false)
  t.equal(store.ids().ownerOf(10_001), 'alice')
  t.match(log.join('\n'), /does not answer.*\n.*going on with the numbers that are remembered/)
})

t.test('an owner shows as a number until they are known', async (t) => {
  const map: Record<string, number> = { alice: 10_001 }
  const far = await fake(t, map)
  const { mapper, store } = lab(t, far.url)
  await mapper.start(true)
  store.mapped.connect(mapper)
  map['bob'] = 10_002
  const ids = store.ids()
  const { version } = ids
  t.equal(ids.ownerOf(10_002), 'uid:10002')
  await until(() => ids.ownerOf(10_002) === 'bob')
  t.not(ids.version, version)
  for (let i = 0; i < 100; i++) ids.ownerOf(10_500 + (i % 10))
  await until(() => far.asked.filter((url) => /\?uid=105\d\d$/.test(url)).length === 10)
  const before = far.asked.length
  for (let i = 0; i < 100; i++) ids.ownerOf(10_500 + (i % 10))
  await new Promise((done) => setTimeout(done, 50))
  t.equal(far.asked.length, before, 'who is unknown is not asked for again and again')
})

t.test('many unknown numbers are asked for together, and one of them hides none of the others', async (t) => {
  const far = await fake(t, { u1: 10_001, u2: 10_002 })
  const all = far.uid
  // as some do: 404 for all when one is unknown
  far.uid = (request, response, asked) => {
    const known = ['10001', '10002']
    if ([...asked.values()].some((uid) => !known.includes(uid))) return void response.writeHead(404).end()
    all(request, response, asked)
  }
  const { mapper, store, log } = lab(t, far.url)
  store.mapped.connect(mapper)
  const ids = store.ids()
  for (let uid = 10_000; uid < 10_040; uid++) ids.ownerOf(uid)
  await until(() => ids.ownerOf(10_002) === 'u2')
  t.equal(ids.ownerOf(10_001), 'u1')
  t.match(far.asked[0], 'uid=10000&uid=10001')
  t.same(log, [])
})

t.test('an answer to one question says nothing of others', async (t) => {
  const far = await fake(t)
  far.uid = table('bob\t10002\t10002\nmallory\t10003\t10003\n')
  const { mapper, store } = lab(t, far.url)
  store.mapped.connect(mapper)
  await mapper.settled('user', 'bob')
  t.same([store.mapped.numberOf('user', 'bob'), store.mapped.count], [10_002, 1])
})

t.test('one that fails is left alone for a while, and asked again then', async (t) => {
  const far = await fake(t)
  const answers = far.uid
  far.uid = (_, response) => void response.writeHead(500).end()
  const made = lab(t, far.url)
  const { mapper, store, log } = made
  store.mapped.connect(mapper)
  for (let i = 0; i < 50; i++) await mapper.settled('user', `u${i}`)
  t.equal(far.asked.length, 1)
  t.equal(mapper.isUnknown('user', 'u0'), false, 'it has not said so')
  far.uid = answers
  made.now += 120_000
  await mapper.settled('user', 'alice')
  t.equal(store.mapped.numberOf('user', 'alice'), 10_001)
  t.match(log, [/^warn .*does not answer/, /^info .*answers again/])
  await mapper.settled('user', 'nobody-there')
  t.equal(mapper.isUnknown('user', 'nobody-there'), true)
  made.now += 120_000
  t.equal(mapper.isUnknown('user', 'nobody-there'), false, 'not for ever')
})

t.test('who waits for an answer is let go when the gateway ends', async (t) => {
  const far = await fake(t)
  far.uid = () => undefined
  const { mapper } = lab(t, far.url)
  const waiting = mapper.settled('user', 'alice')
  mapper.close()
  await waiting
  await mapper.settled('user', 'bob')
  t.pass('nobody hangs')
})

t.test('who comes by themselves gets the number of exactly their name, or no account', async (t) => {
  const far = await fake(t, { alice: 10_001, bob: 10_002 })
  const { mapper, store } = lab(t, far.url)
  store.mapped.connect(mapper)
  const accounts = new Accounts({
    users: store.users,
    groups: store.groups,
    settled: (name) => mapper.settled('user', name),
    homes: {
      state: async () => 'absent',
      make: async () => 'absent',
      usage: async () => undefined,
      checkQuota: () => undefined,
    },
  })
  const newcomers = new Newcomers({
    users: store.users,
    accounts,
    exactNames: true,
    provisioning: { methods: ['token', 'x509'] },
  })
  let subject = 0
  const token = (username: string): Proof => ({
    method: 'token',
    identity: { kind: 'oidc', value: `https://op ${subject++}` },
    issuer: 'https://op',
    subject: String(subject),
    expires: Infinity,
    limited: false,
    token: '',
    username,
  })
  const outcome = async (proof: Proof): Promise<unknown> => {
    try {
      return (await newcomers.admit(proof))?.uid
    } catch (error) {
      return isFault(error) ? error.fault : error
    }
  }
  t.equal(await outcome(token('alice')), 10_001, 'it was asked for, and waited for')
  for (const name of ['Bob', 'bób', 'bob.', 'bob ', '1bob'])
    t.equal(await outcome(token(name)), 'PermissionDenied', name)
  t.equal(await outcome(token('alice')), 'PermissionDenied', 'another one of that name is not alice-2')
  t.equal(await outcome(token('stranger')), 'PermissionDenied', 'the mapper does not know them')
  const certificate: Proof = {
    method: 'certificate',
    identity: { kind: 'x509', value: 'cn=bob,o=x' },
    expires: Infinity,
    limited: false,
  } as Proof
  t.equal(
    await outcome(certificate),
    'PermissionDenied',
    'a name in a certificate says nothing of whose files are theirs',
  )
  t.same(
    store.users.list().map(({ name }) => name),
    ['alice'],
  )
})
