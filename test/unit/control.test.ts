/** How a driver is asked, and what becomes of what nobody hears. */
import { connect } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { askDriver, type ControlReply, type ControlRequest, listenForControl, reachable } from '../../mount/control.ts'
import { recordSupervisor, socketOf } from '../../mount/driver-place.ts'
import { agreeByDriver, type AgreementRequest } from '../../mount/session/agreement-request.ts'

const OK: ControlReply & { ok: true } = { ok: true, pid: 1, mounts: [], left: [] }

interface Told {
  readonly begun: Promise<ControlRequest>
  readonly unheard: Promise<ControlRequest>
}

/** A driver that answers so. */
async function driver(t: Test, state: string, answer: ControlReply | Promise<ControlReply>): Promise<Told> {
  const [begun, unheard] = [Promise.withResolvers<ControlRequest>(), Promise.withResolvers<ControlRequest>()]
  const replying = (request: ControlRequest): Promise<ControlReply> => {
    begun.resolve(request)
    return Promise.resolve(answer)
  }
  const server = await listenForControl(socketOf(state), replying, (request) => unheard.resolve(request))
  t.teardown(() => server.close())
  recordSupervisor(state, process.pid)
  return { begun: begun.promise, unheard: unheard.promise }
}

const REQUEST: AgreementRequest = {
  ...{ name: { session: 'one', member: 'a' }, plan: [{ partition: 'home' }], binds: [] },
  ...{ url: 'https://localhost/karst', proxyHours: 1 },
}

t.test('what is asked for begins at once, and is answered when whoever asked has noted it', async (t) => {
  const state = t.testdir()
  const { begun } = await driver(t, state, OK)
  const noted = Promise.withResolvers<undefined>()
  let isAnswered = false
  const reply = askDriver(socketOf(state), { command: 'status' }, 10_000, noted.promise)
  void reply.then(() => (isAnswered = true))
  t.same(await begun, { command: 'status' })
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.notOk(isAnswered)
  noted.resolve(undefined)
  t.same(await reply, OK)
})

t.test('the driver is told of an answer that nobody hears', async (t) => {
  const state = t.testdir()
  const answer = Promise.withResolvers<ControlReply>()
  const { begun, unheard } = await driver(t, state, answer.promise)
  const place = reachable(socketOf(state))
  t.teardown(place.release)
  const socket = connect(place.path)
  socket.write(`${JSON.stringify({ command: 'agree', request: REQUEST })}\n`)
  await begun
  const gone = new Promise((resolve) => socket.once('close', resolve))
  socket.destroy()
  await gone
  answer.resolve(OK)
  t.same(await unheard, { command: 'agree', request: REQUEST })
})

t.test('a session agrees by itself where there is no driver, or one of an older version', async (t) => {
  const noted = Promise.resolve()
  t.equal(await agreeByDriver(join(t.testdir(), 'none'), REQUEST, noted), undefined)
  const old = t.testdir({ old: {}, refusing: {}, good: {} })
  await driver(t, join(old, 'old'), OK)
  t.equal(await agreeByDriver(join(old, 'old'), REQUEST, noted), undefined)
  await driver(t, join(old, 'refusing'), { ok: false, error: 'NotAuthenticated: no', code: 'EACCES' })
  await t.rejects(agreeByDriver(join(old, 'refusing'), REQUEST, noted), { message: 'NotAuthenticated: no' })
  const agreement = { outcomes: [], authorities: [] }
  await driver(t, join(old, 'good'), { ...OK, agreement })
  t.same(await agreeByDriver(join(old, 'good'), REQUEST, noted), agreement)
})
