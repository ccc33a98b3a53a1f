/** Mounts of one driver that read the same content: it is fetched once, and nobody has what the gateway has not let them have. */
import { createHash } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { BLOCK, BlockStore } from '../../mount/block-store.ts'
import { type Remote, type RemoteRef } from '../../mount/remote.ts'
import { BELIEVED, SharedBytes } from '../../mount/shared-bytes.ts'
import { readBytes } from '../../mount/read-bytes.ts'
import { type SeenEntry } from '../../src/codec/fs-v1.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { nodePath } from '../../src/vospace/path.ts'

const NEVER = (): number => -Infinity

/** Any byte of any file: what it is of, and where. */
function contentOf(id: string, version: string, start: number, end: number): Buffer {
  const seed = createHash('sha256').update(`${id} ${version}`).digest()
  const bytes = Buffer.alloc(end - start)
  for (let at = start; at < end; at++) bytes[at - start] = (seed[at % 32] ?? 0) ^ ((at >> 5) * 31)
  return bytes
}

/** A gateway with files of any length; `may`: whom it lets read. */
class Gateway {
  sent = 0
  asked = 0
  version = '1'
  pause = 0
  readonly forbidden = new Set<string>()

  remote(user: string): Pick<Remote, 'read' | 'entry'> {
    return {
      entry: async ({ id = '', path }: RemoteRef) => {
        this.asked++
        return { id, path, contentVersion: this.version, readable: !this.forbidden.has(user) } as SeenEntry
      },
      read: async ({ id = '' }, start, into, { ifContentVersion, signal }) => {
        await sleep(this.pause, undefined, { signal })
        if (this.forbidden.has(user)) throw new Fault('PermissionDenied', 'not theirs')
        if (ifContentVersion !== this.version) throw new Fault('PreconditionFailed', 'another version')
        this.sent += into.length
        into.begin()
        into.write(contentOf(id, this.version, start, start + into.length))
      },
    }
  }
}

function begun(t: Test, limit = 64 * BLOCK, clock?: () => number) {
  const gateway = new Gateway()
  const dir = t.testdir()
  const shared = new SharedBytes(new BlockStore(dir, limit, (line) => t.fail(line)), clock)
  t.teardown(() => shared.close())
  const mount = (user: string) => shared.of('https://g', gateway.remote(user))
  return { gateway, shared, mount, dir }
}

const ref = (id: string): RemoteRef => ({ path: nodePath(`/${id}`), id })

t.test('what one has fetched others do not fetch, in whatever pieces they ask', async (t) => {
  const { gateway, shared, mount, dir } = begun(t)
  const read = (user: string, start: number, end: number): Promise<Buffer> =>
    readBytes(mount(user).reader(NEVER), ref('a'), { start, end: end - 1 }, { ifContentVersion: '1' })
  const pieces = [0, 1000, BLOCK, BLOCK + 7, 3 * BLOCK, 5 * BLOCK - 3]
  for (const [i, start] of pieces.slice(0, -1).entries())
    t.same(await read('alice', start, pieces[i + 1] ?? 0), contentOf('a', '1', start, pieces[i + 1] ?? 0))
  t.equal(gateway.sent, 5 * BLOCK - 3)
  t.equal(gateway.asked, 0, 'who has fetched it has been let')
  await sleep(20)
  for (const [start, end] of [
    [0, 5 * BLOCK - 3],
    [999, 1001],
    [BLOCK - 1, 4 * BLOCK],
  ] as const)
    t.same(await read('bob', start, end), contentOf('a', '1', start, end))
  t.equal(gateway.sent, 5 * BLOCK - 3)
  t.same(await read('bob', 4 * BLOCK, 6 * BLOCK), contentOf('a', '1', 4 * BLOCK, 6 * BLOCK))
  t.equal(gateway.sent, 6 * BLOCK, 'and what is missing is fetched')
  t.equal(shared.used, 6 * BLOCK)
  t.same(readdirSync(dir), [], 'nothing of it has a name')
})

