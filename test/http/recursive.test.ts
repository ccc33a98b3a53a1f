import t from 'tap'
import { nodePath } from '../../src/vospace/path.ts'
import { type Gateway, GROUP, node, overlay, property, startGateway, VOS } from './gateway.ts'
import { JobCalls, type Who } from './job-calls.ts'
import { type Name } from './people.ts'

const mkdir = async (gateway: Gateway, path: string, as: Name = 'alice') =>
  gateway.call(`/nodes${path}`, { method: 'PUT', as, body: node(path) })
const put = async (gateway: Gateway, path: string, as: Name = 'alice') =>
  gateway.call(`/files${path}`, { method: 'PUT', as, body: 'x' })
const status = async (gateway: Gateway, path: string): Promise<number> =>
  (await gateway.call(`/nodes${path}?limit=0`, { as: 'alice' })).status
const set = async (gateway: Gateway, path: string, type: string, uri: string, value: string) =>
  gateway.call(`/nodes${path}`, { method: 'POST', as: 'alice', body: node(path, type, property(uri, value)) })
const lock = async (gateway: Gateway, path: string, type = 'DataNode') =>
  set(gateway, path, type, 'ivo://cadc.nrc.ca/vospace/core#islocked', 'true')

/** A container with nine nodes in it. */
async function planted(gateway: Gateway): Promise<void> {
  for (const path of ['', '/a', '/a/b']) await mkdir(gateway, `/home/alice/d${path}`)
  for (const path of ['f', 'g', 'h', 'a/f', 'a/b/f', 'a/b/g', 'a/b/h']) await put(gateway, `/home/alice/d/${path}`)
}

/** A job as clients make it: created, looked at, run and waited for. Its phase and counts. */
async function run(
  jobs: JobCalls,
  body: string,
): Promise<{ phase: string; counts: Record<string, string>; error: string }> {
  const { job, phase, error } = await jobs.done(body)
  const { text } = await jobs.get(job)
  const results = [...text.matchAll(/<uws:result id="(\w+)" xlink:href="final:(\d+)"\/>/g)]
  return { phase, counts: Object.fromEntries(results.map(([, id = '', count = '']) => [id, count])), error }
}

const deletion = (gateway: Gateway, as: Who = 'alice') => new JobCalls(gateway, as, 'async-delete')
const setting = (gateway: Gateway, as: Who = 'alice') => new JobCalls(gateway, as, 'async-setprops')
const target = (path: string): string => `target=${encodeURIComponent(VOS + path)}`

await t.test('row 17: DELETE of a container takes all that is in it, and answers 200', async (t) => {
  const gateway = await startGateway(t)
  await planted(gateway)
  t.equal((await gateway.call('/nodes/home/alice/d', { method: 'DELETE', as: 'alice' })).status, 200)
  t.equal(await status(gateway, '/home/alice/d'), 404)
})

await t.test('row 17: DELETE answers 204 in strict mode', async (t) => {
  const gateway = await startGateway(t, { rules: { strict: true } })
  await planted(gateway)
  t.equal((await gateway.call('/nodes/home/alice/d', { method: 'DELETE', as: 'alice' })).status, 204)
})

await t.test('row 50: a recursive delete is COMPLETED with the count of all nodes', async (t) => {
  const gateway = await startGateway(t)
  await planted(gateway)
  const jobs = deletion(gateway)
  const job = await jobs.create(target('/home/alice/d'))
  t.equal(await jobs.phase(job), 'PENDING')
  t.match(job, /\/karst\/async-delete\/\w+$/)
  t.equal((await jobs.form(`${job}/phase`, 'phase=RUN')).status, 303)
  const { text } = await jobs.get(`${job}?WAIT=6`)
  t.match(text, '<uws:parameter id="target">')
  t.match(
    text,
    /<uws:phase>COMPLETED<[^]*<uws:results>\s*<uws:result id="successcount" xlink:href="final:10"\/>\s*<\/uws:results>/,
  )
  t.equal(await status(gateway, '/home/alice/d'), 404)
  t.match((await jobs.get('/async-delete')).text, job.slice(job.lastIndexOf('/') + 1))
  t.notMatch((await jobs.get('/transfers')).text, job.slice(job.lastIndexOf('/') + 1))
  t.equal((await jobs.get(job.replace('async-delete', 'transfers'))).status, 404)
})

