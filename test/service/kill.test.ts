/**
 * kill -9 of the gateway and of the driver, under load: what was acknowledged (2xx, or close answered 0) is there after a restart,
 * whole, and the restart leaves no debris.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Quickstart, run, sh } from './running.ts'

const noFuse = existsSync('/dev/fuse') && process.getuid?.() === 0 ? false : 'needs /dev/fuse and root'
t.setTimeout(300_000)
const md5 = (text: string | Buffer): string => createHash('md5').update(text).digest('hex')
const pause = (milliseconds: number): Promise<void> => new Promise((done) => setTimeout(done, milliseconds))

/** Staging files and journals anywhere in the served tree. */
function debris(tree: string): string[] {
  return readdirSync(tree, { recursive: true, encoding: 'utf8' }).filter(
    (file) => /(^|\/)\.karst\/[^/]+\/./.test(file) || file.includes('.karst-unlinked'),
  )
}

t.test('the gateway killed under uploads', { timeout: 240_000 }, async (t) => {
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
        const file = join(karst.folder, `up-${name}`)
        writeFileSync(file, bytes)
        const path = `/files/home/alice/${name}-${count % 4}`
        const answer = await karst.curl('alice', path, '-T', file).catch(() => undefined)
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
    for (const [path, sum] of acknowledged) t.equal(md5((await karst.curl('alice', path)).body), sum, path)
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
import os, sys, hashlib
n = 0
while True:
    name = '%s/k%d' % (sys.argv[1], n % 50)
    data = (('%d ' % n) * 30000).encode()
    try:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for i in range(0, len(data), 65536): os.write(fd, data[i:i+65536])
        os.close(fd)
    except OSError as e:
        print('failed', name, e.errno, flush=True); break
    print('closed', name, hashlib.md5(data).hexdigest(), flush=True)
    n += 1
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
  t.test(`the ${victim} killed under writes through the mount`, { skip: noFuse, timeout: 240_000 }, async (t) => {
    const karst = new Quickstart()
    t.teardown(() => karst.dispose())
    const report = await karst.start()
    const home = report.mount?.path ?? ''
    const port = new URL(report.url).port
    const driver = await driverOf(karst.state)
    const writing = run('python3', ['-c', WRITER, home], { limit: 12_000 })
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
      const answer = await karst.curl('alice', `/files/home/alice/${name.slice(home.length + 1)}`)
      t.equal(md5(answer.body), sum, `${name} over HTTPS`)
      t.equal((await sh(`md5sum < '${name}'`)).slice(0, 32), sum, `${name} through the mount`)
    }
    t.same(debris(join(karst.state, 'tree')), [])
    t.equal(await karst.stop(), 0)
    t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), karst.state)
  })
}