t.test('what is under way is waited for, and fetched anew by those who wait when it fails', async (t) => {
  const { gateway, mount } = begun(t)
  gateway.pause = 30
  const users = Array.from({ length: 20 }, (_, i) => mount(`u${i}`).reader(() => performance.now()))
  const range = { start: 0, end: BLOCK - 1 }
  const all = await Promise.all(users.map((one) => readBytes(one, ref('a'), range, { ifContentVersion: '1' })))
  for (const bytes of all) t.same(bytes, contentOf('a', '1', 0, BLOCK))
  t.equal(gateway.sent, BLOCK)
  const abort = new AbortController()
  const [first, second] = users.map((one, i) =>
    readBytes(one, ref('b'), range, { ifContentVersion: '1', ...(i === 0 && { signal: abort.signal }) }),
  )
  abort.abort(new Error('gone'))
  await t.rejects(first ?? Promise.reject(new Error('none')), /abort|gone/)
  t.same(await second, contentOf('b', '1', 0, BLOCK))
})

t.test('who may not read has no bytes, be they here or under way', async (t) => {
  const { gateway, mount } = begun(t)
  gateway.forbidden.add('carol')
  gateway.pause = 20
  const range = { start: 0, end: 99 }
  const [alice, carol] = [mount('alice').reader(NEVER), mount('carol').reader(NEVER)]
  const coming = readBytes(alice, ref('a'), range, { ifContentVersion: '1' })
  await t.rejects(readBytes(carol, ref('a'), range, { ifContentVersion: '1' }), /PermissionDenied/)
  await coming
  await sleep(20)
  await t.rejects(readBytes(carol, ref('a'), range, { ifContentVersion: '1' }), /PermissionDenied/)
  t.equal(gateway.sent, 100)
})

t.test('a permission is believed for a while, and no longer', async (t) => {
  let now = 0
  const { gateway, mount } = begun(t, undefined, () => now)
  const range = { start: 0, end: 99 }
  const read = (user: string, seen = NEVER): Promise<Buffer> =>
    readBytes((bound.get(user) ?? mount(user)).reader(seen), ref('a'), range, { ifContentVersion: '1' })
  const bound = new Map(['alice', 'bob', 'dora'].map((user) => [user, mount(user)]))
  await read('alice')
  await sleep(20)
  await Promise.all([read('bob'), read('bob')])
  await read('bob')
  t.equal(gateway.asked, 1)
  await read('dora', () => now)
  t.equal(gateway.asked, 1, 'nor is it asked where the mount has just heard it')
  gateway.forbidden.add('bob')
  now += BELIEVED
  await read('bob')
  now += 1
  await t.rejects(read('bob'), /PermissionDenied/)
  t.equal(gateway.sent, 100)
})

t.test('a content that is another by now is not served', async (t) => {
  const { gateway, mount } = begun(t)
  const read = (user: string, ifContentVersion: string): Promise<Buffer> =>
    readBytes(mount(user).reader(NEVER), ref('a'), { start: 0, end: 99 }, { ifContentVersion })
  await read('alice', '1')
  await sleep(20)
  gateway.version = '2'
  await t.rejects(read('bob', '1'), /PreconditionFailed/)
  t.same(await read('bob', '2'), contentOf('a', '2', 0, 100))
})

t.test('whatever is given away for room, every byte is the right one', async (t) => {
  const { gateway, shared, mount } = begun(t, 5 * BLOCK)
  gateway.pause = 1
  const users = ['alice', 'bob', 'carol'].map((user) => mount(user).reader(() => performance.now()))
  let seed = 4711
  const random = (below: number): number => (seed = (seed * 1103515245 + 12345) % 2147483648) % below
  const one = async (): Promise<void> => {
    for (let i = 0; i < 60; i++) {
      const id = `f${random(3)}`
      const start = random(4 * BLOCK)
      const end = start + 1 + random(2 * BLOCK)
      const user = users[random(3)] ?? mount('alice').reader(NEVER)
      const bytes = await readBytes(user, ref(id), { start, end: end - 1 }, { ifContentVersion: '1' })
      if (!bytes.equals(contentOf(id, '1', start, end))) t.fail(`${id} from ${start} to ${end}`)
    }
  }
  await Promise.all([one(), one(), one()])
  t.ok(shared.used <= 5 * BLOCK)
})
