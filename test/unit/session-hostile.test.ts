/** Sessions whose manifest, surroundings or gateway mean no good. */
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { runCommand } from '../../mount/session/command.ts'
import { sessionUser } from '../../mount/session/identity-files.ts'
import { openedBelow } from '../../mount/session/mounts.ts'
import { writeWhole } from '../../mount/session/run-folder.ts'
import { makeRoom, realPlace } from '../../mount/session/room.ts'
import { needs } from '../parts.ts'

const PATH = process.env['PATH'] ?? ''

function program(file: string, script: string): void {
  writeFileSync(file, `#!/bin/sh\n${script}\n`)
  chmodSync(file, 0o755)
}

t.test('a number that setresuid(2) takes for nobody or for root is no user', async (t) => {
  const user = { name: 'alice', uid: 20001, gid: 20001, groups: [] }
  const passwd = 'odd:x:4294967295:4294967295::/:/bin/sh\nodder:x:1000:4294967296::/:/bin/sh\n'
  for (const one of ['4294967295', '4294967296', '9999999999', 'odd', 'odder'])
    t.throws(() => sessionUser(one, user, passwd), /InvalidArgument/, one)
  t.throws(() => sessionUser(undefined, { ...user, uid: 4294967296 }, passwd), /InvalidArgument/)
  t.match(sessionUser('4294967294', user, passwd), { uid: 4294967294 })
})

t.test('what a manifest says of PATH and libraries counts for the command, not for who takes its rights', async (t) => {
  const dir = t.testdir()
  const [mine, theirs] = [join(dir, 'launcher'), join(dir, 'manifest')]
  program(mine, `echo "$PATH:$LD_LIBRARY_PATH" > ${dir}/before; exec "$@"`)
  program(theirs, `echo "$PATH:$LD_LIBRARY_PATH:$OWN" > ${dir}/command`)
  const env = { PATH: `${dir}:${PATH}`, LD_LIBRARY_PATH: '/nowhere', OWN: 'a b' }
  const said = await runCommand([mine], ['manifest'], { env, launcher: { PATH }, cwd: '/' })
  t.same(said, { code: 0 })
  t.equal(readFileSync(join(dir, 'before'), 'utf8'), `${PATH}:\n`)
  t.equal(readFileSync(join(dir, 'command'), 'utf8'), `${dir}:${PATH}:/nowhere:a b\n`)
  program(join(dir, 'nice'), `touch ${dir}/found`)
  await runCommand(['nice'], ['true'], { env, launcher: { PATH }, cwd: '/' })
  t.notOk(existsSync(join(dir, 'found')), 'programs are looked for where the launcher has them')
})

t.test('a file that could not be written is none in the way of the next', async (t) => {
  const file = join(t.testdir(), 'token')
  t.throws(() => writeWhole(file, 'a', 0o600, { uid: 0.5, gid: 0 }))
  writeWhole(file, 'b', 0o600)
  t.equal(readFileSync(file, 'utf8'), 'b')
})

t.test('what is bound is the directory that was looked for, whatever takes its place', async (t) => {
  const dir = t.testdir({ root: { mine: { 'a.txt': '' }, other: {} }, secret: { 's.txt': '' } })
  const root = join(dir, 'root')
  fs.symlinkSync('../secret', join(root, 'link'))
  for (const below of ['link', '../secret', 'none', 'mine/a.txt', '/', 'mine/../../secret'])
    t.equal(openedBelow(root, below), undefined, below)
  const mine = openedBelow(root, 'mine')
  t.teardown(() => mine !== undefined && fs.closeSync(mine))
  fs.renameSync(join(root, 'mine'), join(root, 'moved'))
  fs.symlinkSync('../secret', join(root, 'mine'))
  t.same(fs.readdirSync(`/proc/self/fd/${mine}`), ['a.txt'])
})

t.test('a place is where links lead, and no directory in memory hides where the user writes', async (t) => {
  const dir = fs.realpathSync(t.testdir({ real: {}, hold: {} }))
  fs.symlinkSync('real', join(dir, 'link'))
  t.equal(realPlace(join(dir, 'link/a/b')), join(dir, 'real/a/b'))
  const refused = { code: 'ENOENT', message: /make the directory before the session/ }
  t.throws(() => makeRoom([join(dir, 'real/a')], join(dir, 'hold'), process.geteuid?.() ?? 0), refused)
  chmodSync(join(dir, 'real'), 0o1777)
  t.throws(() => makeRoom([join(dir, 'real/a')], join(dir, 'hold'), 4000), refused)
  t.same(fs.readdirSync(join(dir, 'real')), [])
})

t.test(
  'a directory in memory opens nothing that was closed, and nothing is made on the disk below it',
  { skip: needs('root with CAP_SYS_ADMIN', 'unshare') },
  async (t) => {
    const dir = fs.realpathSync(t.testdir({ hold: {}, closed: { kept: { file: 'x' } } }))
    chmodSync(join(dir, 'closed'), 0o750)
    const places = [join(dir, 'closed/new'), join(dir, 'closed/kept/below')]
    const script = `import { makeRoom } from './mount/session/room.ts'; import fs from 'node:fs'
      makeRoom(${JSON.stringify(places)}, ${JSON.stringify(join(dir, 'hold'))}, 4000)
      console.log((fs.statSync(${JSON.stringify(join(dir, 'closed'))}).mode & 0o7777).toString(8), ${JSON.stringify(places)}.every((one) => fs.existsSync(one)), fs.readdirSync(${JSON.stringify(join(dir, 'closed/kept'))}))`
    const said = spawnSync('unshare', ['--mount', process.execPath, '--input-type=module', '-e', script])
    t.match(String(said.stdout) + String(said.stderr), /^750 true \[ 'below', 'file' \]\n$/)
    t.same(fs.readdirSync(join(dir, 'closed/kept')), ['file'])
  },
)
