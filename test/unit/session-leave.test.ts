/** A session whose gateway is silent at its end. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { finishSession } from '../../mount/session/finish.ts'
import { leaveGateway } from '../../mount/session/leave.ts'
import { RunFolder } from '../../mount/session/run-folder.ts'

t.test('a gateway that says nothing is waited for no longer than so, and what was left is said', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'karst-leave-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const tokenFile = join(folder, 'token')
  writeFileSync(tokenFile, 'secret')
  const sockets: Socket[] = []
  const silent = createServer((socket) => void sockets.push(socket.on('error', () => undefined)))
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    sockets.forEach((socket) => socket.destroy())
    silent.close()
  })
  const url = `https://127.0.0.1:${(silent.address() as AddressInfo).port}/karst`
  const run = RunFolder.make(process.geteuid?.() ?? 0, undefined)
  run.note({ session: 's', member: 'm', stateDir: folder, mounts: [], gateway: { url, tokenFile } })
  const since = performance.now()
  const left = await finishSession(run, { leave: (note) => leaveGateway(note, 200) })
  t.ok(performance.now() - since < 5000, 'in time')
  t.equal(left.length, 1)
  t.match(left[0], /was not told of the end of session s; its scratch goes, .* when they expire: .*no answer in time/)
  t.equal(run.noted(), undefined, 'and the session has ended')
})
