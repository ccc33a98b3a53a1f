/** Groups that other services keep: what is shown to whom, what is believed, and what happens when they fail. */
import t, { type Test } from 'tap'
import { ForeignGroups, type ForeignGroupsOptions, type GroupService } from '../../src/identity/gms-client.ts'
import { type Proof, type TokenProof } from '../../src/identity/proof.ts'
import { GroupServiceDouble, names, type Reply, SERVICE_CA } from '../fixtures/group-service.ts'
import { credentials } from '../http/people.ts'

const AUTHORITY = 'ivo://remote.example/gms'
const tokenOf = (token: string, issuer = 'https://issuer.example'): TokenProof => ({
  method: 'token',
  identity: { kind: 'oidc', value: `${issuer} alice` },
  expires: Infinity,
  limited: false,
  issuer,
  subject: 'alice',
  token,
})
const ALICE = { name: 'alice', uid: 20001 }
const TOKEN = tokenOf('alices-token')

/** Seconds, on a clock of the test's own. */
class World {
  readonly double: GroupServiceDouble
  readonly notices: (string | undefined)[] = []
  readonly groups: ForeignGroups
  time = 1_000_000_000_000

  constructor(double: GroupServiceDouble, service: Partial<GroupService>, options: Partial<ForeignGroupsOptions>) {
    this.double = double
    this.groups = new ForeignGroups({
      services: [this.service(service)],
      mayForward: ({ issuer }, host) => issuer === 'https://issuer.example' && host === `localhost:${double.port}`,
      notice: ({ reason }) => this.notices.push(reason),
      now: () => this.time,
      ...options,
    })
  }

  service(changes: Partial<GroupService> = {}): GroupService {
    const limits = { timeout: 20, ttl: 300, staleIfError: 0 }
    return { authority: AUTHORITY, url: this.double.url(), ca: SERVICE_CA, ...limits, ...changes }
  }

  static async start(
    t: Test,
    service: Partial<GroupService> = {},
    options: Partial<ForeignGroupsOptions> = {},
  ): Promise<World> {
    const double = await GroupServiceDouble.start()
    const world = new World(double, service, options)
    t.teardown(async () => {
      world.groups.close()
      await double.stop()
    })
    return world
  }

  async of(name = 'alice', proof: Proof | null = TOKEN, uid = ALICE.uid): Promise<string[]> {
    return [...(await this.groups.of({ name, uid }, proof ?? undefined))].map((uri) => uri.replace(`${AUTHORITY}?`, ''))
  }
}

t.test('the caller’s own token is shown where its issuer is said to go, and nowhere else', async (t) => {
  const world = await World.start(t)
  world.double.reply = names(['team', 'a/b', 'A,b-c.d_e~f'])
  t.same(
    [...(await world.groups.of(ALICE, TOKEN))],
    [`${AUTHORITY}?team`, `${AUTHORITY}?a/b`, `${AUTHORITY}?A,b-c.d_e~f`],
  )
  t.match(world.double.shown, [{ target: '/gms/search', authorization: 'Bearer alices-token', subject: undefined }])
  t.same(await world.of('bob', tokenOf('bobs-token', 'https://another.example')), [])
  t.same(await world.of('carol', null), [])
  t.equal(world.double.shown.length, 1, 'who has entrusted nothing is not asked for')
})

t.test('the proxy that the user has delegated is shown as their certificate', async (t) => {
  const asked: string[] = []
  const credentialFor = (user: string) => {
    asked.push(user)
    return user === 'alice' ? credentials.alice : undefined
  }
  const world = await World.start(t, {}, { credentialFor, mayForward: () => false })
  world.double.reply = names(['team'])
  t.same(await world.of('alice'), ['team'])
  t.match(world.double.shown, [{ authorization: undefined, subject: /CN=alice/ }])
  for (let i = 0; i < 20; i++) t.same(await world.of('bob'), [])
  t.same(asked, ['alice', 'bob'], 'who has none is not looked for at every request')
  world.time += 6000
  await world.of('bob')
  t.equal(asked.length, 3)
})

t.test('a proxy that a service refuses is no failure of the service', async (t) => {
  const double = await GroupServiceDouble.start('require')
  const world = new World(double, {}, { credentialFor: () => credentials.alice })
  t.teardown(() => double.stop())
  for (const name of ['a', 'b', 'c', 'd', 'e']) t.same(await world.of(name, null), [])
  t.same(world.notices, [])
})

