/**
 * `npm run test:soak`: a million operations through a mount, and whether driver and gateway have as much memory, as many descriptors and
 * as many nodes afterwards as before. `-- --operations N`. Last `N passed, N failed, N skipped`.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { askDriver } from '../../mount/control.ts'
import { socketOf } from '../../mount/state.ts'
import { js } from '../mount/driver-harness.ts'
import { ownerOf } from '../mount/killing.ts'
import { Quickstart, run } from '../service/running.ts'

/** Rounds of one program; each makes some 400 operations, and seven of them change something at the gateway. */
const ROUNDS = 100

/** What programs do to files, folders, links, names that are open, and locks: nothing of it is left. */
const CHURN = `const dir = argv[0] + '/' + process.pid, piece = Buffer.alloc(700, 'x')
  fs.mkdirSync(dir)
  for (let i = 0; i < ${ROUNDS}; i++) {
    const f = dir + '/n' + (i % 50), fd = fs.openSync(f, 'w+')
    for (let n = 0; n < 350; n++) fs.writeSync(fd, piece, 0, 1 + (i + n) % 700, n * 200)
    fs.fsyncSync(fd); fs.ftruncateSync(fd, i % 100); fs.closeSync(fd)
    for (let n = 0; n < 4; n++) { fs.readFileSync(f); attempt(() => fs.statSync(f + 'no' + n)) }
    fs.appendFileSync(f, 'more'); fs.renameSync(f, f + 'r'); attempt(() => fs.statSync(f)); fs.chmodSync(f + 'r', 0o600)
    if (i % 7 === 0) { fs.mkdirSync(f); fs.symlinkSync('x', f + '/l'); fs.readlinkSync(f + '/l'); fs.unlinkSync(f + '/l'); fs.rmdirSync(f) }
    if (i % 10 === 0) fs.readdirSync(dir)
    const open = i % 5 === 0 ? fs.openSync(f + 'r', 'r+') : undefined
    fs.unlinkSync(f + 'r')
    if (open !== undefined) { fs.writeSync(open, 'gone'); fs.closeSync(open) }
  }
  fs.rmdirSync(dir)`

interface Seen {
  readonly operations: number
  /** of driver and gateway: MiB, and descriptors */
  readonly memory: readonly number[]
  readonly descriptors: readonly number[]
  readonly inodes: number
  readonly openFiles: number
  readonly dirtyBytes: number
}

async function main(words: string[]): Promise<number> {
  const { values } = parseArgs({ args: words, options: { operations: { type: 'string' } } })
  const operations = Number(values.operations ?? 1_000_000)
  if (!Number.isInteger(operations) || operations < 1) throw new Error('--operations takes a number')
  const karst = new Quickstart()
  try {
    const { mount } = await karst.start()
    const home = mount?.path ?? ''
    const look = () => lookAt(karst)
    // caches fill, and code is compiled, in the first tenth
    const first = await work(home, look, operations / 10)
    const last = await work(home, look, operations)
    const findings = compare(first, last)
    for (const { what, isGood } of findings) console.log(`${isGood ? 'ok' : 'NOT OK'}: ${what}`)
    const began = performance.now()
    const { code, stdout, stderr } = await unmount(karst, home)
    const isGone = code === 0 && stdout + stderr === '' && readdirSync(home).length === 0
    console.log(
      `${isGone ? 'ok' : 'NOT OK'}: umount ends, in ${Math.round(performance.now() - began)} ms ${stdout}${stderr}`,
    )
    const passed = findings.filter(({ isGood }) => isGood).length + Number(isGone)
    const failed = findings.length + 1 - passed
    console.log(`\n${passed} passed, ${failed} failed, 0 skipped`)
    return failed === 0 ? 0 : 1
  } finally {
    await karst.dispose()
  }
}

function unmount(karst: Quickstart, home: string) {
  return run('bin/karst', ['umount', home], { env: { KARST_MOUNT_STATE: join(karst.state, 'mount') } })
}

/** Four programs at a time, until so many operations have been made in all. */
async function work(home: string, look: () => Promise<Seen>, operations: number): Promise<Seen> {
  for (;;) {
    await Promise.all([0, 1, 2, 3].map(() => js(CHURN, home)))
    const seen = await look()
    console.log(
      `${seen.operations} operations; driver and gateway: ${seen.memory.join(' and ')} MiB, ${seen.descriptors.join(' and ')} descriptors; ` +
        `${seen.inodes} nodes, ${seen.openFiles} open files`,
    )
    if (seen.operations >= operations) return seen
  }
}

async function lookAt(karst: Quickstart): Promise<Seen> {
  const state = join(karst.state, 'mount')
  const reply = await askDriver(socketOf(state), { command: 'status' }, 10_000)
  const [mounted] = reply?.ok === true ? reply.mounts : []
  const driver = ownerOf(state)
  if (mounted === undefined || driver === undefined) throw new Error('the driver does not answer')
  const pids = [driver, karst.report.pid]
  return {
    operations: mounted.latency.count,
    memory: pids.map((pid) => memoryOf(pid)),
    descriptors: pids.map((pid) => readdirSync(`/proc/${pid}/fd`).length),
    inodes: mounted.inodes,
    openFiles: mounted.openFiles,
    dirtyBytes: mounted.dirtyBytes,
  }
}

/** MiB in memory. */
function memoryOf(pid: number): number {
  const [, kilobytes = '0'] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Math.round(Number(kilobytes) / 1024)
}

/** What may be more: memory by a half (heaps are let grow), a few descriptors of connections, nodes that the kernel has not let go of yet. */
function compare(first: Seen, last: Seen): { readonly what: string; readonly isGood: boolean }[] {
  const names = ['driver', 'gateway']
  const pairs = (of: (seen: Seen) => readonly number[]) =>
    names.map((name, i) => ({ name, from: of(first)[i] ?? 0, to: of(last)[i] ?? Infinity }))
  return [
    ...pairs(({ memory }) => memory).map(({ name, from, to }) => ({
      what: `memory of the ${name}: ${from} MiB, then ${to} MiB`,
      isGood: to <= 1.5 * from + 16,
    })),
    ...pairs(({ descriptors }) => descriptors).map(({ name, from, to }) => ({
      what: `descriptors of the ${name}: ${from}, then ${to}`,
      isGood: to <= from + 24,
    })),
    { what: `nodes: ${first.inodes}, then ${last.inodes}`, isGood: last.inodes <= first.inodes + 200 },
    {
      what: `${last.openFiles} open files, ${last.dirtyBytes} bytes to be sent`,
      isGood: last.openFiles + last.dirtyBytes === 0,
    },
  ]
}

process.exitCode = await main(process.argv.slice(2))
