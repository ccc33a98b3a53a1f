// mount/SEMANTICS.md "When things break": the driver is killed, the gateway refuses, the local disk is full.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import t, { type Test } from 'tap'
import { unmountFuse } from '../../mount/fuse/unmount.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { needs } from '../parts.ts'
import { drive, fuseSkip, HOME, js, run, sh, until, type Driven } from './driver-harness.ts'

const skip = await fuseSkip()

/** Files that a driver kept, with what they hold. */
function recovered({ state }: Driven): { name: string; bytes: string; origin: string }[] {
  const folder = path.join(state, 'recovered')
  if (!fs.existsSync(folder)) return []
  return (
    fs
      .readdirSync(folder)
      .filter((name) => !name.endsWith('.origin'))
      // the bytes come first: one without its origin is still being kept
      .filter((name) => fs.existsSync(path.join(folder, `${name}.origin`)))
      .map((name) => ({
        name,
        bytes: fs.readFileSync(path.join(folder, name), 'latin1'),
        origin: fs.readFileSync(path.join(folder, `${name}.origin`), 'utf8').trim(),
      }))
  )
}

void t.test('failed-close-keeps', { skip }, async (t) => {
  const { dir, remote, at } = await drive(t)
  remote.write(`${HOME}/kept`, 'old')
  remote.failNext(2, new Fault('QuotaExceeded', 'on order'), 'put', 'amend')
  const told = await js<(number | null)[]>(
    `const fd = fs.openSync(argv[0] + '/kept', 'w'); fs.writeSync(fd, 'precious')
     const error = () => { try { fs.fsyncSync(fd); return null } catch (error) { return -error.errno } }
     const told = [error(), error(), error()]; fs.closeSync(fd); return told`,
    dir,
  )
  t.same(told, [122, 122, null], 'the third try has room again')
  t.equal(at('kept'), 'precious')
})

void t.test('unsent-files-are-kept', { skip }, async (t) => {
  const mount = await drive(t)
  const { dir, remote, at, ask } = mount
  // whole pages, which the kernel caches as they are written
  const [old, written] = ['old chapter '.repeat(1024), 'chapter one '.repeat(1024)]
  remote.write(`${HOME}/thesis.tex`, old)
  remote.failNext(9, new Fault('QuotaExceeded', 'on order'), 'put', 'amend')
  const script = `const fd = fs.openSync(argv[0] + '/thesis.tex', 'r+'); fs.writeSync(fd, 'chapter one '.repeat(1024)); fs.closeSync(fd)`
  await t.rejects(js(script, dir), /-122/)
  const [kept] = await until(
    () => recovered(mount),
    (files) => files.length > 0,
  )
  t.match(kept, { name: /thesis\.tex$/, bytes: written, origin: `${HOME}/thesis.tex` })
  t.equal(at('thesis.tex'), old)
  t.match(await ask('log'), [/thesis\.tex: the gateway did not take it.*kept in .*recovered/])
  remote.heal()
  t.equal((await sh('cat thesis.tex', dir)).output, old, 'the mount shows what the gateway has')
})

