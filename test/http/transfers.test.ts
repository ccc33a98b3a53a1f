import t from 'tap'
import { type Name } from './people.ts'
import { type Gateway, type Reply, startGateway, VOS } from './gateway.ts'

const CORE = 'ivo://ivoa.net/vospace/core#'
const CERTIFICATE = 'ivo://ivoa.net/sso#tls-with-certificate'

const transfer = (target: string, direction: string, protocols: string): string =>
  `<vos:transfer xmlns:vos="http://www.ivoa.net/xml/VOSpace/v2.0" version="2.1"><vos:target>${VOS}${target}</vos:target>
  <vos:direction>${direction}</vos:direction>${protocols}<vos:keepBytes>true</vos:keepBytes></vos:transfer>`

const PUT = `<vos:protocol uri="${CORE}httpsput"/>`
const GET = `<vos:protocol uri="${CORE}httpsget"/>`
const GET_WITH = `<vos:protocol uri="${CORE}httpsget"><vos:securityMethod uri="${CERTIFICATE}"/></vos:protocol>`

const post = (gateway: Gateway, body: string, as: Name | 'nobody' = 'alice', headers = {}): Promise<Reply> =>
  gateway.call('/synctrans', { method: 'POST', body, headers, ...(as !== 'nobody' && { as }) })

const endpoints = (xml: string): string[] => [...xml.matchAll(/<vos:endpoint>([^<]*)</g)].map(([, url = '']) => url)
const phase = async (gateway: Gateway, job: string): Promise<string> =>
  (await gateway.call(`${job}/phase`, { as: 'alice' })).text