t.test('an answer is remembered for as long as it says, at most five minutes', async (t) => {
  const world = await World.start(t)
  const lasting =
    (seconds: number): Reply =>
    (response, request) =>
      names(['team'], { expires: new Date(Date.now() + seconds * 1000).toUTCString() })(response, request)
  const askedAfter = async (seconds: number): Promise<boolean> => {
    const before = world.double.shown.length
    world.time += seconds * 1000
    await world.of()
    return world.double.shown.length > before
  }
  world.double.reply = lasting(60)
  await world.of()
  t.notOk(await askedAfter(57))
  t.ok(await askedAfter(5))
  world.double.reply = lasting(10_000)
  t.ok(await askedAfter(62))
  t.notOk(await askedAfter(299))
  world.double.reply = names(['team'])
  t.ok(await askedAfter(2))
  t.notOk(await askedAfter(299))
  world.double.reply = names(['team'], { expires: '0' })
  t.ok(await askedAfter(2))
  t.ok(await askedAfter(0), 'what has ended is not remembered')
  t.same(await world.of(), ['team'])
})

t.test('who is given the name of somebody else is not in what is remembered of them', async (t) => {
  const world = await World.start(t)
  world.double.reply = names(['team'])
  t.same(await world.of('alice', TOKEN, 20001), ['team'])
  world.double.reply = names([])
  t.same([...world.groups.remembered({ name: 'alice', uid: 20002 })], [])
  t.same(await world.of('alice', tokenOf('the-next-token'), 20002), [])
  t.same([...world.groups.remembered(ALICE)], [`${AUTHORITY}?team`])
})

t.test('membership that is withdrawn there ends here with the answer', async (t) => {
  const world = await World.start(t, { ttl: 10 })
  world.double.reply = names(['team'])
  t.same(await world.of(), ['team'])
  world.double.reply = names([])
  t.same(await world.of(), ['team'])
  world.time += 10_001
  t.same(await world.of(), [])
})

t.test('many requests of a user at once are one question', async (t) => {
  const world = await World.start(t)
  const held: (() => void)[] = []
  world.double.reply = (response, request) => void held.push(() => names(['team'])(response, request))
  const answers = Promise.all(Array.from({ length: 50 }, () => world.of()))
  while (held.length === 0) await new Promise((done) => setTimeout(done, 5))
  held.forEach((go) => go())
  t.same(new Set((await answers).flat()), new Set(['team']))
  t.equal(world.double.shown.length, 1)
  t.ok(world.groups.of(ALICE, TOKEN) instanceof Set, 'what is known is known at once')
})

t.test('what is no answer makes nobody a member of anything', async (t) => {
  const elsewhere = await GroupServiceDouble.start()
  elsewhere.reply = names(['team'])
  t.teardown(() => elsewhere.stop())
  const text = { 'content-type': 'text/plain' }
  const hostile: Record<string, Reply> = {
    'leads elsewhere': (response) => response.writeHead(302, { location: elsewhere.url() }).end('team\r\n'),
    'leads elsewhere for good': (response) => response.writeHead(308, { ...text, location: elsewhere.url() }).end(),
    'leads to itself': (response) => response.writeHead(307, { location: '/gms/search' }).end('team\r\n'),
    'is HTML': (response) => response.writeHead(200, { 'content-type': 'text/html' }).end('team\r\n'),
    'has no type': (response) => response.writeHead(200).end('team\r\n'),
    'is binary': (response) => response.writeHead(200, text).end(Buffer.from('team\r\n\0\u0001\xff', 'latin1')),
    'is another status': (response) => response.writeHead(204, text).end(),
    'is an error': (response) => response.writeHead(500, text).end('team\r\n'),
    'ends midway': (response) => {
      response.writeHead(200, { ...text, 'content-length': '100' }).write('team\r\n')
      setImmediate(() => response.destroy())
    },
    'is huge': (response) => {
      response.writeHead(200, text)
      const line = `${'x'.repeat(200)}\r\n`.repeat(500)
      const more = (): void => {
        if (!response.destroyed && response.write(line)) setImmediate(more)
        else response.once('drain', more)
      }
      response.on('error', () => undefined)
      response.write('team\r\n')
      more()
    },
    'has huge headers': (response) =>
      response.writeHead(200, { ...text, 'x-more': 'x'.repeat(20_000) }).end('team\r\n'),
  }
  for (const [what, reply] of Object.entries(hostile)) {
    await t.test(`an answer that ${what}`, async (t) => {
      const world = await World.start(t)
      world.double.reply = reply
      t.same(await world.of(), [])
      world.double.reply = names(['team'])
      t.same(await world.of(), [], 'nor is it asked again at once')
      world.time += 5001
      t.same(await world.of(), ['team'])
    })
  }
  t.same(elsewhere.shown, [], 'nobody was led elsewhere')
})