void t.test('killed-driver', { skip }, async (t) => {
  const mount = await drive(t)
  const { dir, remote, child, exited, state } = mount
  const script = `for (let i = 0; i < 100000; i++) {
      const fd = fs.openSync(argv[0] + '/f' + i, 'w'); fs.writeSync(fd, 'content of ' + i); fs.closeSync(fd)
      fs.writeSync(1, i + '\\n')
      if (i === 20) { const open = fs.openSync(argv[0] + '/never-closed', 'w'); fs.writeSync(open, 'half a') }
    }`
  let acknowledged = ''
  const writer = spawn(
    process.execPath,
    ['-e', `const fs = require('fs'), argv = process.argv.slice(1); ${script}`, '--', dir],
    {
      stdio: ['ignore', 'pipe', 'ignore'],
      cwd: '/',
    },
  )
  writer.stdout.on('data', (chunk: Buffer) => (acknowledged += chunk.toString()))
  t.teardown(() => writer.kill('SIGKILL'))
  const ended = new Promise((resolve) => writer.once('close', resolve))
  await until(
    () => acknowledged.split('\n').length,
    (lines) => lines > 60,
  )
  child.kill('SIGKILL')
  await Promise.all([exited, ended])
  const closed = acknowledged.split('\n').filter((line) => line !== '')
  t.ok(closed.length >= 60)
  const lost = closed.filter((i) => remote.bytes(`${HOME}/f${i}`)?.toString() !== `content of ${i}`)
  t.same(lost, [], 'what close acknowledged is at the gateway')
  t.equal(remote.bytes(`${HOME}/never-closed`)?.toString() ?? '', '', 'what was never closed is not published')

  const next = await drive(t, { remote, state, dir })
  const log = String(await next.ask('log'))
  t.match(log, /its driver had ended; detached/)
  t.match(log, /never-closed: the driver ended before it was closed/)
  const kept = recovered(next).find(({ name }) => name.endsWith('never-closed'))
  t.match(kept, { bytes: 'half a', origin: `${HOME}/never-closed` })
  t.equal((await sh('cat f0; test ! -s never-closed; ls "$2/spool" | wc -l', dir, state)).output, 'content of 01\n')
})

void t.test('swept-names', { skip }, async (t) => {
  const mount = await drive(t)
  const { dir, remote, child, exited, state } = mount
  remote.write(`${HOME}/d/enormous`, Buffer.alloc(65 << 20, 'e'))
  const script = `const fd = fs.openSync(argv[0] + '/d/enormous', 'r'), b = Buffer.alloc(4)
    fs.unlinkSync(argv[0] + '/d/enormous'); fs.rmdirSync(argv[0] + '/d')
    const read = fs.readSync(fd, b, 0, 4, 60 << 20)
    const seen = [read, b.toString(), fs.fstatSync(fd).nlink, fs.readdirSync(argv[0])]`
  t.same(await js(`${script}; return seen`, dir), [4, 'eeee', 0, []])
  await until(
    () => remote.paths(),
    (paths) => paths.length === 2,
  )
  t.same(remote.paths(), ['/home', HOME], 'its last close removes it')

  remote.write(`${HOME}/d/enormous`, Buffer.alloc(65 << 20, 'e'))
  const holder = js(`${script}; for (;;) { fs.fstatSync(fd); await new Promise((r) => setTimeout(r, 50)) }`, dir).catch(
    () => undefined,
  )
  await until(
    () => remote.paths(),
    // and its folder is gone, which comes after
    (paths) => paths.length === 3 && paths.some((path) => path.includes('.karst-unlinked-')),
  )
  child.kill('SIGKILL')
  await exited
  t.equal(remote.paths().length, 3)
  const next = await drive(t, { remote, state, dir })
  t.same(remote.paths(), ['/home', HOME])
  t.match(await next.ask('log'), [/detached/, /\.karst-unlinked-.*removed/])
  await holder
})

void t.test('unmount-sends', { skip }, async (t) => {
  const { dir, ask, at, remote, exited } = await drive(t)
  remote.write(`${HOME}/held`, 'old')
  const script = `const fs = require('fs'), dir = process.argv[1], fd = fs.openSync(dir + '/held', 'w')
    fs.writeSync(fd, 'written'); fs.writeFileSync(dir + '/go', ''); setTimeout(() => {}, 60000)`
  const holder = spawn(process.execPath, ['-e', script, '--', dir], { stdio: 'ignore', cwd: '/' })
  t.teardown(() => holder.kill('SIGKILL'))
  await until(
    () => at('go'),
    (go) => go !== undefined,
  )
  t.equal(at('held'), 'old')
  t.equal(await ask('unmount'), 0)
  t.equal(at('held'), 'written', 'sent although its program still has it open')
  t.equal((await sh('ls', dir)).output, '', 'nothing is mounted any more')
  holder.kill('SIGKILL')
  await exited
})

