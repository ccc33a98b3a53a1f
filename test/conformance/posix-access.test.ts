/** Access on a POSIX tree as root: what the gateway says is what the kernel lets other processes do, and both ways round. */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, lchownSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Access } from '../../src/vospace/node.ts'
import { chmodded } from '../../src/vospace/mode.ts'
import { nodePath, ROOT } from '../../src/vospace/path.ts'
import { access, body, bytesOf, container, entryAt, file, GROUPS } from './backend.ts'
import { needs } from '../parts.ts'
import { directory, ids, notRoot, posix } from './posix-tree.ts'

const p = nodePath
const [ASTRO, SURVEY] = GROUPS

/** What a process of this user and group can do with a path: r, w, x by test(1). */
function kernelSays(path: string, uid: number, gid: number): string {
  const script = 'for o in r w x; do test -$o "$0" && printf $o; done; true'
  return String(execFileSync('sh', ['-c', script, path], { uid, gid, cwd: '/' }))
}

/** Somebody in a group of ours only: their own uid and gid say nothing. */
const inGroup = (uri: string) => ids.gidOf(uri) ?? -1

void t.test('the kernel lets whom the gateway lets', { skip: notRoot }, async (t) => {
  const { dir, dispose } = directory()
  const b = posix(dir)
  await b.start()
  await b.set({ path: ROOT }, { access: { isPublic: true } })
  await b.put(p('/f'), body('x'), { draft: file })
  await b.make(p('/c'), container)
  const sets = [[], [ASTRO], [ASTRO, SURVEY]]
  for (const isPublic of [false, true])
    for (const groupRead of sets)
      for (const groupWrite of [[], [SURVEY]]) {
        const want = { isPublic, groupRead, groupWrite }
        for (const name of ['f', 'c']) {
          const { access } = await b.set({ path: p(`/${name}`) }, { access: want })
          const x = name === 'c' ? 'x' : ''
          agree(t, join(dir, name), access, x, 5001, 5001, 'rw')
          for (const uri of [ASTRO, SURVEY]) {
            const level = (groupWrite as readonly string[]).includes(uri)
              ? 'rw'
              : (groupRead as readonly string[]).includes(uri) || isPublic
                ? 'r'
                : ''
            agree(t, join(dir, name), access, x, 6000, inGroup(uri), level)
          }
          agree(t, join(dir, name), access, x, 6000, 6000, isPublic ? 'r' : '')
        }
      }
  await b.stop()
  dispose()
})

function agree(t: Test, path: string, access: Access, x: string, uid: number, gid: number, level: string): void {
  const want = level === '' ? '' : level + x
  const said = kernelSays(path, uid, gid)
  if (said !== want) t.equal(said, want, `${path} ${uid}:${gid} ${JSON.stringify(access)}`)
  else t.pass()
} // prettier-ignore

void t.test('an existing tree that was given to a project group', { skip: notRoot }, async (t) => {
  const { dir, dispose } = directory()
  const b = posix(dir)
  await b.start()
  mkdirSync(join(dir, 'project'))
  lchownSync(join(dir, 'project'), 5001, inGroup(ASTRO))
  writeFileSync(join(dir, 'project/f'), 'x')
  lchownSync(join(dir, 'project/f'), 5001, inGroup(ASTRO))
  for (const [mode, groupRead, groupWrite] of [[0o2770, [], [ASTRO]], [0o2750, [ASTRO], []], [0o700, [], []], [0o2775, [], [ASTRO]]] as const) {
    chmodSync(join(dir, 'project'), mode)
    const found = await entryAt(b, p('/project'))
    t.match(found?.access, { owner: 'alice', groupRead, groupWrite, isPublic: (mode & 4) !== 0 })
    await b.set({ path: p('/project') }, { access: found?.access ?? access })
    t.same(statSync(join(dir, 'project')).mode & 0o7777, mode, 'said again, nothing changes')
  }
  chmodSync(join(dir, 'project/f'), 0o660)
  await b.set({ path: p('/project/f') }, { access: { groupRead: [ASTRO], groupWrite: [] } })
  t.equal(statSync(join(dir, 'project/f')).mode & 0o777, 0o640)
  t.equal(kernelSays(join(dir, 'project/f'), 6000, inGroup(ASTRO)), 'r')
  await b.set({ path: p('/project/f') }, { access: { groupRead: [SURVEY] } })
  t.equal(kernelSays(join(dir, 'project/f'), 6000, inGroup(ASTRO)), '')
  const back = await b.set({ path: p('/project/f') }, { access: { groupRead: [ASTRO], groupWrite: [SURVEY] } })
  t.same([back.access.groupRead, back.access.groupWrite], [[ASTRO], [SURVEY]])
  const chgrp = await b.set({ path: p('/project/f') }, { gid: inGroup(SURVEY) })
  t.equal(chgrp.gid, inGroup(SURVEY))
  t.notOk(chgrp.access.groupRead.includes(ASTRO), 'what it had as the owning group goes with it')
  await b.stop()
  dispose()
}) // prettier-ignore

