/** Groups on a POSIX tree as root, with the numbers of a real store: those of other services, those that were deleted, and those nobody keeps. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { openStore } from '../../src/store/store.ts'
import { nodePath, ROOT } from '../../src/vospace/path.ts'
import { body, entryAt, file } from './backend.ts'
import { directory, notRoot, posix } from './posix-tree.ts'

const OURS = 'ivo://karst.local/gms?ours'
const THEIRS = 'ivo://remote.example/gms?theirs'
const NOBODYS = 'ivo://evil.example/gms?theirs'

void t.test(
  'groups of believed services are entries of the ACL, others are noted only',
  { skip: notRoot },
  async (t) => {
    const { dir, dispose } = directory()
    const store = openStore(':memory:', { isForeignGroup: (uri) => uri.startsWith('ivo://remote.example/gms?') })
    for (const name of ['alice', 'bob']) store.users.create({ name })
    const { gid: ours } = store.groups.create(OURS, { owner: 'alice' })
    const started = async () => {
      const backend = posix(dir, { ids: store.ids() })
      await backend.start()
      return backend
    }
    const b = await started()
    await b.set({ path: ROOT }, { access: { isPublic: true } })
    const access = { ...file.access, owner: 'alice', groupRead: [OURS, THEIRS, NOBODYS] }
    await b.put(nodePath('/f'), body('x'), { draft: { ...file, access } })
    const theirs = store.ids().gidOf(THEIRS) ?? -1
    const reads = (gid: number): boolean => {
      const script = 'test -r "$0" && echo yes || echo no'
      return String(execFileSync('sh', ['-c', script, join(dir, 'f')], { uid: 6000, gid, cwd: '/' })) === 'yes\n'
    }
    t.ok(reads(ours) && reads(theirs), 'the kernel lets both in')
    t.notOk(reads(theirs + 1), 'and nobody else')
    t.equal(store.ids().gidOf(NOBODYS), undefined)
    t.same((await entryAt(b, nodePath('/f')))?.access.groupRead, [NOBODYS, OURS, THEIRS], 'as it was said')
    await b.stop()

    store.groups.delete(OURS)
    const again = await started()
    t.same(
      (await entryAt(again, nodePath('/f')))?.access.groupRead,
      [NOBODYS, OURS, THEIRS],
      'it is seen, so that it can be taken away',
    )
    await again.set({ path: nodePath('/f') }, { access: { groupRead: [THEIRS] } })
    t.notOk(reads(ours))
    t.ok(reads(theirs))
    const fresh = store.groups.create('ivo://karst.local/gms?fresh', { owner: 'bob' })
    t.notOk(reads(fresh.gid), 'a new group has a number of its own')
    await again.stop()
    store.close()
    dispose()
  },
)