await t.test('a push by document', async (t) => {
  const gateway = await startGateway(t)
  const reply = await post(gateway, transfer('/home/alice/p', 'pushToVoSpace', PUT))
  t.equal(reply.status, 303)
  const details = reply.headers.location ?? ''
  t.ok(details.startsWith(`${gateway.url}/transfers/`), 'absolute')
  t.match(details, /\/results\/transferDetails$/)
  const job = details.replace('/results/transferDetails', '')
  const shown = await gateway.call(details, { as: 'alice' })
  await t.test('row 38: trap 15: has one endpoint, which works without credentials, twice', async (t) => {
    t.match(shown, { status: 200, headers: { 'content-type': 'text/xml' } })
    const [endpoint = '', ...more] = endpoints(shown.text)
    t.same(more, [])
    t.equal((await gateway.call(endpoint, { method: 'HEAD' })).status, 200, 'Python asks before it sends')
    t.equal((await gateway.call(endpoint)).status, 403, 'a write token does not read')
    const wrong = { digest: 'md5=AAAAAAAAAAAAAAAAAAAAAA==' }
    t.equal((await gateway.call(endpoint, { method: 'PUT', body: 'x', headers: wrong })).status, 412)
    t.equal(await phase(gateway, job), 'EXECUTING', 'nothing has been moved')
    t.equal((await gateway.call(endpoint, { method: 'PUT', body: 'x' })).status, 201)
  })
  await t.test('row 37: has a job that its owner sees, its phase a bare word (trap 13)', async (t) => {
    t.equal(await phase(gateway, job), 'COMPLETED')
    const document = await gateway.call(job, { as: 'alice' })
    t.equal(document.headers['content-type'], 'text/xml')
    t.match(document.text, '<uws:phase>COMPLETED</uws:phase>')
    t.match(document.text, `xlink:href="${details}"`)
    t.match((await gateway.call(`${job}/results`, { as: 'alice' })).text, 'id="dataNode"')
    const node = await gateway.call(`${job}/results/dataNode`, { as: 'alice' })
    t.match(node, { status: 303, headers: { location: `${VOS}/home/alice/p` } })
    t.equal((await gateway.call(`${job}/results/other`, { as: 'alice' })).status, 404)
    t.match(await gateway.call(`${job}/error`, { as: 'alice' }), { status: 404 })
    t.equal((await gateway.call(`${job}/owner`, { as: 'alice' })).text, 'alice')
    t.match((await gateway.call(`${job}/executionduration`, { as: 'alice' })).text, /^\d+$/)
    for (const part of ['quote', 'destruction', 'parameters']) {
      t.equal((await gateway.call(`${job}/${part}`, { as: 'alice' })).status, 200)
    }
  })
  await t.test('has a job that nobody else sees', async (t) => {
    for (const part of ['', '/phase', '/error', '/results', '/results/transferDetails', '/owner']) {
      t.equal((await gateway.call(`${job}${part}`, { as: 'bob' })).status, 403, part)
      t.equal((await gateway.call(`${job}${part}`)).status, 403, part)
    }
    t.equal((await gateway.call(`${job}/phase`, { method: 'POST', as: 'bob', body: 'PHASE=ABORT' })).status, 403)
    t.equal((await gateway.call('/transfers/nosuchjob', { as: 'alice' })).status, 404)
  })
  await t.test('is in the list of its owner only', async (t) => {
    const id = job.slice(job.lastIndexOf('/') + 1)
    t.match((await gateway.call('/transfers', { as: 'alice' })).text, id)
    t.notMatch((await gateway.call('/transfers', { as: 'bob' })).text, id)
    t.notMatch((await gateway.call('/transfers?PHASE=ERROR', { as: 'alice' })).text, id)
    t.notMatch((await gateway.call('/transfers?after=2999-01-01T00:00:00.000', { as: 'alice' })).text, id)
    t.notMatch((await gateway.call('/transfers?last=0', { as: 'alice' })).text, id)
    t.equal((await gateway.call('/transfers?phase=LATER', { as: 'alice' })).status, 400)
    t.equal((await gateway.call('/transfers')).status, 403)
  })
  await t.test('row 51: is waited for, until its phase changes', async (t) => {
    const again = await post(gateway, transfer('/home/alice/p', 'pushToVoSpace', PUT))
    const job = (again.headers.location ?? '').replace('/results/transferDetails', '')
    const waiting = gateway.call(`${job}?WAIT=30`, { as: 'alice' })
    const other = gateway.call(`${job}/phase?wait=-1&phase=executing`, { as: 'alice' })
    t.match((await gateway.call(`${job}/phase?WAIT=30&PHASE=PENDING`, { as: 'alice' })).text, /^EXECUTING$/)
    const abort = await gateway.call(`${job}/phase`, { method: 'POST', as: 'alice', body: 'phase=abort' })
    t.match(abort, { status: 303, headers: { location: job } })
    t.match((await waiting).text, '<uws:phase>ABORTED<')
    t.equal((await other).text, 'ABORTED')
    for (const wait of ['x', '-2', '1.5']) {
      t.equal((await gateway.call(`${job}?WAIT=${wait}`, { as: 'alice' })).status, 400)
    }
    for (const body of ['PHASE=RUN', 'PHASE=x', '']) {
      t.equal((await gateway.call(`${job}/phase`, { method: 'POST', as: 'alice', body })).status, 400)
    }
  })
})

await t.test(
  'a pull by document has a signed endpoint and a plain one, or the plain one with its method',
  async (t) => {
    const gateway = await startGateway(t)
    await gateway.call('/files/home/alice/f', { method: 'PUT', as: 'alice', body: 'content' })
    const details = async (protocols: string): Promise<string> => {
      const { headers } = await post(gateway, transfer('/home/alice/f', 'pullFromVoSpace', protocols))
      return (await gateway.call(headers.location ?? '', { as: 'alice' })).text
    }
    const [signed = '', plain] = endpoints(await details(GET))
    t.equal(plain, `${gateway.url}/files/home/alice/f`)
    t.equal((await gateway.call(signed)).text, 'content')
    const withMethod = await details(GET_WITH)
    t.same(endpoints(withMethod), [plain])
    t.match(withMethod, `<vos:securityMethod uri="${CERTIFICATE}"/>`)
  },
)

