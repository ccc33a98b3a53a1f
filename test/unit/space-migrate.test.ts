/** A container brought to another storage profile: whole, over a crash at every step, with nothing lost of what is written meanwhile. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type Backend } from '../../src/backend/backend.ts'
import { countedIds } from '../../src/backend/counted-ids.ts'
import { MemoryBackend } from '../../src/backend/memory.ts'
import { PosixBackend } from '../../src/backend/posix/posix.ts'
import { RoutedBackend } from '../../src/backend/routed.ts'
import { Routes } from '../../src/backend/routes.ts'
import { type Ending, type JobContext } from '../../src/jobs/kind.ts'
import { carryTree } from '../../src/space/carry.ts'
import { type Binds, migrationKind } from '../../src/space/migrate.ts'
import { type Space } from '../../src/space/space.ts'
import { type Caller } from '../../src/vospace/caller.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { type NodePath } from '../../src/vospace/path.ts'
import { directory, ids as posixIds } from '../conformance/posix-tree.ts'
import { admin, alice, at, file, folder, link, world } from './space-world.ts'

class Crash extends Error {}
const ids = countedIds()
const NAMES = ['/a', '/a/d', '/a/d/g', '/a/f', '/a/l']

interface Two {
  readonly space: Space
  readonly routed: RoutedBackend
  readonly main: MemoryBackend
  readonly fast: MemoryBackend
  readonly kept: string[]
}

async function two(change: (backend: MemoryBackend) => Backend = (same) => same): Promise<Two> {
  const { space, backend: main } = await world()
  const { allocationParents } = space.rules
  const fast = new MemoryBackend({ ids, allocationParents })
  const kept: string[] = []
  const keep = (path: string, name: string): void => void kept.push(`${path} ${name}`)
  const backends = new Map([['main', change(main)], ['fast', change(fast)]]) // prettier-ignore
  const routed = new RoutedBackend(new Routes(backends, [{ path: at('/'), backend: 'main' }]), { allocationParents, keep }) // prettier-ignore
  await routed.start()
  await folder(main, '/home/alice/a', { owner: 'alice' })
  await folder(main, '/home/alice/a/d', { owner: 'bob', isPublic: true })
  await file(main, '/home/alice/a/f', { owner: 'alice' }, 'bytes', new Map([['k', 'v']]))
  await file(main, '/home/alice/a/d/g', { owner: 'bob' }, 'x'.repeat(100_000))
  await link(main, '/home/alice/a/l', 'd/g', { owner: 'alice' })
  return { space: { ...space, backend: routed }, routed, main, fast, kept }
}

async function names(backend: Backend, path = '/home/alice'): Promise<string[]> {
  if ((await backend.walk(at(path))).at(-1)?.path !== path) return []
  const found: string[] = []
  for await (const entry of backend.list(at(path))) {
    found.push(entry.path.slice('/home/alice'.length))
    if (entry.type === 'container') found.push(...(await names(backend, entry.path)))
  }
  return found
}

interface Running {
  readonly caller?: Caller
  readonly profile?: string
  readonly target?: string
  readonly signal?: AbortSignal
  readonly force?: boolean
}

/** A job whose checkpoint outlives its runs. */
class Migration {
  checkpoint: unknown
  done = 0
  readonly binds: Binds

  constructor(binds: Binds = { over: () => [] }) {
    this.binds = binds
  }

  async run(space: Space, { caller = admin, profile = 'fast', target = '/home/alice', signal, force = false }: Running = {}): Promise<Ending> {
    return migrationKind(space, this.binds).run(this.context({ caller, profile, target, signal: signal ?? new AbortController().signal, force }))
  }

  async undo(space: Space): Promise<void> {
    if (this.checkpoint !== undefined) {
      await migrationKind(space, this.binds).undo?.(this.context({ caller: admin, profile: '', target: '/', signal: new AbortController().signal, force: false }))
    }
  }