void t.test('chmod and setfacl from outside', { skip: needs('root with CAP_SYS_ADMIN', 'setfacl', 'getfacl') }, async (t) => {
  const { dir, dispose } = directory()
  const b = posix(dir)
  await b.start()
  await b.put(p('/f'), body('x'), { draft: { ...file, access: { ...access, groupWrite: [ASTRO] } } })
  const path = join(dir, 'f')
  chmodSync(path, 0o644)
  t.match(await entryAt(b, p('/f')), { mode: 0o644, access: { groupRead: [ASTRO], groupWrite: [], isPublic: true } }, 'the mask counts')
  await b.set({ path: p('/f') }, { properties: new Map([['k', 'v']]) })
  t.match(await entryAt(b, p('/f')), { access: { groupRead: [ASTRO], groupWrite: [] } }, 'and what it took does not come back')
  execFileSync('setfacl', ['-m', `g:${inGroup(SURVEY)}:rw,u:61000:r`, path])
  t.match(await entryAt(b, p('/f')), { access: { groupWrite: [SURVEY] } })
  const shown = await entryAt(b, p('/f'))
  const told = chmodded(0o600, shown?.access ?? access)
  await b.set({ path: p('/f') }, { mode: told.mode, access: told.access })
  t.match(await entryAt(b, p('/f')), { access: { groupRead: [], groupWrite: [], isPublic: false } })
  t.equal(kernelSays(path, 6000, inGroup(SURVEY)), '')
  const text = String(execFileSync('getfacl', ['-pn', path]))
  t.match(text, /user:61000:r--/, 'the entry of somebody else is still there')
  await b.stop()
  dispose()
}) // prettier-ignore

void t.test('what is made through a bind mount inherits', { skip: notRoot }, async (t) => {
  const { dir, dispose } = directory()
  const b = posix(dir)
  await b.start()
  await b.set({ path: ROOT }, { access: { isPublic: true } })
  await b.make(p('/c'), { ...container, access: { ...access, groupRead: [ASTRO], groupWrite: [SURVEY], inherit: true } })
  execFileSync('sh', ['-c', 'umask 077; echo x > "$0/f"; mkdir "$0/d"', join(dir, 'c')], { uid: 5001, gid: 5001, cwd: '/' })
  const granted = { owner: 'alice', groupRead: [ASTRO], groupWrite: [SURVEY], isPublic: false }
  t.match(await entryAt(b, p('/c/f')), { access: { ...granted, inherit: false } })
  t.match(await entryAt(b, p('/c/d')), { access: { ...granted, inherit: true } })
  await b.set({ path: p('/c') }, { access: { inherit: false } })
  execFileSync('sh', ['-c', 'umask 077; echo x > "$0/g"', join(dir, 'c')], { uid: 5001, gid: 5001, cwd: '/' })
  t.match(await entryAt(b, p('/c/g')), { access: { groupRead: [], groupWrite: [] } })
  await b.put(p('/c/f'), body('y'), {})
  t.match(await entryAt(b, p('/c/f')), { access: granted }, 'also over replaced bytes')
  t.equal(kernelSays(join(dir, 'c/f'), 6000, inGroup(SURVEY)), 'rw')
  await b.stop()
  dispose()
}) // prettier-ignore

void t.test('what only the gateway may say', { skip: needs('root with CAP_SYS_ADMIN', 'setfattr', 'getfattr') }, async (t) => {
  const { dir, dispose } = directory()
  const b = posix(dir)
  await b.start()
  await b.set({ path: ROOT }, { access: { isPublic: true } })
  const unknown = 'ivo://elsewhere.example/gms?theirs'
  const made = await b.put(p('/f'), body('x'), { draft: { ...file, access: { ...access, locked: true, groupRead: [unknown] } } })
  t.same(made.access.groupRead, [unknown], 'a group without a number is kept all the same')
  const forge = (name: string, value: string) =>
    spawnSync('setfattr', ['-n', name, '-v', value, join(dir, 'f')], { uid: 5001, gid: 5001, cwd: '/' }).status
  t.not(forge('trusted.karst.node', '{}'), 0)
  t.equal(forge('user.karst.node', '{"owner":"bob"}'), 0)
  t.equal(forge('user.mine', 'hello'), 0)
  const found = await entryAt(b, p('/f'))
  t.match(found?.access, { owner: 'alice', locked: true, groupRead: [unknown] })
  t.same([...(found?.properties ?? [])], [['mine', 'hello']], 'user.karst.* is hidden')
  const shown = String(execFileSync('getfattr', ['-d', '--absolute-names', join(dir, 'f')]))
  await b.set({ path: p('/f') }, { properties: new Map([['ivo://ivoa.net/vospace/core#title', 'sky']]) })
  t.match(String(execFileSync('getfattr', ['-d', '--absolute-names', join(dir, 'f')])), 'user.ivo://ivoa.net/vospace/core#title="sky"')
  t.match(shown, 'user.mine')
  chownSync(join(dir, 'f'), 5002, 5002)
  t.equal((await entryAt(b, p('/f')))?.access.owner, 'bob', 'the owner is the uid')
  await b.stop()
  dispose()
}) // prettier-ignore

void t.test('without privilege', async (t) => {
  const { dir, dispose } = directory()
  const b = posix(dir, { mode: 'unprivileged' })
  await b.start()
  await b.put(p('/f'), body('x'), {
    draft: { access: { ...access, owner: 'bob' }, mode: 0 },
    changes: { mode: 0o4000 },
  })
  t.match(await entryAt(b, p('/f')), { mode: 0o4000, uid: 5002, access: { owner: 'bob' } })
  t.equal(statSync(join(dir, 'f')).mode & 0o7777, 0o600, 'the gateway can still read it, and lends nobody its uid')
  t.equal(String(await bytesOf(b, p('/f'))), 'x')
  chmodSync(join(dir, 'f'), 0o644)
  t.match(
    await entryAt(b, p('/f')),
    { mode: 0o644, access: { owner: 'bob', isPublic: true } },
    'chmod from outside counts',
  )
  await b.stop()
  dispose()
})