t.test('only names of the service’s own groups are believed', async (t) => {
  const world = await World.start(t)
  world.double.reply = (response) =>
    response
      .writeHead(200, { 'content-type': 'text/plain; charset=utf-8' })
      .end('ivo://karst.local/gms?admins\nok\n  spaced  \n\n../..\nx y\né\nb?c\nkarst.local/gms?z\n?q\nlast')
  t.same(await world.of(), ['ok', 'spaced', '../..', 'last'])
  for (const uri of await world.groups.of(ALICE, TOKEN)) t.ok(uri.startsWith(`${AUTHORITY}?`))
})

t.test('a service that does not know the caller is a service that works', async (t) => {
  for (const status of [400, 401, 403, 404, 413, 431, 494]) {
    const world = await World.start(t)
    world.double.reply = (response) => response.writeHead(status, { 'content-type': 'text/plain' }).end('team\r\n')
    for (const name of ['a', 'b', 'c', 'd']) t.same(await world.of(name), [], String(status))
    t.same(world.notices, [])
    world.double.reply = names(['team'])
    t.same(await world.of('a'), [])
    world.time += 30_001
    t.same(await world.of('a'), ['team'])
  }
})

t.test('a service that hangs is left alone after a while, and nobody waits for it then', async (t) => {
  const world = await World.start(t, { timeout: 0.2 })
  world.double.reply = () => undefined
  for (const name of ['a', 'b', 'c']) t.same(await world.of(name), [])
  t.match(world.notices, [/no answer in time/])
  for (const name of ['d', 'e', 'f']) t.ok(world.groups.of({ name, uid: 20001 }, TOKEN) instanceof Set, 'no waiting')
  t.equal(world.double.shown.length, 3)
  world.time += 5001
  t.ok(world.groups.of({ name: 'd', uid: 20001 }, TOKEN) instanceof Promise, 'one tries')
  t.ok(world.groups.of({ name: 'e', uid: 20001 }, TOKEN) instanceof Set, 'the others do not')
  await world.of('d')
  world.time += 5001
  t.ok(world.groups.of({ name: 'e', uid: 20001 }, TOKEN) instanceof Set, 'the pauses grow')
  world.time += 5001
  world.double.reply = names(['team'])
  t.same(await world.of('e'), ['team'])
  t.same(world.notices.length, 2)
  t.equal(world.notices[1], undefined, 'it answers again')
  t.same(await world.of('f'), ['team'])
})

t.test('nobody is there, or somebody without the right certificate: no groups, and no pause for others', async (t) => {
  const world = await World.start(t)
  const unknown = new World(world.double, { ca: credentials.bob.certificate }, {})
  world.double.reply = names(['team'])
  t.same(await unknown.of(), [])
  t.same(world.double.shown, [], 'nothing was shown to it')
  await world.double.stop()
  t.same(await world.of(), [])
})

t.test('an answer may count for longer while the service is down, if the site says so', async (t) => {
  for (const [staleIfError, then] of [
    [0, []],
    [60, ['team']],
  ] as const) {
    const world = await World.start(t, { staleIfError })
    world.double.reply = names(['team'])
    await world.of()
    world.double.reply = (response) => response.writeHead(503).end()
    world.time += 301_000
    t.same(await world.of(), then)
    world.time += 30_000
    t.same(await world.of(), then)
    world.time += 30_000
    t.same(await world.of(), [], 'and then no more')
    world.double.reply = (response) => response.writeHead(403).end()
    world.time += 300_000
    t.same(await world.of(), [])
  }
})

t.test('so it does while the service is left alone', async (t) => {
  const world = await World.start(t, { staleIfError: 3600 })
  world.double.reply = names(['team'])
  for (const name of ['a', 'b', 'c', 'd']) await world.of(name)
  world.double.reply = (response) => response.writeHead(500).end()
  world.time += 301_000
  for (const name of ['a', 'b', 'c']) t.same(await world.of(name), ['team'])
  const asked = world.double.shown.length
  t.same(await world.of('d'), ['team'])
  t.same(await world.of('e'), [])
  t.equal(world.double.shown.length, asked)
})

