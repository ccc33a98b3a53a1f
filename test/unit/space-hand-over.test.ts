/** Handing over over interruptions and in a changing tree: nothing forgotten, nothing counted twice, nothing after the right to it is gone. */
import t from 'tap'
import { type Caller } from '../../src/vospace/caller.ts'
import { isFault } from '../../src/vospace/fault.ts'
import { ROOT } from '../../src/vospace/path.ts'
import { firstOwned, handOver } from '../../src/space/hand-over.ts'
import { type Accounts } from '../../src/identity/accounts.ts'
import { ACCOUNTS, accountsKind } from '../../src/space/account-jobs.ts'
import { type Job } from '../../src/vospace/transfer.ts'
import { admin, alice, at, file, folder, link, world, type World } from './space-world.ts'

const outcome = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: unknown) => (isFault(error) ? error.fault : String(error)),
  )

const WHOLE = { from: 'alice', to: 'bob', path: ROOT } as const

async function planted(count: number): Promise<World> {
  const made = await world()
  await folder(made.backend, '/home/alice/sub', { owner: 'alice', locked: true })
  for (let i = 0; i < count; i++)
    await file(made.backend, `/home/alice/sub/f${i}`, { owner: i % 2 === 0 ? 'alice' : 'bob' })
  await link(made.backend, '/home/alice/link', 'sub', { owner: 'alice' })
  return made
}

t.test('however often it is interrupted, every node counts once', async (t) => {
  const { space, backend } = await planted(1400)
  let checkpoint: unknown
  let interrupted = 0
  let done: number | undefined
  for (let budget = 1; done === undefined; budget += 150) {
    const stop = new AbortController()
    let left = budget
    const counting = {
      ...space,
      backend: new Proxy(backend, {
        get(target, key) {
          const value: unknown = Reflect.get(target, key, target)
          if (key !== 'set') return typeof value === 'function' ? (value.bind(target) as unknown) : value
          return async (...words: Parameters<typeof backend.set>) => {
            if (left-- === 0) stop.abort(new Error('killed'))
            return backend.set(...words)
          }
        },
      }),
    }
    const save = (state: object): void => void (checkpoint = JSON.parse(JSON.stringify(state)))
    try {
      done = await handOver(counting, admin, WHOLE, { signal: stop.signal, checkpoint, save })
    } catch (error) {
      if (!isFault(error, 'TransferFailed')) throw error
      interrupted++
    }
  }
  t.ok(interrupted > 2, `${interrupted} times`)
  t.equal(done, 700 + 3, 'files, home, sub, link')
  t.equal(await firstOwned(space, 'alice', ROOT), undefined)
  t.equal(await firstOwned(space, 'bob', at('/home/alice/sub')), '/home/alice/sub')
})

t.test('what is moved to where it has been already is found', async (t) => {
  const { space, backend } = await planted(600)
  await folder(backend, '/home/zz', { owner: 'alice' })
  await file(backend, '/home/zz/last', { owner: 'alice' })
  let moved = false
  const save = (): void => {
    if (moved) return
    moved = true
    void backend.move(at('/home/zz/last'), at('/home/alice/aa'))
  }
  await handOver(space, admin, WHOLE, { save })
  t.equal((await backend.walk(at('/home/alice/aa'))).at(-1)?.access.owner, 'bob')
  t.equal(await firstOwned(space, 'alice', ROOT), undefined)
})

t.test('it ends with the right to it', async (t) => {
  const { space } = await planted(1000)
  const rights = { admin: true }
  const caller: Caller = {
    ...admin,
    get admin() {
      return rights.admin
    },
  }
  let handed = 0
  const progress = (done: number): void => {
    handed = done
    rights.admin = false
  }
  t.equal(await outcome(handOver(space, caller, WHOLE, { save: () => undefined, progress })), 'PermissionDenied')
  t.equal(handed, 256)
  t.ok(await firstOwned(space, 'alice', ROOT))
})

t.test('mounts are told', async (t) => {
  const { space, changes } = await planted(2)
  const before = changes.length
  await handOver(space, admin, { ...WHOLE, path: at('/home/alice/sub') }, { save: () => undefined })
  t.same(
    changes.slice(before).map(({ path, kind }) => `${kind} ${path}`),
    ['attributes /home/alice/sub', 'attributes /home/alice/sub/f0'],
  )
})

t.test('there is something to begin with', async (t) => {
  const { space } = await world()
  const nowhere = handOver(space, admin, { ...WHOLE, path: at('/nowhere') }, { save: () => undefined })
  t.equal(await outcome(nowhere), 'NodeNotFound')
})

t.test('a gateway that stops interrupts the job, and does not end it', async (t) => {
  const { space } = await planted(10)
  const gone = AbortSignal.abort(new Error('the gateway stops'))
  const job = { id: 'j', kind: ACCOUNTS, parameters: { act: 'hand-over', user: 'alice', to: 'bob' } } as unknown as Job
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined }
  const context = { job, caller: admin, signal: gone, checkpoint: undefined, log, save: () => undefined }
  const kind = accountsKind(space, {} as Accounts)
  t.equal(await outcome(kind.run({ ...context, progress: () => undefined })), 'TransferFailed')
  const refused = kind.run({
    ...context,
    caller: alice,
    signal: new AbortController().signal,
    progress: () => undefined,
  })
  t.match(await refused, { phase: 'ERROR', error: /^PermissionDenied: / }, 'what is refused does end it')
})
