/**
 * What is special about quotas that the file system keeps by its projects, and the contract there. Started as a program, it runs where the kernel has
 * them: on this machine, or in the one that test/services/quota-kernel emulates.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type PosixBackend } from '../../src/backend/posix/posix.ts'
import { onOpen, projectOf } from '../../src/libc/project-quota.ts'
import { setXattr } from '../../src/libc/xattr.ts'
import { ROOT } from '../../src/vospace/path.ts'
import {
  at,
  backendConformance,
  body,
  bytesOf,
  container,
  extents,
  file,
  namesIn,
  refused,
  THAT_GROW,
} from './backend.ts'
import { p } from './cases.ts'
import { compareWithModel, SEED } from './model.ts'
import { below, ext4Projects, harness, posix, QUOTAS, xfsProjects, type Scratch } from './posix-tree.ts'

const MIB = 2 ** 20
const FILE_SYSTEMS = { ext4: ext4Projects, XFS: xfsProjects }

const projectAt = (path: string): number => onOpen(path, projectOf)

interface Tree {
  readonly b: PosixBackend
  readonly dir: string
}

/** `/home` is a parent of allocations. `before` may make what is there already. */
async function tree(t: Test, under: string, before: (dir: string) => void = () => undefined, quotas = QUOTAS): Promise<Tree> {
  const { dir, dispose } = below(under)
  chmodSync(dir, 0o755)
  mkdirSync(join(dir, 'home'))
  before(dir)
  const b = posix(dir, { allocationParents: [p('/home')], quotas })
  await b.start()
  t.teardown(async () => {
    await b.stop()
    dispose()
  })
  return { b, dir }
} // prettier-ignore

