/** What clients send wrongly, or to see what comes of it: each has its fault (wire.md 3 and 4), and no node is made or changed by it. */
import t, { type Test } from 'tap'
import { type Gateway, node, property, type Reply, startGateway, VOS } from './gateway.ts'
import { copyDocument, CORE, document, GET, JobCalls, moveDocument, PUT } from './job-calls.ts'
import { type MemoryBackend } from '../../src/backend/memory.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { Preauth } from '../../src/space/preauth.ts'
import { tree } from '../unit/space-world.ts'
import { randomBytes } from 'node:crypto'

const SECRET = randomBytes(32)

/** With a file of alice's; ends by looking that nothing in the space has changed. */
async function untouched(t: Test, work: (gateway: Gateway) => Promise<void>): Promise<void> {
  const gateway = await startGateway(t, { services: { preauth: new Preauth(SECRET, { seconds: 3600 }) } })
  await gateway.call('/files/home/alice/f', { method: 'PUT', as: 'alice', body: 'content' })
  const before = await snapshot(gateway)
  await work(gateway)
  t.same(await snapshot(gateway), before, 'no node is left half made')
}

async function snapshot({ space: { backend } }: Gateway): Promise<string[]> {
  const paths = await tree(backend as MemoryBackend)
  const versions = paths.map(async (path) => `${path} ${(await backend.walk(nodePath(path))).at(-1)?.version}`)
  return Promise.all(versions)
}

const endpoint = (xml: string): string => /<vos:endpoint>([^<]*)</.exec(xml)?.[1] ?? ''
const fault = (status: number, name: string) => ({
  status,
  headers: { 'content-type': 'text/plain' },
  text: new RegExp(`^${name}: `),
})

/** The same document through both doors: 303 each, and the job tells the token, in errorSummary and at /error. */
async function refusedByJob(t: Test, gateway: Gateway, body: string, token: string): Promise<void> {
  const jobs = new JobCalls(gateway)
  const { headers, status } = await gateway.call('/synctrans', { method: 'POST', as: 'alice', body })
  t.equal(status, 303)
  const details = await gateway.call(headers.location ?? '', { as: 'alice' })
  t.notMatch(details.text, '<vos:protocol')
  const sync = (headers.location ?? '').replace('/results/transferDetails', '')
  const { job: async } = await jobs.done(body)
  for (const job of [sync, async]) {
    t.equal(await jobs.phase(job), 'ERROR')
    t.match(await jobs.get(`${job}/error`), { status: 200, text: new RegExp(`^${token}$`) })
    t.match((await jobs.get(job)).text, `<uws:message>${token}</uws:message>`)
  }
}

/** What is no transfer document at all: no job is made of it. */
async function refusedAtOnce(t: Test, gateway: Gateway, body: string): Promise<void> {
  for (const door of ['/transfers', '/synctrans']) {
    t.match(await gateway.call(door, { method: 'POST', as: 'alice', body }), fault(400, 'InvalidArgument'), door)
  }
}

const query = (target: string, direction: string, protocol: string): string =>
  `TARGET=${encodeURIComponent(target)}&DIRECTION=${encodeURIComponent(direction)}&PROTOCOL=${encodeURIComponent(protocol)}`

await t.test('bad input: an unknown direction', (t) =>
  untouched(t, async (gateway) => {
    for (const direction of ['sideways', 'pushToVoSpaceX', 'http://example.org/x']) {
      await refusedByJob(t, gateway, document('/home/alice/new', direction, PUT), 'OperationNotSupported')
    }
    await refusedAtOnce(t, gateway, document('/home/alice/new', '', PUT))
    const asked = query(`${VOS}/home/alice/new`, 'sideways', `${CORE}httpsput`)
    t.match(await gateway.call(`/synctrans?${asked}`, { as: 'alice' }), {
      status: 405,
      headers: { allow: 'GET, POST' },
    })
  }),
)

