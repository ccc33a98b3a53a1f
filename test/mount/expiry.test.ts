// A mount whose certificate ends while it is in use, and one that has ended before.
import { renameSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { createProxy, issueUserCertificate } from '../../src/identity/mint.ts'
import { writeCredential, type Credential } from '../../src/identity/pem.ts'
import { authority } from '../http/people.ts'
import { fuseSkip, js, run, sleep, until } from './driver-harness.ts'
import { survivors } from './survival-harness.ts'

const skip = await fuseSkip()
t.setTimeout(120_000)

const alice = await issueUserCertificate(
  authority,
  [
    ['O', 'karst development'],
    ['CN', 'alice'],
  ],
  1,
  'ec',
)
const lasting = (seconds: number): Promise<Credential> => createProxy(alice, { hours: seconds / 3600, newKey: 'ec' })

void t.test(
  'an expired certificate refuses, keeps what was written, and gives way to a renewed one',
  { skip },
  async (t) => {
    const { state, mount, umount, gateway, log } = await survivors(t)
    const folder = path.dirname(state)
    const certificate = path.join(folder, 'short.pem')
    const ends = Date.now() + 9000
    await writeCredential(certificate, await lasting(9))
    const dir = await mount('/home/alice', { certificate, timeout: 3 })
    await run('sh', ['-c', 'echo there > "$1/f"', 'sh', dir])
    const go = path.join(folder, 'go')
    const writing = js<unknown[]>(
      `const fd = fs.openSync(argv[0] + '/held', 'w'); fs.writeSync(fd, 'written in time')
     while (!fs.existsSync(argv[1])) await new Promise((r) => setTimeout(r, 50))
     const told = [attempt(() => fs.fsyncSync(fd))]
     while (!fs.existsSync(argv[1] + '2')) await new Promise((r) => setTimeout(r, 50))
     return [...told, attempt(() => fs.closeSync(fd))]`,
      dir,
      go,
    )
    const read = () => run('cat', [path.join(dir, 'f')])
    await sleep(Math.max(0, ends - Date.now()))
    const refused = await until(read, ({ status }) => status !== 0)
    t.match(refused, { status: 1, output: /Permission denied/ })
    await run('touch', [go])
    await sleep(300)
    const renewed = path.join(folder, 'renewed.pem')
    await writeCredential(renewed, await lasting(600))
    renameSync(renewed, certificate)
    t.match(await until(read, ({ status }) => status === 0), { status: 0, output: 'there\n' })
    await run('touch', [`${go}2`])
    t.same(await writing, ['EACCES', null], 'fsync says that it was refused, close that it was taken')
    t.equal((await gateway.call('/files/home/alice/held', { as: 'alice' })).text, 'written in time')
    t.match(log(), /expired/, 'the log says why')
    t.same(await umount(dir), [])
  },
)

void t.test('nothing is mounted with a certificate that has expired, and it is said', { skip }, async (t) => {
  const { state, mount } = await survivors(t)
  const certificate = path.join(path.dirname(state), 'old.pem')
  await writeCredential(certificate, await lasting(1))
  await sleep(1500)
  await t.rejects(mount('/home/alice', { certificate, timeout: 3 }), /expired/)
})
