import { randomBytes } from 'node:crypto'
import t from 'tap'
import { Preauth } from '../../src/space/preauth.ts'
import { validates } from '../unit/codec-validator.ts'
import { node, startGateway, VOS } from './gateway.ts'
import { copyDocument, CORE, document, GET, JobCalls, moveDocument, PUT, type Who } from './job-calls.ts'

const endpoints = (xml: string): string[] => [...xml.matchAll(/<vos:endpoint>([^<]*)</g)].map(([, url = '']) => url)

await t.test('row 30: a transfer is PENDING until it is told to run, by 303 each time', async (t) => {
  const gateway = await startGateway(t)
  const jobs = new JobCalls(gateway)
  await gateway.call('/files/home/alice/f', { method: 'PUT', as: 'alice', body: 'x' })
  const reply = await jobs.post(moveDocument('/home/alice/f', '/home/alice/g'))
  const job = reply.headers.location ?? ''
  t.equal(reply.status, 303)
  t.match(job, new RegExp(`^${gateway.url}/transfers/[0-9a-f]{24}$`), 'absolute, and not to be guessed')
  const shown = await jobs.get(job)
  t.match(shown, { status: 200, headers: { 'content-type': 'text/xml' }, text: /<uws:phase>PENDING</ })
  t.match(shown.text, `<vos:target>${VOS}/home/alice/f</vos:target>`, 'what was asked for')
  t.match(await jobs.form(`${job}/phase`, 'PHASE=RUN'), { status: 303, headers: { location: job } })
  t.equal(await jobs.phase(job), 'COMPLETED', 'a move is over before the reply')
  for (const phase of ['RUN', 'x', 'COMPLETED', 'PENDING', 'SUSPEND', '']) {
    const { status, text } = await jobs.form(`${job}/phase`, `PHASE=${phase}`)
    t.match({ status, text }, { status: 400, text: /^InvalidArgument: / }, `PHASE=${phase}`)
  }
  t.equal((await jobs.form(`${job}/phase`, '')).status, 400)
  t.equal((await jobs.form(`${job}/phase`, 'PHASE=ABORT')).status, 303)
  t.equal(await jobs.phase(job), 'COMPLETED')
})

await t.test('row 30: it runs at once with PHASE=RUN in the creation', async (t) => {
  const gateway = await startGateway(t)
  const jobs = new JobCalls(gateway)
  const reply = await jobs.post(document('/home/alice/new', 'pushToVoSpace', PUT), '?phase=run')
  t.equal(reply.status, 303)
  t.equal(await jobs.phase(reply.headers.location ?? ''), 'EXECUTING')
  t.equal((await jobs.post(document('/home/alice/x', 'pushToVoSpace', PUT), '?PHASE=ABORT')).status, 400)
})

await t.test('row 36: an error is the bare token, in errorSummary and at /error, and has no protocols', async (t) => {
  const gateway = await startGateway(t)
  const other = `<vos:protocol uri="${CORE}ftpput"/>`
  const cases: [string, string, string, string, Who?][] = [
    ['/home/alice/none', 'pullFromVoSpace', GET, 'NodeNotFound'],
    ['/home/alice', 'pullFromVoSpace', GET, 'InvalidArgument'],
    ['/home/bob/f', 'pushToVoSpace', PUT, 'PermissionDenied'],
    ['/home/alice/f', 'pushToVoSpace', PUT, 'PermissionDenied', 'nobody'],
    ['/home/alice/f', 'pushToVoSpace', other, 'ProtocolNotSupported'],
    ['/home/alice/f', 'pushToVoSpace', '', 'ProtocolNotSupported'],
    ['/home/alice/f', 'sideways', PUT, 'OperationNotSupported'],
    ['/home/alice/f', 'pushToVoSpace', `<vos:view uri="ivo://x/y#z"/>${PUT}`, 'ViewNotSupported'],
    ['http://example.org/f', 'pushToVoSpace', PUT, 'InvalidURI'],
    ['vos://other.org~karst/home/alice/f', 'pushToVoSpace', PUT, 'InvalidURI'],
  ]
  for (const [target, direction, inside, fault, as] of cases) {
    const jobs = new JobCalls(gateway, as)
    const { job, phase, error } = await jobs.done(document(target, direction, inside))
    t.same([phase, error], ['ERROR', fault], `${direction} ${target}`)
    t.match((await jobs.get(job)).text, `<uws:message>${fault}</uws:message></uws:errorSummary>`)
    const details = await jobs.get(`${job}/results/transferDetails`)
    t.match(details, { status: 200, headers: { 'content-type': 'text/xml' } })
    t.notMatch(details.text, '<vos:protocol')
  }
  const names = await gateway.call('/nodes/home/alice', { as: 'alice' })
  t.notMatch(names.text, '/home/alice/f', 'no node is left half made')
})