/** A program of the user writes so many bytes past the gateway. */
const writing = (uid: number, path: string, mebibytes: number): string =>
  spawnSync('setpriv', [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', 'dd', 'if=/dev/zero', `of=${path}`, 'bs=1M', `count=${mebibytes}`], { encoding: 'utf8' }).stderr // prettier-ignore

type Case = (t: Test, scratch: Scratch) => Promise<void>

const CASES: Record<string, Case> = {
  'an allocation with all that is in it becomes a project, which the kernel keeps within the limit': async (
    t,
    { dir: under },
  ) => {
    const { b, dir } = await tree(t, under, (dir) => {
      mkdirSync(join(dir, 'home/alice/deep/er'), { recursive: true })
      mkdirSync(join(dir, 'home/bob'))
      writeFileSync(join(dir, 'home/alice/deep/er/old'), Buffer.alloc(3 * MIB))
      writeFileSync(join(dir, 'outside'), 'x')
      symlinkSync(join(dir, 'outside'), join(dir, 'home/alice/link'))
      execFileSync('chown', ['-hR', '5001:5001', join(dir, 'home/alice')])
    })
    await b.put(p('/home/alice/.karst-is-here'), body('x'), { draft: file })
    await b.setQuota(p('/home/alice'), 8 * MIB)
    const { used, quota, keptBy } = await b.usage(p('/home/alice/deep'))
    t.match({ quota, keptBy }, { quota: 8 * MIB, keptBy: 'storage' })
    t.ok((used ?? 0) >= 3 * MIB && (used ?? 0) < 4 * MIB, `what was there counts: ${used}`)
    const project = projectAt(join(dir, 'home/alice'))
    t.ok(project >= QUOTAS.projects.first && project <= QUOTAS.projects.last, `${project} is one of ours`)
    for (const path of ['deep', 'deep/er/old', '.karst', '.karst/staging']) t.equal(projectAt(join(dir, 'home/alice', path)), project, path) // prettier-ignore
    t.equal(projectAt(join(dir, 'outside')), 0, 'no link was followed')
    t.match(writing(5001, join(dir, 'home/alice/past'), 7), /No space left on device|Disk quota exceeded/)
    t.match(writing(5001, join(dir, 'home/alice/past'), 2), /2\.0 MiB\) copied/)
    t.ok(((await b.usage(p('/home/alice'))).used ?? 0) >= 5 * MIB, 'what came past the gateway counts at once')
    const refusal: unknown = await b.put(p('/home/alice/new'), body(Buffer.alloc(4 * MIB)), { draft: file }).catch((error: unknown) => error) // prettier-ignore
    t.match(refusal, { fault: 'QuotaExceeded', errno: 'EDQUOT', detail: /: \d+ of 8388608 bytes are used/ })
    t.equal((await b.usage(p('/home/bob'))).quota, null)
  },

  'a restart and a rename keep it, the trash too; a number is given once, and again when it is free': async (
    t,
    { dir: under },
  ) => {
    const { b, dir } = await tree(t, under)
    for (const name of ['alice', 'bob', 'carol']) await b.make(p(`/home/${name}`), container)
    await b.setQuota(p('/home/alice'), MIB)
    await b.setQuota(p('/home/bob'), 2 * MIB)
    const [alice, bob] = [projectAt(join(dir, 'home/alice')), projectAt(join(dir, 'home/bob'))]
    t.not(alice, bob)
    await b.stop()
    await b.start()
    await b.move(p('/home/alice'), p('/home/alicia'))
    t.equal((await b.usage(p('/home/alicia'))).quota, MIB)
    t.equal(projectAt(join(dir, 'home/alicia')), alice)
    const entry = (await b.walk(p('/home/bob'))).at(-1)
    await b.trash.put(p('/home/bob'), { id: entry?.id ?? '' }, { id: 'one', path: p('/home/bob'), type: 'container', deleted: 1 }) // prettier-ignore
    await b.setQuota(p('/home/carol'), MIB)
    t.notOk([alice, bob].includes(projectAt(join(dir, 'home/carol'))), 'what waits in the trash has its number still')
    await b.trash.restore(ROOT, 'one', p('/home/bob'))
    t.equal((await b.usage(p('/home/bob'))).quota, 2 * MIB)
    await b.remove(p('/home/bob'), 'container')
    const scarce = { ...QUOTAS, projects: { first: bob, last: bob } }
    const again = posix(dir, { allocationParents: [p('/home')], quotas: scarce })
    await again.start()
    t.teardown(async () => again.stop())
    for (const name of ['dave', 'eve']) await again.make(p(`/home/${name}`), container)
    await again.setQuota(p('/home/dave'), 3 * MIB)
    t.match([projectAt(join(dir, 'home/dave')), (await again.usage(p('/home/dave'))).quota], [bob, 3 * MIB])
    await refused(t, again.setQuota(p('/home/eve'), MIB), 'QuotaExceeded')
    t.equal((await again.usage(p('/home/eve'))).quota, null)
    await again.put(p('/home/eve/f'), body('x'), { draft: file })
  },

  'what moves from one to another is copied, with nothing lost': async (t, { dir: under }) => {
    const { b } = await tree(t, under)
    for (const path of ['/home/alice', '/home/bob', '/home/alice/d', '/home/alice/e', '/open'].map(p)) await b.make(path, container) // prettier-ignore
    await b.setQuota(p('/home/alice'), 4 * MIB)
    await b.put(p('/home/alice/d/f'), body('x'), { draft: file })
    for (const to of ['/home/bob/d', '/open/d', '/home/d'].map(p)) {
      await refused(t, b.move(p('/home/alice/d'), to), 'OperationNotSupported', 'EXDEV')
      if (to !== '/home/d') await refused(t, b.move(p('/home/alice/d/f'), to), 'OperationNotSupported', 'EXDEV')
    }
    await b.put(p('/open/g'), body('y'), { draft: file })
    await refused(t, b.move(p('/open/g'), p('/home/alice/d/f'), { exchange: true }), 'OperationNotSupported', 'EXDEV')
    await refused(t, b.move(p('/open/g'), p('/home/alice/g')), 'OperationNotSupported', 'EXDEV')
    await refused(t, b.move(p('/home/alice'), p('/open/alice')), 'OperationNotSupported', 'EXDEV')
    await b.copy(p('/open/g'), p('/home/alice/g'), file)
    await b.move(p('/home/alice/d'), p('/home/alice/e'), { replace: true })
    t.same(await namesIn(b, p('/home/alice')), ['e', 'g'])
    t.equal(String(await bytesOf(b, p('/home/alice/e/f'))), 'x')
  },

  'one that a crash cut short, or that the gateway counted before, is made whole at the next start': async (
    t,
    { dir: under },
  ) => {
    const { b, dir } = await tree(t, under, (dir) => {
      for (const [name, value] of [
        ['cut', `${8 * MIB} unfinished`],
        ['counted', `${9 * MIB}`],
      ] as const) {
        mkdirSync(join(dir, `home/${name}/deep`), { recursive: true })
        writeFileSync(join(dir, `home/${name}/deep/f`), Buffer.alloc(2 * MIB))
        setXattr(join(dir, `home/${name}`), 'trusted.karst.quota', Buffer.from(value))
      }
    })
    await b.stop() // waits for what it has begun, and goes on with the rest
    await b.start()
    for (const [name, quota] of [
      ['cut', 8 * MIB],
      ['counted', 9 * MIB],
    ] as const) {
      for (let tries = 0; projectAt(join(dir, `home/${name}/deep/f`)) === 0 && tries < 300; tries++) {
        await new Promise((done) => setTimeout(done, 50))
      }
      const usage = await b.usage(p(`/home/${name}`))
      t.equal(usage.quota, quota)
      t.ok((usage.used ?? 0) >= 2 * MIB, `${usage.used}`)
    }
  },

  'many at once stay within it, for one that the kernel lets go over too': async (t, { dir: under }) => {
    const { b } = await tree(t, under)
    await b.make(p('/home/alice'), container)
    await b.setQuota(p('/home/alice'), 8 * MIB)
    const pieces = () => body(...Array.from({ length: 12 }, () => Buffer.alloc(MIB / 4)))
    const names = ['a', 'b', 'c', 'd', 'e']
    const puts = names.map(async (name) => b.put(p(`/home/alice/${name}`), pieces(), { draft: file }))
    const settled = await Promise.allSettled(puts)
    for (const one of settled) if (one.status === 'rejected') t.match(one.reason, { fault: 'QuotaExceeded' })
    const { used } = await b.usage(p('/home/alice'))
    t.ok((used ?? 0) <= 8 * MIB, `${used}`)
    const first = await b.put(p('/home/alice/z'), body('z'), { draft: file })
    await b.amend({ path: first.path }, extents(at(0, 'y')), { length: 1 })
    await refused(t, b.amend({ path: first.path }, extents(at(0, 'x'.repeat(8 * MIB))), { length: 8 * MIB }), 'QuotaExceeded', 'EDQUOT') // prettier-ignore
    t.equal(String(await bytesOf(b, first.path)), 'y')
  },
}

if (import.meta.main) {
  const expected = { atomicMove: true, linkProperties: true, hardLinks: true, quota: true, directUrl: false }
  for (const [name, make] of Object.entries(FILE_SYSTEMS)) {
    const scratch = make()
    t.teardown(() => scratch.dispose())
    for (const [sentence, run] of Object.entries(CASES)) {
      void t.test(`projects of ${name}: ${sentence}`, async (t) => run(t, scratch))
    }
    void t.test(`projects of ${name}: random operations, seed ${SEED}`, async (t) => {
      const { dir, dispose } = below(scratch.dir)
      await compareWithModel(t, posix(dir, { quotas: QUOTAS }), { operations: 200 })
      dispose()
    })
    backendConformance(
      `POSIX with project quotas of ${name}`,
      harness(scratch.dir, { mode: 'root' }),
      expected,
      THAT_GROW,
    )
  }
}
