/** Groups added and taken out, of one node and of a tree, over kills and against what others have. */
import t from 'tap'
import { shareRecursively } from '../../src/space/recursive-setprops.ts'
import { type Counts } from '../../src/space/recursion.ts'
import { changedAccess, checkChange, closedTo, type SharingChange } from '../../src/space/share.ts'
import { memberOf } from '../../src/space/access.ts'
import { nodeUri } from '../../src/vospace/uri.ts'
import { type Access } from '../../src/vospace/node.ts'
import { alice, at, bob, file, folder, GUESTS, SERVICE, STAFF, world } from './space-world.ts'

const NOTHING: SharingChange = { read: [], write: [], remove: [] }
const shared = (given: Partial<Access>): { access: Access; type: 'data' } => ({
  type: 'data',
  access: { owner: 'alice', isPublic: false, groupRead: [], groupWrite: [], inherit: false, locked: false, ...given },
})

t.test('a change says only what becomes another', async (t) => {
  const node = shared({ groupRead: [STAFF], groupWrite: [GUESTS] })
  t.same(changedAccess(node, NOTHING), {})
  t.same(changedAccess(node, { ...NOTHING, read: [STAFF, GUESTS] }), {}, 'who may write may read')
  t.same(changedAccess(node, { ...NOTHING, write: [STAFF] }), { groupWrite: [GUESTS, STAFF] })
  t.same(changedAccess(node, { ...NOTHING, remove: [GUESTS] }), { groupWrite: [] })
  t.same(changedAccess(node, { ...NOTHING, isPublic: false, inherit: true }), {}, 'a file hands nothing on')
  t.same(changedAccess({ ...node, type: 'container' }, { ...NOTHING, inherit: true }), { inherit: true })
  t.throws(() => checkChange({ ...NOTHING, write: [STAFF], remove: [STAFF] }), { name: 'Fault' })
})

t.test(
  'a container is closed to who is in no group that it names, and to no member of a group within one',
  async (t) => {
    const { space, backend } = await world()
    await folder(backend, '/home/alice/a', { groupRead: [STAFF] })
    await folder(backend, '/home/alice/a/b', { groupWrite: [GUESTS] })
    const chain = await backend.walk(at('/home/alice/a/b'))
    const apart = { isWithin: (inner: string, uri: string) => inner === uri }
    const nested = { isWithin: () => true }
    t.same(closedTo(chain, memberOf(STAFF, chain, apart), space.rules), ['/home/alice/a/b'])
    t.same(closedTo(chain, memberOf(GUESTS, chain, apart), space.rules), ['/home/alice/a'])
    t.same(closedTo(chain, memberOf(GUESTS, chain, nested), space.rules), [])
  },
)

t.test('a tree that is shared over kills is counted right, and nobody loses what they had', async (t) => {
  const { space, backend } = await world()
  await folder(backend, '/home/alice/d', { groupRead: [GUESTS] })
  const names = Array.from({ length: 700 }, (_, n) => `/home/alice/d/${String(n).padStart(3, '0')}`)
  for (const [n, path] of names.entries())
    await file(backend, path, n % 2 === 0 ? { groupWrite: [GUESTS] } : { isPublic: true })
  const change = { ...NOTHING, read: [STAFF], inherit: true }
  const uri = nodeUri(SERVICE, at('/home/alice/d'))
  let checkpoint: unknown
  let kills = 0
  const attempt = async (lives: number): Promise<Counts | undefined> => {
    let saves = 0
    const save = (state: object): void => {
      checkpoint = JSON.parse(JSON.stringify(state))
      if (++saves >= lives) throw new Error('killed')
    }
    try {
      return await shareRecursively(space, alice, uri, change, {
        save,
        ...(checkpoint !== undefined && { checkpoint }),
      })
    } catch (error) {
      t.match(error, { message: 'killed' })
      kills++
      return undefined
    }
  }
  let counts: Counts | undefined
  while (counts === undefined && kills < 20) counts = await attempt(kills === 0 ? 2 : 1)
  t.ok(kills >= 2, `${kills} kills`)
  t.same(counts, { successes: 701, errors: 0 })
  for (const [n, path] of names.entries()) {
    const { access } = (await backend.walk(at(path))).at(-1) ?? shared({})
    const right = access.groupRead.join() === STAFF && access.groupWrite.join() === (n % 2 === 0 ? GUESTS : '')
    if (!right || access.isPublic !== (n % 2 === 1)) t.fail(path, { access })
  }
  const last = { save: () => undefined }
  t.same(await shareRecursively(space, alice, uri, change, last), { successes: 701, errors: 0 }, 'once more is no harm')
  const refused = await shareRecursively(space, bob, uri, change, last)
  t.match(refused, { successes: 0, errors: 1, fault: 'PermissionDenied' })
})
