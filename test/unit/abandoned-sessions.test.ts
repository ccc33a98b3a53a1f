/** Which sessions nobody is left to end. A wrong yes would take a living one's mounts away. */
import { mkdirSync, utimesSync } from 'node:fs'
import { basename, join } from 'node:path'
import { spawn, spawnSync } from 'node:child_process'
import t from 'tap'
import {
  abandonedBeside,
  abandonedOf,
  isOfSession,
  keepersOf,
  namespacesBeside,
} from '../../mount/session/abandoned.ts'
import { RunFolder, type SessionNote } from '../../mount/session/run-folder.ts'

const uid = process.geteuid?.() ?? 0
const runtime = t.testdir()
const parent = join(runtime, uid === 0 ? 'karst-sessions' : `karst-sessions-${uid}`)
mkdirSync(parent)
/** Of somebody who has ended, and whose number may be somebody else's by now. */
const ended = { ...keepersOf([]), processes: [`${spawnSync('true').pid} 1`, `${process.pid} 1`] }
const living = keepersOf([process.pid])

function folder(name: string, note?: Pick<SessionNote, 'keepers' | 'namespace'>): RunFolder {
  mkdirSync(join(parent, name))
  const run = RunFolder.at(join(parent, name))
  if (note !== undefined) run.note({ session: name, member: 'm', stateDir: parent, mounts: [], ...note })
  return run
}

const own = folder('own', { keepers: ended })
folder('ended', { keepers: ended, namespace: 'mnt:[1]' })
folder('living', { keepers: { ...ended, processes: [...ended.processes, ...living.processes] }, namespace: 'mnt:[2]' })
folder('of another container', { keepers: { ...ended, namespace: 'pid:[1]' }, namespace: 'mnt:[3]' })
folder('of another boot', { keepers: { ...ended, boot: 'another' } })
folder('of an older version', {})
folder('being made')
folder('half removed')
utimesSync(join(parent, 'half removed'), 1, 1)

t.test('none but those whose keepers have all ended, or that were being removed', async (t) => {
  t.same(
    abandonedBeside(own)
      .map(({ path }) => basename(path))
      .sort(),
    ['ended', 'half removed'],
  )
})

t.test('the doctor is told of the same, and of one of its own user that has ended', async (t) => {
  // sessions of this machine may have been left too
  const here = abandonedOf(uid, runtime).filter(({ path }) => path.startsWith(runtime))
  t.same(here.map(({ path }) => basename(path)).sort(), ['ended', 'half removed', 'own'])
  t.same(
    abandonedOf(uid + 1, runtime).filter(({ path }) => path.startsWith(runtime)),
    [],
  )
})

t.test('the mount namespaces of all others are theirs', async (t) => {
  t.same([...namespacesBeside(own)].sort(), ['mnt:[2]', 'mnt:[3]'])
})

t.test('a process is of the session that its environment names', async (t) => {
  const child = spawn('sleep', ['60'], { env: { PATH: process.env['PATH'], KARST_SESSION: 'one' } })
  t.teardown(() => void child.kill())
  const { pid = 0 } = child
  t.ok(isOfSession(pid, 'one'))
  t.notOk(isOfSession(pid, 'on'))
  t.notOk(isOfSession(process.pid, 'one'))
  t.notOk(isOfSession(2 ** 22 + 1, 'one'), 'there is no such process')
})
