// fcntl and flock locks of programs in two mounts of one home, through the kernel and a gateway over HTTPS.
import path from 'node:path'
import t, { type Test } from 'tap'
import { type Gateway, operation, startGateway } from '../http/gateway.ts'
import { needs, fuseSkip } from '../parts.ts'
import { mountOf, type MountedHere } from './client-harness.ts'
import { sleep, until } from './driver-harness.ts'
import { Locker } from './locker.ts'

const skip = (await fuseSkip()) || needs('python3 with sqlite3')

interface Two {
  readonly gateway: Gateway
  readonly mounts: readonly [MountedHere, MountedHere]
  /** Programs with `name` open through the first mount, the second, or whichever. */
  readonly open: (mount: 0 | 1, name?: string) => Promise<Locker>
}

t.setTimeout(600_000)

/** One for all tests that leave the mounts as they are: a name is for one test. */
const shared = skip === false ? await two(t) : undefined
const worldOf = (t: Test): Two => {
  if (shared === undefined) throw new Error('skipped')
  const open: Two['open'] = (mount, name = t.name.replace(/[^a-z]/gi, '').slice(-60)) =>
    opened(t, shared.mounts[mount], name)
  return { ...shared, open }
}

async function opened(t: Test, mount: MountedHere, name: string): Promise<Locker> {
  const locker = new Locker(t)
  t.equal(await locker.open(path.join(mount.dir, name)), null)
  return locker
}

async function two(t: Test): Promise<Two> {
  const gateway = await startGateway(t)
  const mounts = [await mountOf(t, gateway, { ttl: 60 }), await mountOf(t, gateway, { ttl: 60 })] as const
  return { gateway, mounts, open: (mount, name = 'file') => opened(t, mounts[mount], name) }
}

const held = ({ gateway }: Two): number => gateway.store.leases.count()

t.test('fcntl-locks', { skip }, async (t) => {
  const world = worldOf(t)
  const [a, same, b] = [await world.open(0), await world.open(0), await world.open(1)]
  t.equal(await a.lock('write', { start: 10, length: 10 }), null)
  for (const other of [same, b]) {
    t.equal(await other.lock('read', { start: 19, length: 1 }), 'EAGAIN')
    t.equal(await other.lock('write', { start: 20, length: 5 }), null, 'beside it')
    t.equal(await other.lock('unlock'), null)
  }
  t.equal(await a.lock('read', { start: 10, length: 5 }), null, 'half of it is for reading now')
  t.equal(await b.lock('read', { start: 0, length: 15 }), null)
  t.equal(await b.lock('write', { start: 0, length: 11 }), 'EAGAIN')
  const pid = await a.tell({ do: 'pid' })
  t.same(await same.tell({ do: 'test', name: 'f', type: 'write', start: 0, length: 100 }), {
    ...{ type: 'read', start: 10, length: 5 },
    pid,
  })
  t.match(await b.tell({ do: 'test', name: 'f', type: 'write', start: 15 }), { type: 'write', start: 15, length: 5 })
  t.match(await b.tell({ do: 'test', name: 'f', type: 'write', start: 20 }), { type: 'unlock' })
  t.equal(await a.lock('unlock'), null)
  t.equal(await b.lock('unlock'), null)
  t.equal(held(world), 0)
})

t.test('locks-end-with-their-owner', { skip }, async (t) => {
  const world = worldOf(t)
  const [a, b] = [await world.open(0), await world.open(1)]
  await a.lock('write')
  await a.tell({ do: 'dup', name: 'g', of: 'f' })
  t.equal(await b.lock('write'), 'EAGAIN')
  await a.tell({ do: 'close', name: 'g' })
  t.equal(await b.lock('write'), null, 'the other descriptor is open, and the lock is gone: fcntl(2)')
  b.child.kill('SIGKILL')
  await b.exited
  t.equal(await a.lock('write'), null)
})