await t.test('row 36: many targets, or none', async (t) => {
  const gateway = await startGateway(t)
  const jobs = new JobCalls(gateway)
  const many = (count: number): string =>
    document('/home/alice/f', '/home/alice/g').replace(
      /<vos:target>.*<\/vos:target>/,
      `<vos:target>${VOS}/home/alice/f</vos:target>`.repeat(count),
    )
  for (const body of [many(0), '', 'x', '<a/>', moveDocument('/a', '/b').slice(0, -5)]) {
    t.match(await jobs.post(body), { status: 400, text: /^InvalidArgument: / })
  }
  t.equal((await jobs.post(many(10_000))).status, 413)
  t.match(await jobs.done(many(100)), { phase: 'ERROR', error: /^InvalidArgument$/ })
  t.match(
    await jobs.done(document('/home/alice/f', 'pushToVoSpace', PUT).replace(/(<vos:target>.*<\/vos:target>)/, '$1$1')),
    {
      phase: 'ERROR',
      error: 'InvalidArgument',
    },
  )
})

await t.test('row 37: /phase is the word and nothing else', async (t) => {
  const gateway = await startGateway(t)
  const jobs = new JobCalls(gateway)
  const job = await jobs.create(document('/home/alice/f', 'pushToVoSpace', PUT))
  t.match(await jobs.get(`${job}/phase`), { status: 200, text: /^PENDING$/, headers: { 'content-type': 'text/plain' } })
  t.equal((await jobs.get(`${job}/phase`)).body.length, 7)
})

await t.test('row 38: the first endpoint needs no credentials, for that node, direction and time', async (t) => {
  const short = new Preauth(randomBytes(32), { seconds: -1 })
  const gateway = await startGateway(t)
  const jobs = new JobCalls(gateway)
  const { job } = await jobs.done(document('/home/alice/f', 'pushToVoSpace', PUT))
  t.equal(await jobs.phase(job), 'EXECUTING')
  const details = await jobs.get(`${job}/results/transferDetails`)
  const [endpoint = '', ...more] = endpoints(details.text)
  t.same(more, [])
  const put = (url: string, as?: 'bob') => gateway.call(url, { method: 'PUT', body: 'x', ...(as && { as }) })
  t.equal((await put(endpoint)).status, 201)
  t.equal((await put(endpoint)).status, 201, 'row 39: good for several tries')
  t.equal((await gateway.call(endpoint)).status, 403, 'not to read')
  t.equal((await put(endpoint.replace(/\/f$/, '/g'))).status, 403, 'not for another node')
  t.equal((await put(endpoint.replace('/alice/', '/bob/'), 'bob')).status, 403)
  const token = /preauth:([^/]*)/.exec(endpoint)?.[1] ?? ''
  for (let at = 0; at < token.length; at += 7) {
    const altered = `${token.slice(0, at)}${token[at] === 'A' ? 'B' : 'A'}${token.slice(at + 1)}`
    const { status } = await put(endpoint.replace(token, altered))
    t.ok(status === 403 || status === 400, `altered at ${at}: ${status}`)
  }
  await t.test('and not after its time', async (t) => {
    const late = await startGateway(t, { services: { preauth: short } })
    const calls = new JobCalls(late)
    const reply = await late.call('/synctrans', {
      method: 'POST',
      as: 'alice',
      body: document('/home/alice/f', 'pushToVoSpace', PUT),
    })
    const [url = ''] = endpoints((await calls.get(reply.headers.location ?? '')).text)
    t.equal((await late.call(url, { method: 'PUT', body: 'x' })).status, 403)
  })
})

await t.test('row 43: pullToVoSpace and pushFromVoSpace are not served, as the job says', async (t) => {
  const gateway = await startGateway(t)
  for (const direction of ['pullToVoSpace', 'pushFromVoSpace']) {
    const endpoint = `<vos:protocol uri="${CORE}httpsget"><vos:endpoint>https://example.org/x</vos:endpoint></vos:protocol>`
    const { phase, error } = await new JobCalls(gateway).done(document('/home/alice/f', direction, endpoint))
    t.same([phase, error], ['ERROR', 'OperationNotSupported'])
  }
})