await t.test('a negotiated transfer is COMPLETED when its bytes have been moved', async (t) => {
  const gateway = await startGateway(t)
  const negotiated = async (direction: string, protocol: string) => {
    const { headers } = await post(gateway, transfer('/home/alice/f', direction, protocol))
    const details = (await gateway.call(headers.location ?? '', { as: 'alice' })).text
    const job = (headers.location ?? '').replace('/results/transferDetails', '')
    return { job, signed: endpoints(details)[0] ?? '', plain: endpoints(details)[1] ?? '' }
  }
  const ended = async (job: string): Promise<string> => {
    await gateway.call(`${job}?WAIT=20&PHASE=EXECUTING`, { as: 'alice' })
    return phase(gateway, job)
  }
  const put = (url: string, body: string, headers = {}) => gateway.call(url, { method: 'PUT', body, headers })
  const push = await negotiated('pushToVoSpace', PUT)
  t.equal((await gateway.call(push.signed, { method: 'HEAD' })).status, 200)
  t.equal((await put(push.signed, 'x', { 'content-range': 'bytes 0-0/2' })).status, 400)
  t.equal(await phase(gateway, push.job), 'EXECUTING', 'while nothing has come')
  t.equal((await put(push.signed, 'content')).status, 201)
  t.equal(await phase(gateway, push.job), 'COMPLETED', 'by the reply')
  t.match((await gateway.call(push.job, { as: 'alice' })).text, /<uws:endTime>2/)
  t.equal((await put(push.signed, 'content')).status, 201, 'and once more')
  const pull = await negotiated('pullFromVoSpace', GET)
  t.equal((await gateway.call(pull.signed, { headers: { range: 'bytes=0-2' } })).text, 'con')
  t.equal((await gateway.call(pull.plain, { as: 'alice' })).text, 'content')
  t.equal(await phase(gateway, pull.job), 'EXECUTING', 'a part, and what was asked for elsewhere')
  t.equal((await gateway.call(pull.signed, { headers: { range: 'bytes=3-' } })).text, 'tent')
  t.equal(await ended(pull.job), 'COMPLETED')
  const whole = await negotiated('pullFromVoSpace', GET)
  t.equal((await gateway.call(whole.signed)).text, 'content')
  t.equal(await ended(whole.job), 'COMPLETED')
  const aborted = await negotiated('pullFromVoSpace', GET)
  await gateway.call(`${aborted.job}/phase`, { method: 'POST', as: 'alice', body: 'PHASE=ABORT' })
  t.equal((await gateway.call(aborted.signed)).text, 'content')
  t.equal(await phase(gateway, aborted.job), 'ABORTED', 'what has ended stays so')
  const gone = await negotiated('pushToVoSpace', PUT)
  await gateway.call(gone.job, { method: 'DELETE', as: 'alice' })
  t.equal((await put(gone.signed, 'content')).status, 201, 'the URL is good for its time')
  await put(push.signed, '')
  const empty = await negotiated('pullFromVoSpace', GET)
  t.equal((await gateway.call(empty.signed)).status, 204)
  t.equal(await ended(empty.job), 'COMPLETED', 'also when there are none')
})

await t.test('row 31: trap 14: a refusal by document is 303 too; the job tells it, in the bare word', async (t) => {
  const gateway = await startGateway(t)
  const cases: [target: string, direction: string, protocols: string, error: string][] = [
    ['/home/alice/none', 'pullFromVoSpace', GET, 'NodeNotFound'],
    ['/home/bob/f', 'pushToVoSpace', PUT, 'PermissionDenied'],
    ['/home/alice/f', 'pushToVoSpace', '<vos:protocol uri="ivo://odd"/>', 'ProtocolNotSupported'],
    ['/home/alice', 'pushToVoSpace', PUT, 'InvalidArgument'],
    ['/home/alice/f', 'pullToVoSpace', GET, 'OperationNotSupported'],
    ['/home/alice/../bob/f', 'pullFromVoSpace', GET, 'InvalidURI'],
  ]
  for (const [target, direction, protocols, error] of cases) {
    const reply = await post(gateway, transfer(target, direction, protocols))
    t.equal(reply.status, 303, error)
    const details = await gateway.call(reply.headers.location ?? '', { as: 'alice' })
    t.match(details, { status: 200, headers: { 'content-type': 'text/xml' } })
    t.same(endpoints(details.text), [])
    t.notMatch(details.text, '<vos:protocol')
    const job = (reply.headers.location ?? '').replace('/results/transferDetails', '')
    t.equal(await phase(gateway, job), 'ERROR')
    t.equal((await gateway.call(`${job}/error`, { as: 'alice' })).text, error)
  }
  await t.test('but what is no transfer is 400', async (t) => {
    for (const body of ['', 'x', '<a/>', transfer('/a', 'pushToVoSpace', PUT).slice(0, -3)]) {
      t.match(await post(gateway, body), { status: 400, headers: { 'content-type': 'text/plain' } })
    }
    for (const bytes of [2 << 20, 70_000]) t.equal((await post(gateway, ' '.repeat(bytes))).status, 413)
  })
})

