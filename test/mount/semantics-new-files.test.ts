// mount/SEMANTICS.md: a new file that is still open, as others see it, and as it survives.
import fs from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { nodePath } from '../../src/vospace/path.ts'
import { startGateway } from '../http/gateway.ts'
import { mountOf } from './client-harness.ts'
import { fuseSkip, js, sh, until } from './driver-harness.ts'
import { another, kill, ownerOf, work } from './killing.ts'
import { survivors } from './survival-harness.ts'

const skip = await fuseSkip()
t.setTimeout(300_000)

void t.test('new-files', { skip }, async (t) => {
  await t.test('are as the gateway makes them, and seen by others within a second', async (t) => {
    const gateway = await startGateway(t)
    const [one, two] = [await mountOf(t, gateway), await mountOf(t, gateway)]
    const script = `fs.mkdirSync(argv[0] + '/d'); const file = argv[0] + '/d/new', fd = fs.openSync(file, 'w')
      const { mode, uid, gid, nlink } = fs.fstatSync(fd); fs.writeSync(fd, 'bytes')
      for (let i = 0; i < 500 && !fs.existsSync(argv[1] + '/d/new'); i++) await new Promise((go) => setTimeout(go, 20))
      const seen = fs.readFileSync(argv[1] + '/d/new', 'utf8'), first = { mode, uid, gid, nlink }
      fs.closeSync(fd)
      const now = fs.statSync(file), other = fs.statSync(argv[1] + '/d/new')
      return [seen, fs.readFileSync(argv[1] + '/d/new', 'utf8'), Object.keys(first).filter((key) => first[key] !== now[key]),
        now.ino === other.ino, fs.readdirSync(argv[0] + '/d')]`
    t.same(await js(script, one.dir, two.dir), ['', 'bytes', [], true, ['new']])
    const access = { owner: 'alice', groupRead: [], groupWrite: [], inherit: true, locked: false, isPublic: true }
    await gateway.space.backend.make(nodePath('/home/alice/open'), { type: 'container', access, mode: 0o755 })
    const shared = `const file = argv[0] + '/open/new', fd = fs.openSync(file, 'w', 0o600), { mode } = fs.fstatSync(fd); fs.closeSync(fd)
      await new Promise((go) => setTimeout(go, 1100)); return [mode & 0o777, fs.statSync(file).mode & 0o777]`
    t.same(await js(shared, one.dir), [0o604, 0o604], 'public where the folder gives that')
  })

  await t.test('are locked at the gateway', async (t) => {
    const gateway = await startGateway(t)
    const [one, two] = [await mountOf(t, gateway), await mountOf(t, gateway)]
    const script =
      'exec 9> "$1/lock"; flock -x 9; flock -n "$2/lock" true && exit 3; echo mine >&9; exec 9>&-; flock -n "$2/lock" cat "$2/lock"'
    t.same(await sh(script, one.dir, two.dir), { status: 0, output: 'mine\n' })
  })

  await t.test('survive their driver', async (t) => {
    const { state, mount, umount, log, gateway } = await survivors(t)
    const dir = await mount('/home/alice')
    // it goes on when there is a file beside the mount, so that the driver is killed while the new ones are open
    const go = path.join(state, 'go')
    const script = `const fs = require('fs'), [dir, go] = process.argv.slice(1)
      const open = Array.from({ length: 20 }, (_, i) => fs.openSync(dir + '/n' + i, 'w'))
      for (const [i, fd] of open.entries()) fs.writeSync(fd, 'before ' + i)
      fs.unlinkSync(dir + '/n3')
      fs.writeSync(1, 'open')
      while (!fs.existsSync(go)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
      for (const [i, fd] of open.entries()) { if (i > 4) fs.writeSync(fd, ', after'); fs.closeSync(fd) }`
    for (let round = 0; round < 3; round++) {
      fs.rmSync(go, { force: true })
      const program = work('writer', process.execPath, ['-e', script, '--', dir, go])
      await new Promise((resolve) => program.child.stdout?.once('data', resolve))
      const owner = ownerOf(state)
      if (owner === undefined || !kill(owner)) t.fail('no driver')
      fs.writeFileSync(go, '')
      await another(state, owner)
      t.same(await program.done, { status: 0, output: 'open' })
      for (let i = 0; i < 20; i++) {
        const { status, text } = await gateway.call(`/files/home/alice/n${i}`, { as: 'alice' })
        const wanted = i > 4 ? `before ${i}, after` : `before ${i}`
        t.same([status, status === 200 ? text : ''], i === 3 ? [404, ''] : [200, wanted], `n${i}`)
      }
      await sh('rm "$1"/n*', dir)
    }
    t.notMatch(log(), /kept in|Error/)
    await until(
      () => umount(dir),
      (left) => left.length === 0,
    )
  })
})