void t.test('spool-full', { skip: skip || needs('root') }, async (t) => {
  const state = fs.mkdtempSync('/tmp/karst-small-')
  t.equal((await run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', state])).status, 0)
  t.teardown(async () => {
    await run('umount', ['-l', state])
    fs.rmSync(state, { recursive: true, force: true })
  })
  const inside = path.join(state, 'state')
  const { dir, at } = await drive(t, { state: inside })
  const told = await js<unknown[]>(
    `const fd = fs.openSync(argv[0] + '/big', 'w'), piece = Buffer.alloc(65536, 'x')
     let done = 0, told
     try { for (;;) done += fs.writeSync(fd, piece) } catch (error) { told = error.code }
     fs.closeSync(fd)
     return [told, done]`,
    dir,
  )
  t.equal(told[0], 'ENOSPC', 'the write says so, not the close')
  t.equal(at('big')?.length, told[1], 'what was written before is all there')
})

void t.test('programs', { skip }, async (t) => {
  const { dir, ask } = await drive(t)
  const works = async (t: Test, script: string) => {
    const { status, output } = await sh(script, dir)
    t.equal(status, 0, output.slice(-2000))
  }
  await t.test('git clones, commits and checks', { skip: needs('git') }, async (t) => {
    const git = 'git -c user.email=a@example.org -c user.name=alice -c init.defaultBranch=main'
    await works(
      t,
      `mkdir origin; cd origin; ${git} init -q; for i in $(seq 60); do echo $i > f$i; done; ${git} add .; ${git} commit -qm one
       cd ..; ${git} clone -q --no-local origin clone; cd clone; echo x >> f1; ${git} commit -qam two; ${git} push -q origin HEAD:other
       ${git} gc -q; ${git} fsck --strict; test -z "$(${git} status --porcelain)"; cd ..; rm -rf origin clone; test -z "$(ls)"`,
    )
  })
  await t.test('sqlite keeps a database', { skip: needs('python3 with sqlite3') }, async (t) => {
    const python = `
import sqlite3
db = sqlite3.connect('db')
db.execute('create table t (x integer)')
for n in range(5):
    with db: db.executemany('insert into t values (?)', [(i,) for i in range(200)])
try:
    with db:
        db.execute('delete from t'); raise KeyError
except KeyError: pass
assert sqlite3.connect('db').execute('select count(*), sum(x) from t').fetchone() == (1000, 99500)
assert db.execute('pragma integrity_check').fetchone() == ('ok',)
db.execute('vacuum')`
    await works(t, `python3 -c "${python}"; rm db; test -z "$(ls)"`)
  })
  await t.test('tar, cp, mv and rm carry a tree', async (t) => {
    await works(
      t,
      `mkdir -p tree/a/b; for i in $(seq 200); do echo $i > tree/a/b/f$i; done; ln -s b tree/a/link; chmod 750 tree/a; touch -d 2001-01-01 tree/a/b/f1
       tar cf all.tar tree; mkdir out; tar xpf all.tar -C out; diff -r tree out/tree; test "$(stat -c %a out/tree/a)" = 750
       test "$(stat -c %Y out/tree/a/b/f1)" = "$(stat -c %Y tree/a/b/f1)"; cp -a tree copy; diff -r tree copy; mv copy out/moved; rm -r tree out all.tar; test -z "$(ls)"`,
    )
  })
  t.same(await ask('log'), [])
})

void t.test('a mount taken away by others ends its driver', { skip }, async (t) => {
  const { dir, exited, state } = await drive(t)
  await unmountFuse(dir)
  await exited
  t.notOk(fs.existsSync(path.join(state, 'driver.lock')))
})
