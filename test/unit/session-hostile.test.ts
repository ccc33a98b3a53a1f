/** Sessions whose manifest, surroundings or gateway mean no good. */
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { runCommand } from '../../mount/session/command.ts'
import { sessionUser } from '../../mount/session/identity-files.ts'
import { renewTokens } from '../../mount/session/renewals.ts'
import { RunFolder, writeWhole } from '../../mount/session/run-folder.ts'
import { type Ask } from '../../mount/session/terms.ts'

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

t.test('a partition that is refused from now on keeps no other from being renewed', async (t) => {
  const run = RunFolder.make(process.geteuid?.() ?? 0, undefined)
  const terms = (name: string, token: string, renew: number): object => ({
    ...{ name, kind: 'project', path: `/${name}`, uri: `vos://x/${name}`, access: 'write', mount: `/${name}` },
    ...{ notices: [], credential: { token, renew: new Date(renew).toISOString() } },
    user: { name: 'alice', uid: 1000, gid: 1000, groups: [] },
  })
  const ask: Ask = async (_method, _path, document) => {
    const { partition } = document as { partition: string }
    if (partition === 'project:gone') throw new Error('no member any more')
    return terms('kept', 'new', Date.now() + 3_600_000)
  }
  const agreed = ['gone', 'kept'].map((name) => ({
    planned: { partition: `project:${name}` },
    terms: terms(name, 'old', Date.now()) as never,
    at: `/${name}`,
  }))
  const told: string[] = []
  const stop = renewTokens(
    { ask, tell: (line) => void told.push(line) },
    { run, name: { session: 's', member: 'm' }, agreed },
  )
  t.teardown(() => {
    stop.forEach((end) => end())
    run.remove()
  })
  for (let i = 0; i < 100 && !existsSync(run.driver('token-1')); i++) await sleep(50)
  t.equal(readFileSync(run.driver('token-1'), 'utf8'), 'new')
  t.match(told, [/project:gone could not be renewed.*no member any more/])
})