await t.test('row 51: every document of jobs is valid by UWS', async (t) => {
  const gateway = await startGateway(t)
  await gateway.call('/files/home/alice/f', { method: 'PUT', as: 'alice', body: 'x' })
  const jobs = new JobCalls(gateway)
  const urls = [
    await jobs.create(moveDocument('/home/alice/f', '/home/alice/g')),
    (await jobs.done(copyDocument('/home/alice/f', '/home/alice/c'))).job,
    (await jobs.done(moveDocument('/home/alice/none', '/home/alice/g'))).job,
    (await jobs.done(document('/home/alice/p', 'pushToVoSpace', PUT))).job,
    (await new JobCalls(gateway, 'nobody').done(document('/pub', 'pullFromVoSpace', GET))).job,
  ]
  const paths = urls.flatMap((url) => [url, `${url}/results`, `${url}/parameters`])
  const texts = await Promise.all(
    [...paths, '/transfers', '/transfers?LAST=1'].map(async (path) => (await jobs.get(path)).text),
  )
  const kinds = [
    new JobCalls(gateway, 'alice', 'async-delete'),
    new JobCalls(gateway, 'alice', 'async-setprops'),
    new JobCalls(gateway, 'bob', 'async-delete'),
  ]
  const bodies = [
    `target=${encodeURIComponent(`${VOS}/home/alice/c`)}`,
    node('/home/alice/none'),
    'target=%3C%26%22%01x',
  ]
  for (const [n, list] of kinds.entries()) {
    const { job } = await list.done(bodies[n] ?? '')
    const listed = job.slice(0, job.lastIndexOf('/'))
    const filters = [
      '',
      '?PHASE=COMPLETED&PHASE=ERROR',
      '?LAST=0',
      '?AFTER=2001-01-01T00:00:00',
      '?AFTER=2999-01-01T00:00:00Z',
    ]
    for (const url of [job, `${job}/results`, `${job}/parameters`, ...filters.map((filter) => listed + filter)]) {
      const reply = await list.get(url)
      t.match(reply, { status: 200, headers: { 'content-type': 'text/xml' } }, url)
      texts.push(reply.text)
    }
  }
  await validates(t, 'job', texts)
})

await t.test('row 51: WAIT is honoured, ends with the phase, and is a number', async (t) => {
  const gateway = await startGateway(t)
  const jobs = new JobCalls(gateway)
  const job = await jobs.create(document('/home/alice/f', 'pushToVoSpace', PUT))
  const waiting = [jobs.get(`${job}?WAIT=50`), jobs.get(`${job}/phase?wait=-1&PHASE=PENDING`)]
  t.match((await jobs.get(`${job}/phase?WAIT=50&PHASE=QUEUED`)).text, /^PENDING$/, 'at once: its phase is another')
  await jobs.form(`${job}/phase`, 'PHASE=ABORT')
  t.match(
    (await Promise.all(waiting)).map(({ text }) => text),
    [/<uws:phase>ABORTED</, /^ABORTED$/],
  )
  t.match((await jobs.get(`${job}?WAIT=50`)).text, /ABORTED/, 'what has ended is not waited for')
  for (const query of ['WAIT=abc', 'WAIT=', 'WAIT=1.5', 'WAIT=-2', 'WAIT=1e3', 'WAIT=5&PHASE=LATER', 'PHASE=x']) {
    t.match(await jobs.get(`${job}?${query}`), { status: 400, text: /^InvalidArgument: / }, query)
  }
})

await t.test('row 51: destruction, execution duration and DELETE', async (t) => {
  const gateway = await startGateway(t)
  const jobs = new JobCalls(gateway)
  const create = () => jobs.create(document('/home/alice/f', 'pushToVoSpace', PUT))
  const job = await create()
  const later = new Date(Date.now() + 86_400_000).toISOString()
  t.match(await jobs.form(`${job}/destruction`, `DESTRUCTION=${later.slice(0, -1)}`), {
    status: 303,
    headers: { location: job },
  })
  t.equal((await jobs.get(`${job}/destruction`)).text, later)
  t.equal((await jobs.form(`${job}/executionduration`, 'executionduration=77')).status, 303)
  t.equal((await jobs.get(`${job}/executionduration`)).text, '77')
  t.match((await jobs.get(job)).text, '<uws:executionDuration>77<')
  for (const [part, body] of [
    ['destruction', 'DESTRUCTION=tomorrow'],
    ['destruction', ''],
    ['executionduration', 'EXECUTIONDURATION=-1'],
    ['executionduration', 'EXECUTIONDURATION=x'],
    ['', 'ACTION=KEEP'],
    ['', ''],
  ] as const) /* prettier-ignore */ {
    t.equal((await jobs.form(part === '' ? job : `${job}/${part}`, body)).status, 400, body)
  }
  const list = `${gateway.url}/transfers`
  t.match(await jobs.form(job, 'action=delete'), { status: 303, headers: { location: list } })
  t.equal((await jobs.get(job)).status, 404)
  const second = await create()
  t.match(await gateway.call(second, { method: 'DELETE', as: 'alice' }), { status: 303, headers: { location: list } })
  t.equal((await jobs.get(second)).status, 404)
  const third = await create()
  t.equal((await jobs.form(`${third}/destruction`, 'DESTRUCTION=2001-01-01T00:00:00Z')).status, 303)
  t.equal((await jobs.get(third)).status, 404, 'its time has come')
  t.notMatch((await jobs.get('/transfers')).text, '<uws:jobref')
})