t.test('a refusal counts at once, whatever is remembered', async (t) => {
  const world = await World.start(t, { staleIfError: 3600 })
  world.double.reply = names(['team'])
  await world.of()
  world.double.reply = (response) => response.writeHead(403).end()
  world.time += 301_000
  t.same(await world.of(), [])
})

t.test('the search is found in the capabilities, at the same host only', async (t) => {
  const standard = 'ivo://ivoa.net/std/gms#Search-1.0'
  const capabilities = (url: string, id = standard): string => `<?xml version="1.0"?>
    <c:capabilities xmlns:c="http://www.ivoa.net/xml/VOSICapabilities/v1.0"><capability standardID="ivo://x"><interface>
    <accessURL>https://evil.example/x</accessURL></interface></capability><capability standardID="${id}"><interface>
    <accessURL use="full">${url}</accessURL></interface></capability></c:capabilities>`
  const at =
    (url: string, id?: string): Reply =>
    (response, request) => {
      if (request.url !== '/capabilities') return names(['team'])(response, request)
      response.writeHead(200, { 'content-type': 'text/xml' }).end(capabilities(url, id))
    }
  const double = await GroupServiceDouble.start()
  const elsewhere = await GroupServiceDouble.start()
  t.teardown(() => Promise.all([double.stop(), elsewhere.stop()]))
  const found = async (reply: Reply): Promise<string[]> => {
    double.reply = reply
    const world = new World(double, { url: double.url('/capabilities') }, {})
    const first = await world.of('alice')
    t.same(await world.of('bob'), first)
    world.groups.close()
    return first
  }
  t.same(await found(at(double.url('/ac/search'))), ['team'], 'case is no matter')
  t.same(
    double.shown.map(({ target }) => target),
    ['/capabilities', '/ac/search', '/ac/search'],
  )
  t.equal(double.shown[0]?.authorization, undefined, 'nothing is shown for capabilities')
  for (const url of [
    elsewhere.url(),
    `http://localhost:${double.port}/x`,
    'https://localhost/x',
    'x',
    `https://localhost:${double.port}@evil.example/`,
  ])
    t.same(await found(at(url)), [], url)
  t.same(await found(at(double.url(), 'ivo://ivoa.net/std/GMS#search-2.0')), [])
  t.same(await found((response) => response.writeHead(200, { 'content-type': 'text/xml' }).end('<!DOCTYPE x><x/>')), [])
  t.same(elsewhere.shown, [])
})

t.test('what is remembered is bounded', async (t) => {
  const world = await World.start(t)
  const big = Array.from({ length: 4000 }, (_, i) => `${String(i).padStart(6, '0')}${'n'.repeat(240)}`)
  world.double.reply = names(big)
  for (let i = 0; i < 40; i++) t.equal((await world.of(`user${i}`)).length, 4000)
  const asked = world.double.shown.length
  await world.of('user39')
  t.equal(world.double.shown.length, asked, 'what was learned last is there')
  await world.of('user0')
  t.equal(world.double.shown.length, asked + 1, 'what was learned first is not')
})

t.test('work that goes on after its request has what is known, and asks with what was delegated', async (t) => {
  const world = await World.start(t, { ttl: 10 }, { credentialFor: () => credentials.alice })
  world.double.reply = names(['team'])
  t.same([...world.groups.remembered(ALICE)], [])
  while (world.groups.remembered(ALICE).size === 0) await new Promise((done) => setTimeout(done, 5))
  t.same([...world.groups.remembered(ALICE)], [`${AUTHORITY}?team`])
})

t.test('several services are asked, and each says what is its own', async (t) => {
  const world = await World.start(t)
  const other = await GroupServiceDouble.start()
  t.teardown(() => other.stop())
  world.double.reply = names(['team'])
  other.reply = names(['team', 'more'])
  const both = new ForeignGroups({
    services: [world.service(), { ...world.service(), authority: 'ivo://other.example/gms', url: other.url() }],
    mayForward: () => true,
  })
  t.teardown(() => both.close())
  const expected = [`${AUTHORITY}?team`, 'ivo://other.example/gms?team', 'ivo://other.example/gms?more']
  t.same([...(await both.of(ALICE, TOKEN))], expected)
  t.same([...(both.of(ALICE, TOKEN) as Set<string>)], expected)
})
