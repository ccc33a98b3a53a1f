/** How a driver is asked, and what becomes of what nobody hears. */
import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { askDriver, type ControlReply, type ControlRequest, listenForControl, reachable } from '../../mount/control.ts'
import { recordSupervisor, socketOf } from '../../mount/driver-place.ts'
import { agreeByDriver, type AgreementRequest, isSameHere, marksOf } from '../../mount/session/agreement-request.ts'

const OK: ControlReply & { ok: true } = { ok: true, pid: 1, mounts: [], left: [] }

interface Told {
  readonly begun: Promise<ControlRequest>
  readonly unheard: Promise<ControlRequest>
}

/** A driver that answers so. */
async function driver(
  t: Test,
  state: string,
  answer: ControlReply | Promise<ControlReply>,
  signal?: AbortSignal,
): Promise<Told> {
  const [begun, unheard] = [Promise.withResolvers<ControlRequest>(), Promise.withResolvers<ControlRequest>()]
  const replying = (request: ControlRequest): Promise<ControlReply> => {
    begun.resolve(request)
    return Promise.resolve(answer)
  }
  const server = await listenForControl(socketOf(state), replying, (request) => unheard.resolve(request), signal)
  t.teardown(() => server.close())
  recordSupervisor(state, process.pid)
  return { begun: begun.promise, unheard: unheard.promise }
}

const REQUEST: AgreementRequest = {
  ...{ name: { session: 'one', member: 'a' }, plan: [{ partition: 'home' }], binds: [] },
  ...{ url: 'https://localhost/karst', proxyHours: 1, marks: {} },
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

for (const [what, result] of [
  ['an answer', OK],
  ['a refusal', { ok: false, error: 'no', code: 'EIO' }],
] as const)
  t.test(`the driver is told of ${what} that nobody hears`, async (t) => {
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
    answer.resolve(result)
    t.same(await unheard, { command: 'agree', request: REQUEST })
  })

t.test('a driver that is late refuses: nobody does what it may yet do, and undo', async (t) => {
  const state = t.testdir()
  const answer = Promise.withResolvers<ControlReply>()
  const { unheard } = await driver(t, state, answer.promise)
  const request = { command: 'agree', request: REQUEST } as const
  const late = await askDriver(socketOf(state), request, 100, Promise.resolve())
  t.same(late, { ok: false, error: 'the gateway has not answered in 0.1 s: is it running?', code: 'ETIMEDOUT' })
  answer.resolve(OK)
  t.same(await unheard, request)
  const other = t.testdir({ never: {} })
  await driver(t, join(other, 'never'), new Promise(() => undefined))
  t.equal(await askDriver(socketOf(join(other, 'never')), { command: 'status' }, 100), undefined)
})

t.test('who cannot note what it asks for hears nothing more, and the driver is told', async (t) => {
  const state = t.testdir()
  const { begun, unheard } = await driver(t, state, OK)
  const noted = Promise.withResolvers<undefined>()
  const reply = askDriver(socketOf(state), { command: 'agree', request: REQUEST }, 10_000, noted.promise)
  await begun
  noted.reject(new Error('no room'))
  t.equal(await reply, undefined)
  t.same(await unheard, { command: 'agree', request: REQUEST })
})

t.test('a driver that ends hangs up on a session, which agrees by itself, and gives nothing back', async (t) => {
  const [state, ending] = [t.testdir(), new AbortController()]
  const answer = Promise.withResolvers<ControlReply>()
  const { begun, unheard } = await driver(t, state, answer.promise, ending.signal)
  let isGivenBack = false
  void unheard.then(() => (isGivenBack = true))
  const agreement = agreeByDriver(state, REQUEST, Promise.resolve())
  await begun
  ending.abort()
  t.equal(await agreement, undefined)
  answer.resolve(OK)
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.notOk(isGivenBack)
})

t.test('the files of a session are the same for the driver, or it does nothing', (t) => {
  const dir = t.testdir({ proxy: 'mine', ca: 'theirs' })
  const files = { certificate: join(dir, 'proxy'), ca: join(dir, 'ca') }
  const request = { ...REQUEST, ...files, marks: marksOf(files) }
  t.ok(isSameHere(request))
  t.notOk(isSameHere({ ...request, marks: {} }))
  writeFileSync(join(dir, 'another'), 'not mine')
  renameSync(join(dir, 'another'), files.certificate)
  t.notOk(isSameHere(request), 'another file')
  rmSync(files.certificate)
  t.notOk(isSameHere(request), 'none')
  t.notOk(isSameHere({ ...request, marks: marksOf(files) }), 'none for either')
  t.end()
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
