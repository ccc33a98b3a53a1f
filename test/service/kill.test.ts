/**
 * kill -9 of the gateway and of the driver, under load: what was acknowledged (2xx, or close answered 0) is there after a restart,
 * whole, and the restart leaves no debris.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fuseSkip } from '../parts.ts'
import { Quickstart, run, sh } from './running.ts'

const skip = await fuseSkip()
t.setTimeout(300_000)
const md5 = (text: string | Buffer): string => createHash('md5').update(text).digest('hex')
const pause = (milliseconds: number): Promise<void> => new Promise((done) => setTimeout(done, milliseconds))

/** Staging files and journals anywhere in the served tree. */
function debris(tree: string): string[] {
  return readdirSync(tree, { recursive: true, encoding: 'utf8' }).filter(
    (file) => /(^|\/)\.karst\/[^/]+\/./.test(file) || file.includes('.karst-unlinked'),
  )
}

t.test('the gateway killed under uploads', { timeout: 90_000 }, async (t) => {
  const karst = new Quickstart(['--no-mount'])
  t.teardown(() => karst.dispose())
  await karst.start()
  const acknowledged = new Map<string, string>()
  for (let round = 0; round < 3; round++) {
    const { pid } = karst.report
    let killed = false
    const worker = async (name: string): Promise<void> => {
      for (let count = 0; !killed; count++) {
        const bytes = Buffer.alloc(200_000, `${name} ${round} ${count} `)
        const path = `/files/home/alice/${name}-${count % 4}`
        const answer = await karst.ask('alice', path, { method: 'PUT', body: bytes }).catch(() => undefined)
        if (answer?.status === 201) acknowledged.set(path, md5(bytes))
        else acknowledged.delete(path) // old or new: both are right now
      }
    }
    const workers = ['a', 'b', 'c'].map(worker)
    await pause(1500)
    process.kill(pid, 'SIGKILL')
    killed = true
    await Promise.all(workers)
    await karst.stop()
    await karst.start()
    t.ok(acknowledged.size > 0, 'something was acknowledged')
    for (const [path, sum] of acknowledged) t.equal(md5((await karst.ask('alice', path)).body), sum, path)
    t.same(debris(join(karst.state, 'tree')), [])
  }
  // what was not acknowledged is old or new, never a mix: each file is one repeated line
  for (const name of readdirSync(join(karst.state, 'tree/home/alice')).filter((file) => /^[abc]-/.test(file))) {
    const text = readFileSync(join(karst.state, 'tree/home/alice', name), 'latin1')
    const unit = /^[abc] \d+ \d+ /.exec(text)?.[0] ?? 'nothing'
    t.ok(text.length === 200_000 && Buffer.alloc(200_000, unit).toString('latin1') === text, `${name} is whole`)
  }
})

/** Writes files until it fails; prints a line after each close that answered 0. */
const WRITER = `
const fs = require('fs'), { createHash } = require('crypto'), home = process.argv[1]
const say = (...words) => fs.writeSync(1, words.join(' ') + '\\n')
for (let n = 0; ; n++) {
  const name = home + '/k' + (n % 50), data = Buffer.from((n + ' ').repeat(30000))
  try {
    const fd = fs.openSync(name, 'w')
    for (let at = 0; at < data.length; at += 65536) fs.writeSync(fd, data, at, Math.min(65536, data.length - at))
    fs.closeSync(fd)
  } catch (error) {
    say('failed', name, error.code)
    break
  }
  say('closed', name, createHash('md5').update(data).digest('hex'))
}
`

/** The process that serves a mount, by its command line. */
async function driverOf(state: string): Promise<number> {
  const found = await sh(
    `for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -q "${state}.*\\|driver.*${state}" && basename $p; done; true`,
  )
  const pids = found.split('\n').filter(Boolean).map(Number)
  for (const pid of pids) {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
    if (words.some((word) => /daemon|driver/.test(word))) return pid
  }
  throw new Error(`no driver among ${pids.join()}`)
}

for (const victim of ['driver', 'gateway'] as const) {
  t.test(`the ${victim} killed under writes through the mount`, { skip, timeout: 90_000 }, async (t) => {
    const karst = new Quickstart()
    t.teardown(() => karst.dispose())
    const report = await karst.start()
    const home = report.mount?.path ?? ''
    const port = new URL(report.url).port
    const driver = await driverOf(karst.state)
    const writing = run(process.execPath, ['-e', WRITER, home], { limit: 12_000 })
    await pause(2000)
    process.kill(victim === 'driver' ? driver : report.pid, 'SIGKILL')
    if (victim === 'gateway') {
      await pause(1000)
      await karst.stop()
      await karst.start([], port)
    }
    const { stdout } = await writing
    if (victim === 'driver') {
      await karst.stop()
      await karst.start([], port)
    }
    const closed = new Map<string, string>()
    for (const line of stdout.split('\n')) {
      const [word, name = '', sum = ''] = line.split(' ')
      if (word === 'closed') closed.set(name, sum)
    }
    const lines = stdout.trim().split('\n')
    t.ok(closed.size > 3, `writes were closed: ${lines.length} lines`)
    // the file being written when it ended may be older or newer than its last acknowledged close
    const next = lines.filter((line) => line.startsWith('closed')).length % 50
    closed.delete(`${home}/k${next}`)
    for (const [name, sum] of closed) {
      const answer = await karst.ask('alice', `/files/home/alice/${name.slice(home.length + 1)}`)
      t.equal(md5(answer.body), sum, `${name} over HTTPS`)
      t.equal((await sh(`md5sum < '${name}'`)).slice(0, 32), sum, `${name} through the mount`)
    }
    t.same(debris(join(karst.state, 'tree')), [])
    t.equal(await karst.stop(), 0)
    t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), karst.state)
  })
}