await t.test("row 52: a job is its owner's only; one made anonymously is anybody's", async (t) => {
  const gateway = await startGateway(t)
  const job = await new JobCalls(gateway).create(document('/home/alice/f', 'pushToVoSpace', PUT))
  for (const who of ['bob', 'nobody'] as const) {
    const other = new JobCalls(gateway, who)
    for (const part of ['', '/phase', '/error', '/results', '/parameters', '/owner', '/quote', '/destruction']) {
      t.equal((await other.get(job + part)).status, 403, part)
    }
    for (const [part, body] of [
      ['/phase', 'PHASE=RUN'],
      ['/phase', 'PHASE=ABORT'],
      ['', 'ACTION=DELETE'],
      ['/destruction', 'DESTRUCTION=2001-01-01T00:00:00Z'],
      ['/executionduration', 'EXECUTIONDURATION=1'],
    ] as const) /* prettier-ignore */ {
      t.equal((await other.form(job + part, body)).status, 403, body)
    }
    t.equal((await gateway.call(job, { method: 'DELETE', ...(who === 'bob' && { as: who }) })).status, 403)
  }
  t.equal(await new JobCalls(gateway).phase(job), 'PENDING')
  t.notMatch((await new JobCalls(gateway, 'bob').get('/transfers')).text, '<uws:jobref')
  t.equal((await new JobCalls(gateway, 'nobody').get('/transfers')).status, 403)
  t.equal((await new JobCalls(gateway).get('/transfers/0123456789abcdef01234567')).status, 404)
  const open = await new JobCalls(gateway, 'nobody').create(document('/pub', 'pullFromVoSpace', GET))
  t.equal(await new JobCalls(gateway, 'bob').phase(open), 'PENDING')
  t.match((await new JobCalls(gateway, 'bob').get(open)).text, '<uws:ownerId xsi:nil="true"/>')
})

await t.test('row 52: the list is by phase, by number and by time', async (t) => {
  const gateway = await startGateway(t)
  const jobs = new JobCalls(gateway)
  const ids: string[] = []
  for (let n = 0; n < 3; n++) {
    ids.push((await jobs.create(document('/home/alice/f', 'pushToVoSpace', PUT))).slice(-24))
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  await jobs.form(`/transfers/${ids[0]}/phase`, 'PHASE=ABORT')
  const listed = async (query: string) =>
    [...(await jobs.get(`/transfers${query}`)).text.matchAll(/jobref id="([^"]*)"/g)].map(([, id]) => id)
  t.same(await listed(''), ids.toReversed(), 'newest first')
  t.same(await listed('?PHASE=ABORTED'), [ids[0]])
  t.same(await listed('?phase=PENDING&PHASE=ABORTED'), ids.toReversed())
  t.same(await listed('?LAST=2'), [ids[2], ids[1]])
  const created = /<uws:creationTime>([^<]*)/.exec((await jobs.get(`/transfers/${ids[1]}`)).text)?.[1] ?? ''
  t.same(await listed(`?AFTER=${created}`), [ids[2]])
  for (const query of ['PHASE=x', 'LAST=-1', 'LAST=x', 'AFTER=yesterday']) {
    t.equal((await jobs.get(`/transfers?${query}`)).status, 400, query)
  }
})

await t.test('row 53: names of parameters are told in any case', async (t) => {
  const gateway = await startGateway(t)
  const jobs = new JobCalls(gateway)
  await gateway.call('/files/home/alice/f', { method: 'PUT', as: 'alice', body: 'x' })
  for (const name of ['phase', 'PHASE', 'Phase']) {
    const job = await jobs.create(document('/home/alice/f', 'pullFromVoSpace', GET))
    t.equal((await jobs.form(`${job}/phase`, `${name}=RUN`)).status, 303)
    t.equal(await jobs.phase(job), 'EXECUTING')
    t.equal((await jobs.get(`${job}?wAiT=0&${name}=EXECUTING`)).status, 200)
  }
  const job = await jobs.create(document('/home/alice/f', 'pullFromVoSpace', GET))
  t.equal(
    (await gateway.call(`${job}/phase?phase=RUN`, { method: 'POST', as: 'alice' })).status,
    303,
    'in the query too',
  )
})