t.test('flock-locks', { skip }, async (t) => {
  const world = worldOf(t)
  const [a, b] = [await world.open(0), await world.open(1)]
  t.equal(await a.flock('read'), null)
  t.equal(await b.flock('read'), null)
  t.equal(await a.flock('write'), 'EAGAIN')
  t.equal(await b.flock('unlock'), null)
  t.equal(await a.flock('write'), null)
  t.equal(await b.lock('write'), null, 'fcntl locks are another matter')
  await a.tell({ do: 'dup', name: 'g', of: 'f' })
  await a.tell({ do: 'close', name: 'f' })
  t.equal(await b.flock('write'), 'EAGAIN')
  await a.tell({ do: 'close', name: 'g' })
  t.equal(
    await until(
      () => b.flock('write'),
      (said) => said === null,
    ),
    null,
  )
})

t.test('open-file-locks', { skip }, async (t) => {
  const world = worldOf(t)
  const [a, b] = [await world.open(0), await world.open(1)]
  t.equal(await a.lock('write', { ofd: true }), null)
  await a.tell({
    do: 'open',
    name: 'g',
    path: path.join(world.mounts[0].dir, t.name.replace(/[^a-z]/gi, '').slice(-60)),
  })
  t.equal(await a.lock('write', { ofd: true, name: 'g' }), 'EAGAIN')
  await a.tell({ do: 'close', name: 'g' })
  t.equal(await b.lock('write'), 'EAGAIN', 'the close of another does not matter')
  await a.tell({ do: 'close', name: 'f' })
  t.equal(
    await until(
      () => b.lock('write'),
      (said) => said === null,
    ),
    null,
  )
})

t.test('locks-in-turn', { skip }, async (t) => {
  const world = worldOf(t)
  const [a, b, c] = [await world.open(0), await world.open(1), await world.open(0)]
  await a.lock('write')
  const order: string[] = []
  const second = b.lock('write', { wait: true }).then(() => order.push('b'))
  await until(
    () => world.gateway.store.leases.waiting(),
    (count) => count === 1,
  )
  const third = c.lock('write', { wait: true }).then(() => order.push('c'))
  await until(
    () => world.gateway.store.leases.waiting(),
    (count) => count === 2,
  )
  t.same(order, [])
  await a.lock('unlock')
  await second
  t.same(order, ['b'])
  await b.tell({ do: 'close', name: 'f' })
  await third
  t.same(order, ['b', 'c'])
})

t.test('lock-signals', { skip }, async (t) => {
  const world = worldOf(t)
  const [a, b, c] = [await world.open(0), await world.open(1), await world.open(1)]
  await a.lock('read')
  await b.lock('read', { start: 0, length: 10 })
  await b.tell({ do: 'alarm', seconds: 0.5 })
  t.equal(await b.lock('write', { start: 0, length: 20, wait: true }), 'ALARM')
  t.equal(
    await until(
      () => world.gateway.store.leases.waiting(),
      (count) => count === 0,
    ),
    0,
  )
  await a.lock('unlock')
  t.equal(await c.lock('write', { start: 0, length: 5 }), 'EAGAIN', 'it still reads')
  t.equal(
    await until(
      () => c.lock('write', { start: 10 }),
      (said) => said === null,
    ),
    null,
    'and no more than before',
  )
  const waiting = b.lock('write', { start: 10, wait: true })
  await until(
    () => world.gateway.store.leases.waiting(),
    (count) => count === 1,
  )
  b.child.kill('SIGKILL')
  t.equal(await waiting, 'EXITED')
  t.equal(
    await until(
      () => world.gateway.store.leases.waiting(),
      (count) => count === 0,
    ),
    0,
    'who is killed waits no more',
  )
})

t.test('lock-circles', { skip }, async (t) => {
  const world = worldOf(t)
  const [a, b] = [await world.open(0), await world.open(1)]
  await a.lock('write', { start: 0, length: 1 })
  await b.lock('write', { start: 1, length: 1 })
  const waiting = a.lock('write', { start: 1, length: 1, wait: true })
  await until(
    () => world.gateway.store.leases.waiting(),
    (count) => count === 1,
  )
  t.equal(await b.lock('write', { start: 0, length: 1, wait: true }), 'EDEADLOCK')
  await b.lock('unlock')
  t.equal(await waiting, null)
})