await t.test('bad input: an unknown protocol', (t) =>
  untouched(t, async (gateway) => {
    for (const uri of [`${CORE}ftpput`, 'x', `${CORE}httpsget`]) {
      const inside = `<vos:protocol uri="${uri}"/>`
      await refusedByJob(t, gateway, document('/home/alice/new', 'pushToVoSpace', inside), 'ProtocolNotSupported')
      const asked = query(`${VOS}/home/alice/new`, 'pushToVoSpace', uri)
      const reply = await gateway.call(`/synctrans?${asked}`, { as: 'alice' })
      t.match(reply, fault(400, 'ProtocolNotSupported'))
    }
    await refusedAtOnce(t, gateway, document('/home/alice/new', 'pushToVoSpace', '<vos:protocol uri=""/>'))
    await refusedByJob(t, gateway, document('/home/alice/new', 'pushToVoSpace', ''), 'ProtocolNotSupported')
  }),
)

await t.test('bad input: a missing target', (t) =>
  untouched(t, async (gateway) => {
    const jobs = new JobCalls(gateway)
    const without = document('/home/alice/new', 'pushToVoSpace', PUT).replace(/<vos:target>.*<\/vos:target>/, '')
    for (const body of [
      without,
      moveDocument('/home/alice/f', '/home/alice/g').replace(/<vos:target>.*<\/vos:target>/, ''),
    ]) {
      await refusedAtOnce(t, gateway, body)
    }
    t.notMatch((await jobs.get('/transfers')).text, '<uws:jobref', 'there is no job either')
    const asked = query('x', 'pushToVoSpace', `${CORE}httpsput`).replace(/TARGET=x&/, '')
    t.match(await gateway.call(`/synctrans?${asked}`, { as: 'alice' }), { status: 400 })
    t.match(await new JobCalls(gateway, 'alice', 'async-delete').post('PHASE=RUN'), fault(400, 'InvalidArgument'))
    const empty = document('/home/alice/new', 'pushToVoSpace', PUT).replace(`${VOS}/home/alice/new`, '')
    await refusedAtOnce(t, gateway, empty)
  }),
)

await t.test('bad input: 10,000 targets', (t) =>
  untouched(t, async (gateway) => {
    const many = (count: number, body: string): string =>
      body.replace(/<vos:target>.*<\/vos:target>/, (one) => one.repeat(count))
    for (const body of [
      document('/home/alice/new', 'pushToVoSpace', PUT),
      moveDocument('/home/alice/f', '/home/alice/g'),
      copyDocument('/home/alice/f', '/home/alice/g'),
    ]) {
      for (const door of ['/transfers', '/synctrans']) {
        const reply = await gateway.call(door, { method: 'POST', as: 'alice', body: many(10_000, body) })
        t.match(reply, fault(413, 'RequestEntityTooLarge'))
      }
      const { phase, error } = await new JobCalls(gateway).done(many(200, body))
      t.match([phase, error], ['ERROR', /^InvalidArgument/], 'fewer are no better')
    }
  }),
)

await t.test('bad input: WAIT=abc', (t) =>
  untouched(t, async (gateway) => {
    const jobs = new JobCalls(gateway)
    const job = await jobs.create(document('/home/alice/new', 'pushToVoSpace', PUT))
    for (const wait of ['abc', '', '1.5', '-2', '1e3', '0x10', '9'.repeat(30), '%00', '1%202', 'NaN', 'Infinity']) {
      for (const part of ['', '/phase'])
        t.match(await jobs.get(`${job}${part}?WAIT=${wait}`), fault(400, 'InvalidArgument'))
    }
    t.equal(await jobs.phase(job), 'PENDING')
  }),
)