await t.test('row 50: a recursive delete of which some nodes stay is ABORTED with both counts', async (t) => {
  const gateway = await startGateway(t)
  await planted(gateway)
  await lock(gateway, '/home/alice/d/a/b', 'ContainerNode')
  const ended = await run(deletion(gateway), target('/home/alice/d'))
  t.same(ended, { phase: 'ABORTED', counts: { successcount: '4', errorcount: '3' }, error: '' })
  t.equal(await status(gateway, '/home/alice/d/a/b/f'), 200)
})

await t.test('row 50: a recursive delete that can do nothing is ERROR without results', async (t) => {
  const gateway = await startGateway(t)
  await planted(gateway)
  const ended = async (body: string, as: Who = 'alice') => run(deletion(gateway, as), body)
  const error = (fault: string) => ({ phase: 'ERROR', counts: {}, error: fault })
  t.same(await ended('target=vos%3A%2F%2Fhttps%3A%2F%2Fexample.org%2Fx'), error('InvalidURI'))
  t.same(await ended('target='), error('InvalidURI'))
  t.same(await ended(target('/home/alice/none')), error('NodeNotFound'))
  t.same(await ended(target('/home/alice/d'), 'bob'), error('PermissionDenied'))
  t.same(await ended(target('/home/alice/d'), 'nobody'), error('PermissionDenied'))
  t.same(await ended(target('')), error('PermissionDenied'))
  t.equal((await deletion(gateway).post('')).status, 400)
  t.equal((await gateway.space.backend.walk(nodePath('/home/alice/d/a/b/h'))).length, 7)
})

await t.test('row 53: names of parameters are told in any case', async (t) => {
  const gateway = await startGateway(t)
  await planted(gateway)
  const jobs = deletion(gateway)
  const job = await jobs.create(target('/home/alice/d').replace('target', 'TARGET'))
  t.equal((await jobs.form(`${job}/phase`, 'PhAsE=RUN')).status, 303)
  t.match((await jobs.get(`${job}?wait=6`)).text, 'final:10')
  await put(gateway, '/home/alice/f')
  const run = await jobs.post(`${target('/home/alice/f')}&Phase=RUN`)
  t.equal(await jobs.phase(run.headers.location ?? ''), 'COMPLETED')
})

await t.test('a recursive delete of a link takes the link itself', async (t) => {
  const gateway = await startGateway(t)
  await planted(gateway)
  const inside = `<vos:properties/><vos:target>${VOS}/home/alice/d</vos:target>`
  await gateway.call('/nodes/home/alice/l', {
    method: 'PUT',
    as: 'alice',
    body: node('/home/alice/l', 'LinkNode', inside),
  })
  t.same((await run(deletion(gateway), target('/home/alice/l'))).counts, { successcount: '1' })
  t.equal(await status(gateway, '/home/alice/d/a/b/f'), 200)
})

await t.test('row 50: recursive properties reach all nodes, inheritPermissions the containers', async (t) => {
  const gateway = await startGateway(t)
  await planted(gateway)
  await lock(gateway, '/home/alice/d/f')
  const inherit = `<vos:property uri="ivo://cadc.nrc.ca/vospace/core#inheritPermissions">true</vos:property>`
  const inside = property('ivo://ivoa.net/vospace/core#groupread', GROUP).replace(
    '</vos:properties>',
    `${inherit}</vos:properties>`,
  )
  const ended = await run(setting(gateway), node('/home/alice/d', 'ContainerNode', inside))
  t.same(ended, { phase: 'COMPLETED', counts: { successcount: '10' }, error: '' })
  for (const path of ['d', 'd/f', 'd/a/b', 'd/a/b/h']) {
    const entry = (await gateway.space.backend.walk(nodePath(`/home/alice/${path}`))).at(-1)
    t.match(entry?.access, { groupRead: [GROUP], inherit: entry?.type === 'container' }, path)
  }
})

