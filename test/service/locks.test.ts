/** Two mounts of one home as a user has them: a lock taken in one holds in the other, and what is made in one is seen in the other. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fuseSkip, needs } from '../parts.ts'
import { Quickstart, run, sh } from './running.ts'

t.setTimeout(300_000)
const skip = (await fuseSkip()) || needs('flock')

t.test('flock(1) across two mounts of a gateway that serves a folder', { skip }, async (t) => {
  const karst = new Quickstart(['--no-mount'])
  await karst.start()
  t.teardown(() => karst.dispose())
  const { ca, url, users } = karst.report
  const env = { KARST_MOUNT_STATE: join(karst.folder, 'driver') }
  const dirs = ['m1', 'm2'].map((name) => join(karst.folder, name))
  const [one = '', two = ''] = dirs
  for (const dir of dirs) {
    mkdirSync(dir)
    const words = ['--ca', ca, '--url', url, '--certificate', users['alice']?.proxy ?? '']
    t.match(await run('bin/karst', ['mount', 'vos://karst.local~karst/home/alice', dir, ...words], { env }), {
      code: 0,
    })
  }
  t.match(await run('ls', [join(two, 'lock')]), { code: 2 })
  const holder = spawn('flock', ['-n', join(one, 'lock'), 'sh', '-c', 'echo held; read line'], { cwd: '/' })
  t.teardown(() => holder.kill('SIGKILL'))
  await once(holder.stdout, 'data')
  for (let left = 200; (await run('ls', [join(two, 'lock')])).code !== 0 && left > 0; left--)
    await new Promise((resolve) => setTimeout(resolve, 50))
  t.match(await run('flock', ['-n', join(two, 'lock'), 'true']), { code: 1 })
  t.match(await run('flock', ['-n', '-s', join(two, 'lock'), 'true']), { code: 1 })
  const waiting = run('flock', [join(two, 'lock'), 'true'])
  holder.stdin.end('\n')
  t.match(await waiting, { code: 0 })
  t.equal(await sh(`cd '${two}'; echo from two > shared; cat '${one}/shared'`), 'from two\n')
  for (const dir of dirs) t.match(await run('bin/karst', ['umount', dir], { env }), { code: 0 })
})