await t.test('bad input: phase changes out of order', (t) =>
  untouched(t, async (gateway) => {
    const jobs = new JobCalls(gateway)
    const to = (job: string, phase: string): Promise<Reply> => jobs.form(`${job}/phase`, `PHASE=${phase}`)
    const job = await jobs.create(document('/home/alice/f', 'pullFromVoSpace', GET))
    for (const phase of ['COMPLETED', 'EXECUTING', 'ERROR', 'QUEUED', 'SUSPEND', 'HELD', '', 'RUN RUN']) {
      t.match(await to(job, phase), fault(400, 'InvalidArgument'), phase)
    }
    t.equal(await jobs.phase(job), 'PENDING')
    t.equal((await to(job, 'RUN')).status, 303)
    t.match(await to(job, 'RUN'), fault(400, 'InvalidArgument'), 'once')
    t.equal((await to(job, 'ABORT')).status, 303)
    t.match(await to(job, 'RUN'), fault(400, 'InvalidArgument'), 'not again')
    t.equal((await to(job, 'ABORT')).status, 303, 'what has ended stays')
    t.equal(await jobs.phase(job), 'ABORTED')
    const early = await jobs.create(moveDocument('/home/alice/f', '/home/alice/g'))
    t.equal((await to(early, 'ABORT')).status, 303)
    t.match(await to(early, 'RUN'), fault(400, 'InvalidArgument'), 'aborted before it began')
    const failed = (await jobs.done(moveDocument('/home/alice/none', '/home/alice/g'))).job
    t.match(await to(failed, 'RUN'), fault(400, 'InvalidArgument'))
    t.equal((await to(failed, 'ABORT')).status, 303)
    t.equal(await jobs.phase(failed), 'ERROR')
  }),
)

/** A pre-authorised URL to put to or get from /home/alice/f, as alice is given it. */
async function granted(gateway: Gateway, direction: 'pushToVoSpace' | 'pullFromVoSpace'): Promise<string> {
  const body = document('/home/alice/f', direction, direction === 'pushToVoSpace' ? PUT : GET)
  const { headers } = await gateway.call('/synctrans', { method: 'POST', as: 'alice', body })
  return endpoint((await gateway.call(headers.location ?? '', { as: 'alice' })).text)
}
const putTo = (gateway: Gateway, url: string) => gateway.call(url, { method: 'PUT', body: 'other' })
const refused = fault(403, 'PermissionDenied')

await t.test('bad input: a pre-authorised URL used for another node', (t) =>
  untouched(t, async (gateway) => {
    await gateway.call('/files/home/alice/g', { method: 'PUT', as: 'alice', body: 'content' })
    const [push, pull] = [await granted(gateway, 'pushToVoSpace'), await granted(gateway, 'pullFromVoSpace')]
    for (const path of ['/home/alice/g', '/home/alice/new', '/home/alice', '/home/alice/f/g', '/home/bob/f', '/F']) {
      t.match(await putTo(gateway, push.replace('/home/alice/f', path)), { status: /^40[03]$/ }, path)
      t.match(await gateway.call(pull.replace('/home/alice/f', path)), { status: /^40[03]$/ }, path)
    }
    t.match(await putTo(gateway, push.replace('/home/alice/f', '/home/alice/x/../f')), { status: /^40[03]$/ })
    await gateway.call('/nodes/home/alice/g', { method: 'DELETE', as: 'alice' })
  }),
)

await t.test('bad input: a pre-authorised URL used in the other direction', (t) =>
  untouched(t, async (gateway) => {
    t.match(await gateway.call(await granted(gateway, 'pushToVoSpace')), refused)
    t.match(await putTo(gateway, await granted(gateway, 'pullFromVoSpace')), refused)
  }),
)

await t.test('bad input: a pre-authorised URL made to be of another user', (t) =>
  untouched(t, async (gateway) => {
    const url = await granted(gateway, 'pushToVoSpace')
    const [head = '', mac = ''] = (/preauth:([^/]*)/.exec(url)?.[1] ?? '').split('.')
    const claims = JSON.parse(Buffer.from(head, 'base64url').toString()) as Record<string, unknown>
    t.match(claims, { user: 'alice', kind: 'write' })
    for (const change of [
      { user: 'bob' },
      { user: null },
      { user: 'root' },
      { expires: 9e15 },
      { job: 'x' },
      { kind: 'read' },
    ]) {
      const forged = Buffer.from(JSON.stringify({ ...claims, ...change })).toString('base64url')
      t.match(await putTo(gateway, url.replace(head, forged)), refused, JSON.stringify(change))
    }
    const strange = new Preauth(randomBytes(32), { seconds: 3600 })
    const issue = {
      service: gateway.space.service,
      path: nodePath('/home/alice/f'),
      kind: 'write',
      user: 'alice',
    } as const
    t.match(await putTo(gateway, url.replace(`${head}.${mac}`, strange.issue(issue))), refused, 'of another gateway')
  }),
)

