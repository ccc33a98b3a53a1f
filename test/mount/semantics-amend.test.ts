// mount/SEMANTICS.md `amend-in-kilobytes`, `amend-whole` and `sqlite-round-trips`: a change within a large file, from the kernel to the disk of the gateway.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startGateway, type Gateway } from '../http/gateway.ts'
import { fuseSkip, needs } from '../parts.ts'
import { karst } from '../service/mounting.ts'
import { Quickstart } from '../service/running.ts'
import { mountOf } from './client-harness.ts'
import { js } from './driver-harness.ts'
import { kill, ownerOf } from './killing.ts'
import { Wire } from './wire.ts'

const skip = await fuseSkip()
t.setTimeout(600_000)

/** A quickstart, and alice's home mounted through a wire that counts. */
async function wired(t: Test) {
  const quickstart = new Quickstart(['--no-mount'])
  t.teardown(() => quickstart.dispose())
  const report = await quickstart.start()
  const wire = new Wire(t, Number(new URL(report.url).port))
  await wire.listening
  const mount = karst({ ...report, url: wire.url }, '/home/alice')
  t.teardown(() => mount.end())
  await mount.mount()
  return { quickstart, wire, mount, home: path.join(quickstart.state, 'tree/home/alice') }
}

/** A file in alice's tree, put there by hand. */
function plant(home: string, name: string, make: (file: string) => void): string {
  const file = path.join(home, name)
  make(file)
  const { uid, gid } = fs.statSync(home)
  fs.chownSync(file, uid, gid)
  return file
}

t.test('amend-in-kilobytes', { skip }, async (t) => {
  const { wire, mount, home } = await wired(t)
  const file = plant(home, 'gibibyte', (at) => {
    fs.writeFileSync(at, 'begin')
    fs.truncateSync(at, 1 << 30)
  })
  const before = { sent: wire.sent, received: wire.received }
  await js(
    `const fd = fs.openSync(argv[0] + '/gibibyte', 'r+')
     fs.writeSync(fd, 'X', 600_000_000)
     fs.closeSync(fd)`,
    mount.dir,
  )
  const [sent, received] = [wire.sent - before.sent, wire.received - before.received]
  t.ok(sent < 32_768 && received < 32_768, `${sent} bytes sent, ${received} received`)
  const seen = Buffer.alloc(3)
  const fd = fs.openSync(file, 'r')
  fs.readSync(fd, seen, 0, 3, 599_999_999)
  fs.closeSync(fd)
  t.equal(seen.toString(), '\0X\0'.replaceAll('\\\0', '\0'))
  t.equal(fs.statSync(file).size, 1 << 30)
})

const PLACES = 48
const STEP = 65_536

/** Writes its number at many places of the file, again and again; prints each number once its fsync has said that it is there. */
const AMENDER = `
const fs = require('fs'), fd = fs.openSync(process.argv[1], 'r+')
for (let n = 1; n < 200; n++) {
  for (let i = 0; i < ${PLACES}; i++) fs.writeSync(fd, String(n).padStart(8), i * ${STEP} + 5)
  fs.fsyncSync(fd)
  fs.writeSync(1, n + '\\n')
}
`