await t.test(
  'row 50: recursive properties that some nodes refuse are ABORTED, those that none takes ERROR',
  async (t) => {
    const gateway = await startGateway(t)
    await mkdir(gateway, '/pub/d')
    await set(gateway, '/pub/d', 'ContainerNode', 'ivo://ivoa.net/vospace/core#groupwrite', GROUP)
    await set(gateway, '/pub/d', 'ContainerNode', 'ivo://ivoa.net/vospace/core#ispublic', 'true')
    await mkdir(gateway, '/pub/d/his', 'bob')
    await put(gateway, '/pub/d/his/f', 'bob')
    await put(gateway, '/pub/d/hers')
    const wish = property('urn:x:y', 'z')
    t.same(await run(setting(gateway), node('/pub/d', 'ContainerNode', wish)), {
      phase: 'ABORTED',
      counts: { successcount: '2', errorcount: '1' },
      error: '',
    })
    const error = { phase: 'ERROR', counts: {}, error: 'PermissionDenied' }
    t.same(await run(setting(gateway, 'carol'), node('/pub/d', 'ContainerNode', wish)), error)
    const quota = property('ivo://ivoa.net/vospace/core#quota', '1000')
    t.same(await run(setting(gateway), node('/pub/d', 'ContainerNode', quota)), error)
    t.equal((await setting(gateway).post('<vos:node')).status, 400)
    const elsewhere = node('/pub/d', 'ContainerNode', wish).replace(VOS, 'vos://https://x')
    t.match(await run(setting(gateway), elsewhere), { phase: 'ERROR', error: 'InvalidURI' })
  },
)

await t.test('row 52: jobs of others are out of sight', async (t) => {
  const gateway = await startGateway(t)
  await planted(gateway)
  const job = await deletion(gateway).create(target('/home/alice/d'))
  t.equal((await deletion(gateway, 'bob').get(job)).status, 403)
  t.equal((await deletion(gateway, 'bob').form(`${job}/phase`, 'phase=RUN')).status, 403)
  t.equal(await status(gateway, '/home/alice/d'), 200)
})

await t.test('a recursive delete that is aborted leaves the rest', async (t) => {
  let containers = 0
  const begun = Promise.withResolvers<void>()
  const go = Promise.withResolvers<void>()
  const gateway = await startGateway(t, {
    backend: (memory) =>
      overlay(memory, {
        removeChildren: async function* (...given) {
          if (++containers === 2) begun.resolve()
          if (containers === 2) await go.promise
          yield* memory.removeChildren(...given)
        },
      }),
  })
  await planted(gateway)
  const jobs = deletion(gateway)
  const job = await jobs.create(target('/home/alice/d'))
  const running = jobs.form(`${job}/phase`, 'phase=RUN')
  await begun.promise
  t.equal((await jobs.form(`${job}/phase`, 'phase=ABORT')).status, 303)
  go.resolve()
  await running
  t.equal(await jobs.phase(job), 'ABORTED')
  t.equal(await status(gateway, '/home/alice/d/a/b/f'), 200)
})

await t.test('row 49: the capabilities name both, for those with a certificate', async (t) => {
  const { text } = await (await startGateway(t)).call('/capabilities')
  for (const [name, path] of [
    ['recursive-delete-proto', 'async-delete'],
    ['recursive-nodeprops-proto', 'async-setprops'],
  ]) {
    const capability = new RegExp(`standardID="ivo://ivoa.net/std/VOSpace#${name}">([^]*?)</capability>`).exec(
      text,
    )?.[1]
    t.match(capability, `/karst/${path}</accessURL>`)
    t.match(capability, '<securityMethod standardID="ivo://ivoa.net/sso#tls-with-certificate"/>')
    t.notMatch(capability, '<securityMethod/>')
  }
})