await t.test('a pre-authorised URL acts for whom it was given to, whoever shows it', async (t) => {
  const gateway = await startGateway(t)
  const body = document('/home/alice/new', 'pushToVoSpace', PUT)
  const { headers } = await gateway.call('/synctrans', { method: 'POST', as: 'alice', body })
  const url = endpoint((await gateway.call(headers.location ?? '', { as: 'alice' })).text)
  await gateway.call('/nodes/home/alice/new', { method: 'DELETE', as: 'alice' })
  t.equal((await gateway.call(url, { method: 'PUT', as: 'bob', body: 'x' })).status, 201)
  t.match((await gateway.call('/nodes/home/alice/new', { as: 'alice' })).text, /core#creator"[^>]*>alice</)
})

await t.test('bad input: a pre-authorised URL used after its time', (t) =>
  untouched(t, async (gateway) => {
    const late = new Preauth(SECRET, { seconds: 3600 })
    const path = nodePath('/home/alice/f')
    const url = (kind: 'read' | 'write', now: number): string =>
      `${gateway.url}/files/preauth:${late.issue({ service: gateway.space.service, path, kind, user: 'alice', now })}${path}`
    const hour = 3_600_000
    t.match(await putTo(gateway, url('write', Date.now() - hour)), refused)
    t.match(await gateway.call(url('read', Date.now() - hour)), refused)
    t.equal((await gateway.call(url('read', Date.now() - hour + 60_000))).status, 200, 'a minute before it is over')
  }),
)

await t.test('bad input: a pre-authorised URL altered by one character, whichever it is', (t) =>
  untouched(t, async (gateway) => {
    const url = await granted(gateway, 'pushToVoSpace')
    const token = /preauth:([^/]*)/.exec(url)?.[1] ?? ''
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const taken: string[] = []
    const attempt = async (altered: string, what: string): Promise<void> => {
      const { status } = await putTo(gateway, url.replace(token, altered))
      if (status !== 403 && status !== 400) taken.push(`${what}: ${status}`)
    }
    t.ok(token.length > 100)
    for (let at = 0; at < token.length; at++) {
      const [before, own = '', after] = [token.slice(0, at), token[at], token.slice(at + 1)]
      // the last bits of the last character of each half are nobody's: they must not be free
      const near = alphabet[alphabet.indexOf(own) ^ 1] ?? 'A'
      const others = at === token.length - 1 || after.startsWith('.') ? [...alphabet] : [near, 'A', '!', '=', '']
      for (const other of others) if (other !== own) await attempt(before + other + after, `${at} ${own} ${other}`)
      await attempt(`${before}${own}${own}${after}`, `${at} twice`)
    }
    for (const more of ['=', '.', '.A', '%20', '%00', '?', '+']) await attempt(token + more, more)
    t.same(taken, [])
  }),
)

await t.test('bad input: a node document whose URI is another node', (t) =>
  untouched(t, async (gateway) => {
    const title = property(`${CORE}title`, 'T')
    const others = ['/home/alice/other', '/home/alice', '/home/bob/new', '/home/alice/new/x', '']
    for (const other of others) {
      for (const type of ['DataNode', 'ContainerNode']) {
        const made = await gateway.call('/nodes/home/alice/new', {
          method: 'PUT',
          as: 'alice',
          body: node(other, type),
        })
        t.match(made, fault(400, 'InvalidURI'), `PUT ${other}`)
      }
      const body = node(other, 'DataNode', title)
      const set = await gateway.call('/nodes/home/alice/f', { method: 'POST', as: 'alice', body })
      t.match(set, fault(400, 'InvalidArgument'), `POST ${other}`)
    }
    for (const uri of ['vos://other.org~karst/home/alice/new', 'http://example.org/home/alice/new', 'x', 'vos://']) {
      const body = node('/home/alice/new', 'DataNode').replace(`${VOS}/home/alice/new`, uri)
      t.match(
        await gateway.call('/nodes/home/alice/new', { method: 'PUT', as: 'alice', body }),
        fault(400, 'InvalidURI'),
        uri,
      )
    }
  }),
)