t.test('amend-whole', { skip }, async (t) => {
  const { quickstart, mount, home } = await wired(t)
  /** By HTTP: a reader whose file is changed meanwhile is cut off, and asks again. */
  const versions = async (name: string): Promise<string[]> => {
    for (;;) {
      const answer = await quickstart.ask('alice', `/files/home/alice/${name}`).catch(() => undefined)
      if (answer?.status !== 200) continue
      const bytes = answer.body.toString('latin1')
      return [...new Set(Array.from({ length: PLACES }, (_, i) => bytes.slice(i * STEP + 5, i * STEP + 13)))]
    }
  }
  const killGateway = async (): Promise<void> => {
    process.kill(quickstart.report.pid, 'SIGKILL')
    const { port } = new URL(quickstart.report.url)
    await quickstart.stop()
    await quickstart.start(undefined, port)
  }
  const killDriver = (): void => void kill(ownerOf(mount.state) ?? 0)
  const rounds = [[120, killGateway], [260, killDriver], [410, killGateway], [330, () => (killDriver(), killGateway())]] as const // prettier-ignore
  for (const [round, [after, strike]] of rounds.entries()) {
    const name = `f${round}`
    plant(home, name, (to) => fs.writeFileSync(to, Buffer.alloc(PLACES * STEP, ' ')))
    const child = spawn(process.execPath, ['-e', AMENDER, path.join(mount.dir, name)], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    let last = 0
    const ended = new Promise((resolve) => child.once('close', resolve))
    child.stdout.on('data', (part: Buffer) => (last = Number(part.toString().trim().split('\n').at(-1))))
    while (last === 0 && child.exitCode === null) await sleep(10)
    await sleep(after)
    const said = last
    await strike()
    child.kill('SIGKILL')
    const seen = await versions(name)
    t.ok(said > 0, 'it was under way')
    t.equal(seen.length, 1, `one version and no mix: ${seen.join(', ')}`)
    t.ok(Number(seen[0]) >= said, `${String(seen[0])}, and ${said} was said to be there`)
    await ended
  }
})

/** A table of so many rows, then ten commits of one row each; waits for `go` before them. */
const COMMITS = String.raw`
import os, sqlite3, sys, time
path, rows = sys.argv[1], int(sys.argv[2])
db = sqlite3.connect(path, timeout=60, isolation_level=None)
db.executescript('CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, pad TEXT)')
db.execute('BEGIN')
db.executemany('INSERT INTO t (pad) VALUES (?)', (('x' * 900,) for _ in range(rows)))
db.execute('COMMIT')
print('ready', flush=True)
sys.stdin.readline()
for i in range(10):
    db.execute('UPDATE t SET pad = ? WHERE n = ?', ('y' * 900, 1 + i * (rows // 10)))
print('done', flush=True)
`

/** Of the mount API, but for news, and the renewal of leases, which go by the clock. */
function requests({ log }: Gateway): number {
  const targets = log.map(({ fields }) => (fields as { target?: string }).target ?? '')
  return targets.filter((target) => target.includes('/fs/v1/') && !/\/(changes|lease\/renew)\b/.test(target)).length
}

/** Requests for each of ten commits to a database of so many rows of 1 KB. */
async function requestsOfACommit(t: Test, gateway: Gateway, dir: string, rows: number): Promise<number> {
  const child = spawn('python3', ['-c', COMMITS, path.join(dir, `base-${rows}.db`), String(rows)], { cwd: '/' })
  t.teardown(() => child.kill('SIGKILL'))
  let errors = ''
  child.stderr.on('data', (part: Buffer) => (errors += part.toString()))
  const ended = once(child, 'close')
  // by lines: an unbuffered Python writes a line and its end apart
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const said = async (): Promise<string> => {
    const { value } = await lines.next()
    return value ?? `${errors} ended with ${(await ended).join(' ')}`
  }
  t.equal(await said(), 'ready')
  const before = requests(gateway)
  child.stdin.write('go\n')
  t.equal(await said(), 'done')
  return (requests(gateway) - before) / 10
}

t.test('sqlite-round-trips', { skip: skip || needs('python3 with sqlite3') }, async (t) => {
  const gateway = await startGateway(t)
  const { dir } = await mountOf(t, gateway)
  const small = await requestsOfACommit(t, gateway, dir, 20)
  const large = await requestsOfACommit(t, gateway, dir, 5000)
  t.ok(small > 1, 'they are counted')
  t.comment(`${small} requests a commit, ${large} in a larger database`)
  t.ok(small <= 24, `${small} requests a commit`)
  t.ok(large <= small + 2, `${large} in a database of 5 MB: not more for its size`)
})