t.test('locks-show-what-was-written', { skip }, async (t) => {
  const world = worldOf(t)
  const [a, b] = [await world.open(0), await world.open(1)]
  t.equal(await b.tell({ do: 'read', name: 'f' }), '')
  const [here, there] = world.mounts.map(({ dir }) => path.join(dir, 'journal'))
  t.equal(await b.tell({ do: 'exists', path: there }), false)
  for (let round = 1; round <= 5; round++) {
    await a.lock('write')
    await a.tell({ do: 'write', name: 'f', text: `round ${round}`.repeat(round) })
    t.equal(await b.lock('write'), 'EAGAIN')
    if (round % 2 === 1) await a.tell({ do: 'open', name: 'j', path: here })
    else await a.tell({ do: 'unlink', path: here })
    await a.lock('unlock')
    t.equal(await b.lock('read'), null)
    t.equal(await b.tell({ do: 'read', name: 'f' }), `round ${round}`.repeat(round))
    t.equal(await b.tell({ do: 'exists', path: there }), round % 2 === 1, 'though absence is believed for a minute')
    await b.lock('unlock')
  }
})

t.test('locks-follow-files', { skip }, async (t) => {
  const world = worldOf(t)
  const [a, b] = [await world.open(0, 'named'), await world.open(1, 'named')]
  await a.lock('write')
  await a.tell({
    do: 'rename',
    from: path.join(world.mounts[0].dir, 'file'),
    to: path.join(world.mounts[0].dir, 'other'),
  })
  t.equal(await b.lock('write'), 'EAGAIN')
  const [c, same] = [await world.open(0, 'gone'), await world.open(0, 'gone')]
  await c.tell({ do: 'unlink', path: path.join(world.mounts[0].dir, 'gone') })
  t.equal(await c.lock('write'), null)
  t.equal(await same.lock('write'), 'EAGAIN')
  await c.lock('unlock')
  t.equal(await same.lock('write'), null)
})

t.test('lock-permission', { skip }, async (t) => {
  const gateway = await startGateway(t)
  await gateway.call('/files/pub/f', { method: 'PUT', as: 'alice', body: 'x' })
  const body = JSON.stringify({ path: '/pub/f', mode: 0o644 })
  await gateway.call('/fs/v1/setattr', { method: 'POST', as: 'alice', headers: operation(), body })
  const mount = await mountOf(t, gateway, { as: 'bob', root: '/pub' })
  const locker = new Locker(t)
  t.equal(await locker.open(path.join(mount.dir, 'f'), 'f', true), null)
  t.equal(await locker.flock('read'), null)
  t.equal(await locker.flock('write'), 'EACCES')
})

t.test('lock-leases', { skip }, async (t) => {
  const world = await two(t)
  const [a, b] = [await world.open(0), await world.open(1)]
  await a.lock('write')
  world.mounts[0].child.kill('SIGKILL')
  t.equal(await b.lock('write'), 'EAGAIN')
  t.equal(await b.lock('write', { wait: true }), null)
  const third = await mountOf(t, world.gateway)
  const c = new Locker(t)
  await c.open(path.join(third.dir, 'file'))
  t.equal(await c.lock('write'), 'EAGAIN')
  await world.mounts[1].ask('unmount')
  b.child.kill()
  t.equal(
    await until(
      () => c.lock('write'),
      (said) => said === null,
    ),
    null,
  )
})

t.test('lost-locks', { skip }, async (t) => {
  const world = await two(t)
  const [a, b] = [await world.open(0), await world.open(1)]
  await a.lock('write')
  await a.tell({ do: 'write', name: 'f', text: 'written by a, not sent' })
  world.mounts[0].child.kill('SIGSTOP')
  t.equal(await b.lock('write', { wait: true }), null)
  await b.tell({ do: 'write', name: 'f', text: 'b was here' })
  await b.lock('unlock')
  world.mounts[0].child.kill('SIGCONT')
  t.equal(await a.tell({ do: 'fsync', name: 'f' }), 'EIO')
  t.equal(await a.tell({ do: 'write', name: 'f', text: 'more' }), 'EIO')
  t.equal(await a.lock('write'), 'EIO')
  t.equal(await a.tell({ do: 'close', name: 'f' }), 'EIO')
  t.equal((await world.gateway.call('/files/home/alice/file', { as: 'alice' })).text, 'b was here')
  t.match(await world.mounts[0].ask('log'), /its lock was lost/)
  await sleep(0)
  const again = await world.open(0)
  t.equal(await again.lock('write'), null, 'opened anew it can be locked again')
})