  context({ caller, profile, target, signal, force }: Required<Running>): JobContext {
    const parameters = { target: `vos://karst.local~karst${target}`, profile, ...(force && { force: 'true' }) }
    const job = { parameters } as unknown as JobContext['job']
    const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }
    return {
      job, caller, signal, checkpoint: this.checkpoint, log: quiet,
      save: (state) => void (this.checkpoint = JSON.parse(JSON.stringify(state))),
      progress: (done) => void (this.done = done),
    }
  }
} // prettier-ignore

void t.test('a container is brought over, and the old one is gone', async (t) => {
  const { space, routed, main, fast, kept } = await two()
  const job = new Migration()
  t.match(await job.run(space), { results: [{ href: 'final:fast' }] })
  t.same([await names(routed), await names(fast), await names(main)], [NAMES, NAMES, []])
  t.same(kept, ['/home/alice fast'])
  t.equal(job.done, 6)
  t.equal(routed.profiles.of(at('/home/alice/a/f')), 'fast')
  t.match((await routed.walk(at('/home/alice/a/d'))).at(-1)?.access, { owner: 'bob', isPublic: true })
  t.match(await job.run(space, { profile: 'main' }), {}, 'a job is done once')
  t.match(await new Migration().run(space, { profile: 'main' }), { results: [{ href: 'final:main' }] })
  t.same([await names(routed), await names(fast), await names(main)], [NAMES, [], NAMES], 'and back')
})

void t.test('a job that dies at any step goes on, or is undone', async (t) => {
  for (const isUndone of [false, true]) {
    for (let nth = 0, isWhole = false; !isWhole; nth++) {
      const life = { left: Infinity }
      const { space, routed, main, fast } = await two((backend) => mortal(backend, life))
      const job = new Migration()
      const abort = new AbortController()
      life.left = nth
      const died: unknown = await job.run(space, { signal: abort.signal }).catch((error: unknown) => error)
      isWhole = !(died instanceof Crash)
      life.left = Infinity
      t.same(await names(routed), NAMES, `seen whole after step ${nth}`)
      if (isUndone) await job.undo(space)
      else if (!isWhole) await job.run(space)
      t.same(await names(routed), NAMES, `and when it has ${isUndone ? 'been undone' : 'gone on'}`)
      const isThere = routed.profiles.of(at('/home/alice')) === 'fast'
      if (!isUndone) t.ok(isThere)
      t.same(await names(isThere ? fast : main), NAMES)
      if (!isUndone || !isThere) t.same(await names(isThere ? main : fast), [])
      if (nth > 100) throw new Error('it never ends')
    }
  }
})

/** A storage that dies before its nth change. */
function mortal(inner: MemoryBackend, life: { left: number }): Backend {
  return new Proxy<Backend>(inner, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key)
      if (typeof value !== 'function') return value
      const call = value as (...args: unknown[]) => unknown
      if (!['make', 'put', 'set', 'move', 'remove'].includes(String(key))) return call.bind(target)
      return async (...args: unknown[]) => {
        if (life.left-- <= 0) throw new Crash()
        return call.apply(target, args)
      }
    },
  })
}

void t.test('what is written while it is brought over comes along', async (t) => {
  const { space, routed } = await two()
  const hold = routed.profiles.hold.bind(routed.profiles)
  let refused: unknown
  routed.profiles.hold = async (path) => {
    await routed.remove(at('/home/alice/a/f'), 'data')
    const access = (await routed.walk(at('/home/alice/a'))).at(-1)?.access
    if (access === undefined) throw new Error('it is gone')
    await routed.make(at('/home/alice/a/late'), { type: 'container', access, mode: 0o750 })
    const held = await hold(path)
    refused = await routed.remove(at('/home/alice/a/late'), 'container').catch((error: unknown) => error)
    return held
  }
  await new Migration().run(space)
  t.same(await names(routed), ['/a', '/a/d', '/a/d/g', '/a/l', '/a/late'])
  t.match(refused, { fault: 'NodeBusy' })
  await routed.remove(at('/home/alice/a/late'), 'container')
})