await t.test('a transfer made anonymously is open to all', async (t) => {
  const gateway = await startGateway(t)
  const { headers } = await post(gateway, transfer('/home/alice/f', 'pushToVoSpace', PUT), 'nobody')
  t.equal((await gateway.call(headers.location ?? '', { as: 'bob' })).status, 200)
  t.equal((await gateway.call(headers.location ?? '')).status, 200)
})

await t.test('parameter mode', async (t) => {
  const gateway = await startGateway(t)
  await gateway.call('/files/home/alice/f', { method: 'PUT', as: 'alice', body: 'content' })
  const query = (target: string, direction: string, protocol: string, more = '') =>
    `Target=${encodeURIComponent(VOS + target)}&DIRECTION=${direction}&protocol=${encodeURIComponent(CORE + protocol)}${more}`
  const get = (text: string, as: Name = 'alice') => gateway.call(`/synctrans?${text}`, { as })
  await t.test('row 32: in the query answers the document', async (t) => {
    const reply = await get(query('/home/alice/f', 'pullFromVoSpace', 'httpsget'))
    t.match(reply, { status: 200, headers: { 'content-type': 'text/xml' } })
    t.equal(endpoints(reply.text).length, 2)
    const posted = await gateway.call(`/synctrans?${query('/home/alice/g', 'pushToVoSpace', 'httpsput')}`, {
      method: 'POST',
      as: 'alice',
    })
    t.equal(posted.status, 200)
  })
  await t.test('with REQUEST=redirect leads to the bytes', async (t) => {
    const reply = await get(query('/home/alice/f', 'pullFromVoSpace', 'httpsget', '&request=Redirect'))
    t.equal(reply.status, 303)
    t.equal((await gateway.call(reply.headers.location ?? '')).text, 'content')
    t.equal((await get(query('/home/alice/f', 'pullFromVoSpace', 'httpsget', '&request=x'))).status, 400)
    t.equal((await get(query('/home/alice/f', 'pushToVoSpace', 'httpsput', '&request=redirect'))).status, 400)
  })
  await t.test('row 33: in a form leads to the first endpoint always, with its Content-Type or without', async (t) => {
    for (const headers of [{ 'content-type': 'application/x-www-form-urlencoded' }, {}]) {
      const body = query('/home/alice/h', 'pushToVoSpace', 'httpsput')
      const reply = await post(gateway, body, 'alice', headers)
      t.equal(reply.status, 303)
      t.equal((await gateway.call(reply.headers.location ?? '', { method: 'PUT', body: 'x' })).status, 201)
    }
  })
  await t.test('refuses directly', async (t) => {
    t.match(await get(query('/home/alice/none', 'pullFromVoSpace', 'httpsget')), {
      status: 404,
      text: /^NodeNotFound: /,
    })
    t.match(await get(query('/home/alice/f', 'pullFromVoSpace', 'httpsget'), 'bob'), {
      status: 403,
      text: /^PermissionDenied: /,
    })
    const sideways = await get(query('/home/alice/f', 'sideways', 'httpsget'))
    t.match(sideways, { status: 405, headers: { allow: 'GET, POST' } })
    const one = query('/home/alice/f', 'pullFromVoSpace', 'httpsget')
    t.match(await get(`${one}&protocol=b`), { status: 400, text: /^InvalidArgument: exactly one PROTOCOL/ })
    for (const part of ['Target', 'DIRECTION', 'protocol']) {
      t.equal((await get(one.replace(part, 'x'))).status, 400, part)
    }
    t.equal((await get(`${one}&x=%zz`)).status, 400)
  })
})
