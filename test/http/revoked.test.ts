/** Who is taken out of a group while a job of theirs is at work: the rest of it is refused. */
import t from 'tap'
import { type Backend } from '../../src/backend/backend.ts'
import { type Gateway, GROUP, node, overlay, property, startGateway, VOS } from './gateway.ts'
import { copyDocument, JobCalls } from './job-calls.ts'

const CORE = 'ivo://ivoa.net/vospace/core#'
const NODES = 8

/** Where the work stops until it is told to go on: at the `at`th call. */
class Gate {
  readonly reached = Promise.withResolvers<void>()
  readonly open = Promise.withResolvers<void>()
  #left: number

  constructor(at: number) {
    this.#left = at
  }
  async pass(): Promise<void> {
    if (--this.#left !== 0) return
    this.reached.resolve()
    await this.open.promise
  }
}

/** `/pub/d` of alice's, which the group may read and write, with files or containers in it. */
async function shared(gateway: Gateway, what: 'files' | 'containers' = 'files'): Promise<void> {
  const groups = property(`${CORE}groupwrite`, GROUP).replace(
    '</vos:properties>',
    `<vos:property uri="${CORE}groupread">${GROUP}</vos:property></vos:properties>`,
  )
  const inherit = groups.replace(
    '</vos:properties>',
    '<vos:property uri="ivo://cadc.nrc.ca/vospace/core#inheritPermissions">true</vos:property></vos:properties>',
  )
  const body = node('/pub/d', 'ContainerNode', inherit)
  await gateway.call('/nodes/pub/d', { method: 'PUT', as: 'alice', body })
  for (let n = 0; n < NODES; n++) {
    const below = what === 'files' ? 'x' : node(`/pub/d/${n}`)
    await gateway.call(`/${what === 'files' ? 'files' : 'nodes'}/pub/d/${n}`, {
      method: 'PUT',
      as: 'alice',
      body: below,
    })
  }
}

async function names(gateway: Gateway, path: string): Promise<string[]> {
  const { text } = await gateway.call(`/nodes${path}`, { as: path.startsWith('/home/bob') ? 'bob' : 'alice' })
  return [...text.matchAll(/<vos:node uri="[^"]*\/([^"/]*)"/g)].map(([, name = '']) => name)
}

/** Runs bob's job, takes him out of the group at the gate, and answers how it ended. */
async function revoked(gateway: Gateway, gate: Gate, jobs: JobCalls, body: string) {
  const job = await jobs.create(body)
  const running = jobs.form(`${job}/phase`, 'PHASE=RUN')
  await gate.reached.promise
  gateway.store.groups.remove(GROUP, 'bob')
  // what a job knows of its owner may be a tenth of a second old
  await new Promise((done) => setTimeout(done, 300))
  gate.open.resolve()
  await running
  const { text } = await jobs.get(`${job}?WAIT=30`)
  const counts = [...text.matchAll(/<uws:result id="(\w+)" xlink:href="final:(\d+)"\/>/g)]
  const error = await jobs.get(`${job}/error`)
  const found = Object.fromEntries(counts.map(([, id = '', count = '']) => [id, Number(count)]))
  return { phase: await jobs.phase(job), counts: found, error: error.status === 200 ? error.text : '' }
}

const gated = (gate: Gate, method: 'remove' | 'set' | 'copy') => ({
  backend: (memory: Backend) =>
    overlay(memory, {
      [method]: async (...given: never[]) => {
        await gate.pass()
        return (memory[method] as (...given: never[]) => unknown).apply(memory, given)
      },
    }),
})

await t.test('a recursive delete: each node that they may not delete any more is an error', async (t) => {
  const gate = new Gate(3)
  const gateway = await startGateway(t, gated(gate, 'remove'))
  // leaves go a page at a time, containers one by one
  await shared(gateway, 'containers')
  const jobs = new JobCalls(gateway, 'bob', 'async-delete')
  await gateway.call('/nodes/pub', {
    method: 'POST',
    as: 'alice',
    body: node('/pub', 'ContainerNode', property(`${CORE}groupwrite`, GROUP)),
  })
  const ended = await revoked(gateway, gate, jobs, `target=${encodeURIComponent(`${VOS}/pub/d`)}`)
  t.same(ended, { phase: 'ABORTED', counts: { successcount: 3, errorcount: NODES - 3 }, error: '' })
  t.equal((await names(gateway, '/pub/d')).length, NODES - 3)
})

await t.test('recursive properties: each node that they may not change any more is an error', async (t) => {
  const gate = new Gate(4)
  const gateway = await startGateway(t, gated(gate, 'set'))
  await shared(gateway)
  const jobs = new JobCalls(gateway, 'bob', 'async-setprops')
  const ended = await revoked(gateway, gate, jobs, node('/pub/d', 'ContainerNode', property('urn:x:y', 'z')))
  // the container first; the gate is in the midst of a change that goes through
  t.same(ended, { phase: 'ABORTED', counts: { successcount: 4, errorcount: NODES + 1 - 4 }, error: '' })
})

await t.test('a copy: it is refused, and what it has made is taken back', async (t) => {
  const gate = new Gate(3)
  const gateway = await startGateway(t, gated(gate, 'copy'))
  await shared(gateway)
  const before = await names(gateway, '/home/bob')
  const ended = await revoked(gateway, gate, new JobCalls(gateway, 'bob'), copyDocument('/pub/d', '/home/bob/d'))
  t.match(ended, { phase: 'ERROR', error: 'PermissionDenied' })
  t.same(await names(gateway, '/home/bob'), before)
})