void t.test('what cannot be is said, and nothing is changed', async (t) => {
  const { space, routed, fast, main } = await two()
  const said = async (running: Running): Promise<string> => (await new Migration().run(space, running)).error ?? ''
  t.match(await said({ caller: alice }), /PermissionDenied/)
  t.match(await said({ profile: 'none' }), /there is no profile none; there is main, fast/)
  t.match(await said({ target: '/' }), /the root stays/)
  t.match(await said({ target: '/home/alice/a/f' }), /no container/)
  t.match(await said({ target: '/home/none' }), /NodeNotFound/)
  await folder(fast, '/home')
  await folder(fast, '/home/alice')
  t.match(await said({}), /fast has something at \/home\/alice already/)
  await fast.remove(at('/home/alice'), 'container')
  const node = (await main.walk(at('/home/alice/a/f'))).at(-1)
  await routed.trash?.put(at('/home/alice/a/f'), { id: node?.id ?? '' }, { id: 'x', path: at('/home/alice/a/f'), type: 'data', deleted: 1 }) // prettier-ignore
  t.match(await said({}), /NodeBusy: \/home\/alice\/a\/f waits in the trash/)
  await routed.trash?.restore(at('/home/alice'), 'x', at('/home/alice/a/f'))
  t.equal(await said({ target: '/home/alice/a' }), '')
  t.match(await said({}), /below \/home\/alice another storage begins/)
  t.equal(await said({ target: '/home/alice/a' }), '', 'where it is already')
  t.same(await names(routed), NAMES)
  const single = { ...space, backend: main }
  t.match((await new Migration().run(single)).error, /there is one storage here/)
})

void t.test('what somebody has as a bind mount stays, unless it is forced', async (t) => {
  const { space, routed, fast } = await two()
  const bind = { path: at('/home/alice/a'), user: 'alice', session: 's', expires: 1_000 }
  const bound = new Migration({ over: () => [bind, bind] })
  const { error } = await bound.run(space)
  t.match(
    error,
    /NodeBusy: \/home\/alice\/a is bind mounted by session s of alice \(and 1 more\).* until 1970-01-01T00:00:01/,
  )
  t.equal(bound.checkpoint, undefined)
  let asked = 0
  const meanwhile = new Migration({ over: () => (asked++ === 0 ? [] : [{ ...bind, session: '' }]) })
  t.match((await meanwhile.run(space)).error, /by a mount of alice/, 'terms that were given while the bytes came over')
  t.equal(asked, 2)
  t.same([await names(routed), await names(fast)], [NAMES, []])
  t.match(await bound.run(space, { force: true }), { results: [{ href: 'final:fast' }] })
  t.same(await names(fast), NAMES)
})

void t.test('two that bring the same at once, or one within the other, lose nothing', async (t) => {
  for (const other of ['/home/alice', '/home', '/home/alice/a']) {
    const { space, routed } = await two(slow)
    const said = await Promise.all([new Migration().run(space), new Migration().run(space, { target: other })])
    t.same(await names(routed), NAMES, other)
    t.same(said.map(({ error = 'done' }) => error.slice(0, 8)).sort(), ['NodeBusy', 'done'])
  }
})

/** A storage that takes its time, so that two who ask it come one between the other. */
function slow(inner: MemoryBackend): Backend {
  return new Proxy<Backend>(inner, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key)
      if (key !== 'walk') return typeof value === 'function' ? (value.bind(target) as unknown) : value
      return async (path: NodePath) => {
        await new Promise((resolve) => setTimeout(resolve, 1))
        return target.walk(path)
      }
    },
  })
}

void t.test('a job whose source is gone takes nothing away from where it had brought it', async (t) => {
  const { space, routed, main, fast } = await two()
  const first = new Migration()
  await first.run(space)
  const late = new Migration()
  late.checkpoint = { path: '/home/alice', from: 'main', to: 'fast' }
  t.match(await late.run(space), { results: [{ href: 'final:fast' }] })
  const place = at('/home/alice')
  const again = carryTree(
    { backend: main, path: place },
    { backend: fast, path: place },
    { signal: new AbortController().signal },
  )
  t.match(await again.catch((error: unknown) => error), { fault: 'NodeNotFound' })
  t.same(await names(routed), NAMES)
})

