/** A gateway in a process of its own over an S3 server, with a proxy in between that fails as a test says: imports, checks and faults as their users meet them. */
import { createHash, randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { bucketOf, type S3Place } from '../conformance/s3-bucket.ts'
import { FaultProxy, type Asked, type HttpFault } from '../fixtures/fault-proxy.ts'
import { nodeDocument, run, type Answer } from './running.ts'
import { plant, Site } from './s3-site.ts'

const MIB = 2 ** 20
const MANY = 1200
const VOS = 'vos://karst.local~karst'

/** A site, and what stands between it and its server. */
class FaultySite extends Site {
  readonly proxy: FaultProxy

  constructor(place: S3Place, proxy: FaultProxy) {
    super(place, proxy.endpoint)
    this.proxy = proxy
  }
}

const isList = ({ url }: Asked): boolean => url.includes('list-type=2')

/** `looksAtSignatures`: as every real server. */
export function s3Service(name: string, server: S3Place, looksAtSignatures = true): void {
  void t.test(`a gateway process over ${name}`, async (t) => {
    const site = new FaultySite(server, await FaultProxy.start(server.endpoint))
    t.teardown(async () => {
      site.proxy.fault = () => undefined
      await site.dispose()
      await site.proxy.stop()
    })
    await site.prepare()
    await t.test('it does not start while the server is down, and says which storage that is', (t) => down(t, site))
    await t.test('a killed import goes on when the gateway is back, and every object is there once', (t) => killed(t, site))
    await t.test('a server that fails is one fault at the door, with nothing half visible', (t) => faults(t, site))
    await t.test('a presigned pull moves no data through the gateway', (t) => presigned(t, site, looksAtSignatures))
    await t.test('a presigned push is its node, over a killed gateway too, if its user may then', (t) => pushed(t, site))
    await t.test('karst check tells what is left over, and repairs that and nothing else', (t) => checked(t, site))
  }) // prettier-ignore
}

async function down(t: Test, site: FaultySite): Promise<void> {
  site.proxy.fault = () => ({ kind: 'lost' })
  const { code, stderr } = await run('bin/karst', ['serve', '--config', site.file])
  t.equal(code, 1)
  t.match(stderr, /storage profile objects: .*does not answer/)
  site.proxy.fault = () => undefined
  await site.serve()
}

async function killed(t: Test, site: FaultySite): Promise<void> {
  const odd = `${site.survey}folder/`
  await plant(site.place, Array.from({ length: MANY }, (_, i) => `${site.survey}n${i % 7}/o${i}`)) // prettier-ignore
  await plant(site.place, [odd])
  const container = nodeDocument(`${VOS}/objects/survey`, 'ContainerNode', { 'ivo://ivoa.net/vospace/core#ispublic': 'true' }) // prettier-ignore
  const headers = { 'content-type': 'text/xml' }
  t.equal((await site.ask('bob', '/nodes/objects/survey', { method: 'PUT', body: container, headers })).status, 201)
  const source = `s3://${site.place.bucket}/${site.survey}`
  const words = ['import', source, `${VOS}/objects/survey`]
  t.match(await site.karst('alice', ...words), { code: 1, stderr: /PermissionDenied/ })
  t.match(await site.karst('bob', 'import', 'file:///etc', `${VOS}/objects/survey`), { code: 1, stderr: /no s3:/ })
  t.match(await site.karst('bob', 'import', source, `${VOS}/home/alice`), { code: 1, stderr: /OperationNotSupported/ })
  t.match(await site.karst('bob', 'import', source, `${VOS}/objects/none`), { code: 1, stderr: /NodeNotFound/ })
  site.proxy.fault = (asked) => (isList(asked) ? { kind: 'slow', milliseconds: 500 } : undefined)
  const body = JSON.stringify({ path: '/objects/survey', source })
  const json = { 'content-type': 'application/json' }
  const begun = await site.ask('bob', '/imports', { method: 'POST', body, headers: json })
  const { job } = JSON.parse(begun.body.toString()) as { job: string }
  const look = async (): Promise<{ phase: string; counts?: { objects: number } }> =>
    JSON.parse((await site.ask('bob', `/imports/${job}`)).body.toString()) as { phase: string }
  for (let tries = 300; tries > 0 && ((await look()).counts?.objects ?? 0) < 1; tries--) await sleep(20)
  await site.stop('SIGKILL')
  site.proxy.fault = () => undefined
  await site.serve()
  for (let tries = 600; tries > 0 && (await look()).phase !== 'COMPLETED'; tries--) await sleep(50)
  const counts = { objects: MANY + 1, added: MANY, changed: 0, removed: 0, leftOut: 1 }
  t.match(await look(), { phase: 'COMPLETED', counts })
  t.equal((await site.ask('alice', '/imports', { method: 'POST', body, headers: json })).status, 403)
  t.match(await site.karst('bob', ...words, '--writable'), {
    code: 0,
    stdout: new RegExp(`^${MANY + 1} objects: 0 new, 0 changed, 0 gone, 1 that are no nodes\n${odd}: it stands for`),
  })
  t.equal((await site.ask('alice', '/files/objects/survey/n0/o7')).body.toString(), 'x', 'shared as its container is')
  t.equal((await site.ask('bob', '/files/objects/survey/new', { method: 'PUT', body: 'by name' })).status, 201)
  const bucket = bucketOf(site.place)
  t.match(await bucket.head(`${site.survey}new`), { size: 7 })
  t.equal((await site.ask('bob', '/nodes/objects/survey/new', { method: 'DELETE' })).status, 200)
  for (let tries = 100; tries > 0 && (await bucket.head(`${site.survey}new`)) !== undefined; tries--) await sleep(50)
  t.equal(await bucket.head(`${site.survey}new`), undefined, 'a delete takes the object away')
  bucket.close()
  t.equal((await site.ask('bob', '/nodes/objects/survey', { method: 'DELETE' })).status, 403, 'it stays where it is')
}

async function faults(t: Test, site: FaultySite): Promise<void> {
  const path = '/files/objects/f'
  const put = (body: Buffer | string): Promise<Answer> => site.ask('bob', path, { method: 'PUT', body })
  const isWrite = ({ method }: Asked): boolean => method === 'PUT' || method === 'POST'
  const old = randomBytes(6 * MIB)
  t.equal((await put(old)).status, 201)
  const big = randomBytes(11 * MIB)
  const cases: readonly [HttpFault, number, RegExp][] = [
    [{ kind: 'refused', status: 503, code: 'SlowDown' }, 503, /^ServiceBusy/],
    [{ kind: 'lost' }, 503, /^ServiceBusy/],
    [{ kind: 'etag' }, 500, /^TransferFailed/],
  ]
  for (const [fault, status, text] of cases) {
    for (const bytes of [Buffer.from('small'), big]) {
      site.proxy.fault = (asked) => (isWrite(asked) ? fault : undefined)
      const answer = await put(bytes)
      site.proxy.fault = () => undefined
      t.equal(answer.status, status, fault.kind)
      t.match(answer.body.toString(), text)
      t.ok((await site.ask('bob', path)).body.equals(old), 'what was there is there, whole')
    }
    site.proxy.fault = (asked) => (isWrite(asked) ? fault : undefined)
    t.equal((await site.ask('bob', '/files/objects/g', { method: 'PUT', body: big })).status, status)
    site.proxy.fault = () => undefined
    t.equal((await site.ask('bob', '/nodes/objects/g')).status, 404, 'nothing half is seen')
  }
  const isRead = ({ method }: Asked): boolean => method === 'GET'
  let times = 2
  site.proxy.fault = (asked) => (isRead(asked) && times-- > 0 ? { kind: 'truncated', bytes: MIB } : undefined)
  t.ok((await site.ask('bob', path)).body.equals(old), 'a body that breaks off goes on')
  site.proxy.fault = (asked) => (isRead(asked) ? { kind: 'truncated', bytes: 0 } : undefined)
  await t.rejects(site.ask('bob', path), 'without end it is cut, and never passed off as whole')
  site.proxy.fault = (asked) => (isRead(asked) ? { kind: 'refused', status: 503, code: 'SlowDown' } : undefined)
  t.match(await site.ask('bob', path), { status: 503 })
  site.proxy.fault = () => ({ kind: 'lost' })
  t.match((await site.ask('bob', '/availability')).body.toString(), /<vosi:available>false<.*objects/s)
  site.proxy.fault = () => undefined
}

async function presigned(t: Test, site: FaultySite, looksAtSignatures: boolean): Promise<void> {
  const bytes = randomBytes(6 * MIB)
  t.equal((await site.ask('bob', '/files/objects/pulled', { method: 'PUT', body: bytes })).status, 201)
  const endpoints = async (user: string, path: string, ...protocols: string[]): Promise<string[]> =>
    (await negotiated(site, user, path, 'pullFromVoSpace', protocols)).endpoints
  t.equal((await endpoints('bob', '/objects/pulled', 'httpsget')).length, 2, 'who asks for https gets no other URL')
  const [direct = '', ...through] = await endpoints('bob', '/objects/pulled', 'httpsget', 'httpget')
  const given = Date.now()
  t.ok(direct.startsWith(`${site.proxy.endpoint}/`))
  t.equal(through.length, 2, 'and the endpoints of the gateway')
  const before = site.moved
  const reply = await fetch(direct)
  t.ok(Buffer.from(await reply.arrayBuffer()).equals(bytes))
  const direct6 = site.moved - before
  t.ok((await site.ask('bob', (through[0] ?? '').replace(site.url, ''))).body.equals(bytes))
  t.ok(direct6 < MIB / 4, `${direct6} bytes`)
  t.ok(site.moved - before - direct6 > 12 * MIB, 'which the other way in and out again are counted')
  t.same(await endpoints('alice', '/objects/pulled', 'httpsget', 'httpget'), [], 'who may not read gets none')
  t.equal((await site.ask('bob', '/files/objects/nothing', { method: 'PUT', body: '' })).status, 201)
  t.equal((await endpoints('bob', '/objects/nothing', 'httpsget', 'httpget')).length, 2, 'there is no object')
  const [imported = ''] = await endpoints('alice', '/objects/survey/n0/o7', 'httpsget', 'httpget')
  t.equal(await (await fetch(imported)).text(), 'x', 'an imported object too')
  if (!looksAtSignatures) return
  t.equal((await fetch(direct.replace(/Signature=../, 'Signature=00'))).status, 403)
  await sleep(Math.max(0, given + 5500 - Date.now()))
  t.equal((await fetch(direct)).status, 403, 'it has ended')
} // prettier-ignore

/** The endpoints, and where the job is. */
async function negotiated(
  site: Site,
  user: string,
  path: string,
  direction: string,
  protocols: readonly string[],
  length?: number,
): Promise<{ readonly endpoints: string[]; readonly job: string }> {
  const core = 'ivo://ivoa.net/vospace/core#'
  const lines = protocols.map((one) => `<vos:protocol uri="${core}${one}"/>`).join('')
  const size = length === undefined ? '' : `<vos:param uri="${core}length">${length}</vos:param>`
  const body = `<vos:transfer xmlns:vos="http://www.ivoa.net/xml/VOSpace/v2.0" version="2.1"><vos:target>${VOS}${path}</vos:target>
    <vos:direction>${direction}</vos:direction>${lines}${size}</vos:transfer>`
  const { headers } = await site.ask(user, '/synctrans', { method: 'POST', body })
  const url = (headers.get('location') ?? '').replace(site.url, '')
  const text = (await site.ask(user, url)).body.toString()
  const endpoints = [...text.matchAll(/<vos:endpoint>([^<]*)</g)].map(([, one = '']) => one.replaceAll('&amp;', '&'))
  return { endpoints, job: url.replace('/results/transferDetails', '') }
}

async function pushed(t: Test, site: FaultySite): Promise<void> {
  const bytes = randomBytes(6 * MIB)
  const push = (user: string, path: string, length?: number): ReturnType<typeof negotiated> =>
    negotiated(site, user, path, 'pushToVoSpace', ['httpsput', 'httpput'], length)
  const phase = async (job: string): Promise<string> => (await site.ask('bob', `${job}/phase`)).body.toString()
  const send = async (url: string | undefined, body: Buffer | string): Promise<void> => {
    const reply = await fetch(url ?? '', { method: 'PUT', body, headers: { 'content-type': 'application/fits' } })
    t.equal(reply.status, 200, await reply.text())
  }
  const one = await push('bob', '/objects/pushed', bytes.length)
  t.equal(one.endpoints.length, 2, 'and the endpoint of the gateway')
  t.ok(one.endpoints[0]?.startsWith(`${site.proxy.endpoint}/`))
  t.equal(await phase(one.job), 'EXECUTING')
  const before = site.moved
  await send(one.endpoints[0], bytes)
  t.equal(await phase(one.job), 'COMPLETED')
  t.ok(site.moved - before < MIB / 4, `${site.moved - before} bytes`)
  const got = await site.ask('bob', '/files/objects/pushed')
  t.ok(got.body.equals(bytes))
  t.equal(got.headers.get('content-type'), 'application/fits')
  t.same((await push('alice', '/objects/pushed')).endpoints, [], 'who may not write gets none')
  t.equal((await negotiated(site, 'bob', '/objects/pushed', 'pushToVoSpace', ['httpsput'])).endpoints.length, 1)
  const short = await push('bob', '/objects/pushed', 9)
  const properties = { 'ivo://cadc.nrc.ca/vospace/core#islocked': 'true' }
  const document = nodeDocument(`${VOS}/objects/pushed`, 'DataNode', properties)
  await send(short.endpoints[0], 'short')
  t.equal(await phase(short.job), 'ERROR')
  t.match((await site.ask('bob', `${short.job}/error`)).body.toString(), /PreconditionFailed/)
  const headers = { 'content-type': 'text/xml' }
  const locked = await push('bob', '/objects/pushed')
  t.equal((await site.ask('bob', '/nodes/objects/pushed', { method: 'POST', body: document, headers })).status, 200)
  await send(locked.endpoints[0], 'not any more')
  t.equal(await phase(locked.job), 'ERROR')
  t.ok((await site.ask('bob', '/files/objects/pushed')).body.equals(bytes))
  const killed = await push('bob', '/objects/killed')
  await site.stop('SIGKILL')
  await send(killed.endpoints[0], 'while nobody was there')
  await site.serve()
  t.equal(
    (await site.ask('bob', '/files/objects/killed')).body.toString(),
    'while nobody was there',
    'who reads it finds it',
  )
  t.equal(await phase(killed.job), 'COMPLETED')
  const again = await push('bob', '/objects/killed')
  await send(again.endpoints[0], 'nobody asks')
  const count = async (): Promise<number> => (await site.bucketObjects('arrival.')).length
  for (let tries = 150; tries > 0 && (await count()) > 0; tries--) await sleep(50)
  t.equal(await count(), 0, 'it is found by itself')
  t.equal((await site.ask('bob', '/files/objects/killed')).body.toString(), 'nobody asks')
}

async function checked(t: Test, site: FaultySite): Promise<void> {
  await sleep(300)
  const bucket = bucketOf(site.place)
  t.teardown(() => bucket.close())
  const intruder = Buffer.from('what nobody wrote')
  await bucket.put(`${site.prefix}stray`, intruder, createHash('md5').update(intruder).digest())
  await bucket.createUpload(`${site.prefix}parts`)
  const told = await site.check()
  t.equal(told.code, 1, told.stdout + told.stderr)
  t.match(told.stdout, new RegExp(`objects: ${site.prefix}stray: an object that no node has\n`))
  t.match(told.stdout, new RegExp(`objects: ${site.prefix}parts: parts of an object that no node has\n`))
  const repaired = await site.check('--repair')
  t.equal(repaired.code, 0, repaired.stdout + repaired.stderr)
  t.match(repaired.stdout, new RegExp(`${site.prefix}stray: an object that no node has; removed\n`))
  const clean = await site.check()
  t.match(clean, { code: 0, stdout: /^objects: \d+ objects; \d+ keys are being written or about to go\n$/ })
  t.match(await bucket.head(`${site.survey}n0/o7`), { size: 1 }, 'what is imported stays')
  t.equal((await site.ask('bob', '/files/objects/survey/n0/o7')).body.toString(), 'x')
  t.match(await run('bin/karst', ['check', '--config', `${site.file}.none`]), { code: 1 })
}

const sleep = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))