void t.test('of one that is refused nothing is left, and it can be asked for again', async (t) => {
  const { space, routed, main, fast } = await two()
  const put = fast.put.bind(fast)
  fast.put = async (path, body, options) => {
    if (path.endsWith('/g')) throw new Fault('QuotaExceeded', 'it is full')
    return put(path, body, options)
  }
  t.match(await new Migration().run(space), { phase: 'ERROR', error: 'QuotaExceeded: it is full' })
  t.same([await names(routed), await names(fast), await names(main)], [NAMES, [], NAMES])
  fast.put = put
  t.match(await new Migration().run(space), { results: [{ href: 'final:fast' }] })
  t.same(await names(routed), NAMES)
})

void t.test('a trash within what is brought keeps it where it is', async (t) => {
  const { space, routed, main } = await two()
  const [id, path] = [(await main.walk(at('/home/alice/a/f'))).at(-1)?.id ?? '', at('/home/alice/a/f')]
  await main.trash.put(path, { id }, { id: 'x', path, type: 'data', deleted: 1 })
  t.match(await new Migration().run(space, { target: '/home' }), {
    error: /NodeBusy: \/home\/alice\/a\/f waits in the trash/,
  })
  await main.trash.restore(at('/home/alice'), 'x', path)
  t.same(await names(routed), NAMES)
})

void t.test('a quota comes along, where the other storage has quotas', async (t) => {
  const { space, routed, main, fast } = await two()
  await main.setQuota(at('/home/alice'), 1_000_000)
  await new Migration().run(space)
  t.match(await routed.usage(at('/home/alice/a')), { quota: 1_000_000 })
  t.same((await fast.usage(at('/home'))).quota, null, 'and there alone')
})

void t.test(
  'those of allocations within it come along, and one that cannot stand there keeps nothing back',
  async (t) => {
    const { space, main, fast } = await two()
    await main.setQuota(at('/home/alice'), 1_000_000)
    t.notOk((await new Migration().run(space, { target: '/home' })).error)
    t.equal((await fast.usage(at('/home/alice/a'))).quota, 1_000_000)
    t.equal((await fast.usage(at('/home/bob'))).quota, null)
    const none = async (): Promise<never> => {
      throw new Fault('OperationNotSupported', 'not on that container')
    }
    const other = await two()
    Object.assign(other.fast, { setQuota: none })
    await other.main.setQuota(at('/home/alice'), 1_000_000)
    t.notOk((await new Migration().run(other.space)).error)
    t.same(await names(other.fast), NAMES)
  },
)

void t.test('a tree with names that no node can have stays', async (t) => {
  const { dir: root, dispose } = directory()
  const backend = new PosixBackend({ root, ids: posixIds, mode: 'unprivileged', allocationParents: [] })
  const { space, main } = await two()
  const lines = [{ path: at('/'), backend: 'main' }, { path: at('/old'), backend: 'old' }] // prettier-ignore
  const routed = new RoutedBackend(new Routes(new Map<string, Backend>([['main', main], ['old', backend]]), lines)) // prettier-ignore
  await routed.start()
  mkdirSync(join(root, 'old/data'))
  writeFileSync(Buffer.concat([Buffer.from(join(root, 'old/data/caf')), Buffer.from([0xe9])]), 'bytes')
  const job = new Migration()
  t.match(await job.run({ ...space, backend: routed }, { target: '/old/data', profile: 'main' }), {
    error: /OperationNotSupported: 1 in \/old\/data can be no node/,
  })
  t.same(readdirSync(join(root, 'old/data')).length, 1)
  t.same((await main.walk(at('/old/data'))).at(-1)?.path, '/old')
  await routed.stop()
  dispose()
})
