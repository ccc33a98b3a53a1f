/**
 * A mount beside what a user would take instead: curl on the same gateway, sshfs and rclone over the same tree, and the tree itself. All are
 * processes of their own on one machine, in turns; loads run in a process apart.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { whyNoFuse } from '../../mount/fuse/privilege.ts'
import { type QuickstartReport } from '../../src/cli/quickstart.ts'
import { call, isMounted, karst, type Mounting } from '../service/mounting.ts'
import { Quickstart } from '../service/running.ts'
import { isThere, rclone, sshfs, whyNoSshfs } from './mount-peers.ts'
import { FILES, FOLDERS, LARGE, MADE, MIB } from './mount-tree.ts'
import { median, type BenchRow } from './row.ts'

const ROUNDS = 3
const MOUNTS = 20
const RSS_LIMIT = 250
const LOAD = path.join(import.meta.dirname, 'mount-load.ts')

interface Bench {
  readonly report: QuickstartReport
  /** alice's home on disk */
  readonly home: string
  readonly ours: Mounting & { readonly state: string }
  readonly sshfs: Mounting | undefined
  readonly rclone: Mounting | undefined
}

/** A row: ours beside a peer, as rates of `amount` a second. */
interface Compared {
  readonly name: string
  readonly unit: string
  readonly amount: number
  readonly target?: string
}

/** What can be measured, in this order. */
const PARTS: Readonly<Record<string, (bench: Bench) => Promise<BenchRow[]>>> = {
  start: mounting,
  read: reading,
  write: writing,
  list: looking,
  create: making,
  warm,
  memory: async (bench) => [await crowded(bench)],
}
export const MOUNT_PARTS: readonly string[] = Object.keys(PARTS)

/** The rows of these parts; where a peer is missing its rows are left out, with the reason on stderr. */
export async function mountBench(parts: readonly string[] = MOUNT_PARTS): Promise<BenchRow[]> {
  const reason = await whyNoFuse()
  if (reason !== null) return why(reason)
  const quickstart = new Quickstart(['--no-mount'])
  const made: Mounting[] = []
  const keep = <T extends Mounting>(one: T): T => (made.push(one), one)
  try {
    const report = await quickstart.start()
    const home = path.join(quickstart.state, 'tree', 'home', 'alice')
    plant(home)
    const noSshfs = whyNoSshfs()
    if (noSshfs !== null) why(noSshfs)
    if (!isThere('rclone')) why('rclone is not installed')
    const bench: Bench = {
      ...{ report, home, ours: keep(karst(report, '/home/alice')) },
      sshfs: noSshfs === null ? keep(await sshfs(home)) : undefined,
      rclone: isThere('rclone') ? keep(await rclone(home)) : undefined,
    }
    return await measured(bench, parts)
  } finally {
    for (const one of made.reverse()) await one.end()
    await quickstart.dispose()
  }
}

function why(reason: string): BenchRow[] {
  console.error(`mount benchmark, cases skipped: ${reason}`)
  return []
}

async function measured(bench: Bench, parts: readonly string[]): Promise<BenchRow[]> {
  const rows: BenchRow[] = []
  for (const [name, measure] of Object.entries(PARTS)) {
    if (!parts.includes(name)) continue
    if (name !== 'start') await each(bench, mountedOnce)
    rows.push(...(await measure(bench)))
  }
  return rows
}

async function mountedOnce(one: Mounting): Promise<void> {
  if (!(await isMounted(one.dir))) await one.mount()
}

/** What is read and listed: a large file, and many small ones. */
function plant(home: string): void {
  const random = Buffer.alloc(MIB, 'incompressible enough')
  const fd = fs.openSync(path.join(home, 'large'), 'w')
  for (let i = 0; i < LARGE; i++) fs.writeSync(fd, random)
  fs.closeSync(fd)
  for (let i = 0; i < FOLDERS; i++) {
    const folder = path.join(home, 'many', `folder-${i}`)
    fs.mkdirSync(folder, { recursive: true })
    for (let j = 0; j < FILES; j++) fs.writeFileSync(path.join(folder, `file-${j}`), 'small')
  }
  for (const who of ['karst', 'sshfs', 'rclone']) fs.mkdirSync(path.join(home, who))
  execFileSync('chown', ['-R', `--reference=${home}`, ...fs.readdirSync(home).map((name) => path.join(home, name))])
}

async function each(bench: Bench, act: (one: Mounting) => Promise<unknown>): Promise<void> {
  for (const one of [bench.ours, bench.sshfs, bench.rclone]) if (one !== undefined) await act(one)
}

/** Seconds, by a process of its own. */
async function load(what: string, dir: string, count = 1): Promise<number> {
  const env = { ...process.env, UV_THREADPOOL_SIZE: '16' }
  const child = spawn(process.execPath, [LOAD, what, dir, String(count)], { stdio: ['ignore', 'pipe', 'inherit'], env })
  let output = ''
  child.stdout.on('data', (part: Buffer) => (output += part.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`${what} of ${dir} ended with ${String(code)}`)
  return Number(output)
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const since = performance.now()
  await work()
  return (performance.now() - since) / 1000
}

/** Ours beside each of the peers that are there, in turns; medians. */
async function beside(
  { name, unit, amount, target }: Compared,
  ours: () => Promise<number>,
  peers: Readonly<Record<string, (() => Promise<number>) | undefined>>,
  rounds = ROUNDS,
): Promise<BenchRow[]> {
  const there = Object.entries(peers).flatMap(([peer, measure]) =>
    measure === undefined ? [] : [[peer, measure] as const],
  )
  const times = new Map<string, number[]>()
  for (let round = 0; round < rounds; round++) {
    for (const [who, measure] of [['ours', ours] as const, ...there]) {
      times.set(who, [...(times.get(who) ?? []), await measure()])
    }
  }
  const mine = median(times.get('ours') ?? [])
  console.error(`${name}: ${[...times].map(([who, all]) => `${who} ${median(all).toFixed(3)} s`).join(', ')}`)
  return there.map(([peer], index) => {
    const theirs = median(times.get(peer) ?? [])
    const wanted = index === 0 && target !== undefined ? { target } : {}
    return {
      name: `${name} beside ${peer}`,
      ours: amount / mine,
      peer: amount / theirs,
      unit,
      ratio: theirs / mine,
      ...wanted,
    }
  })
}

/** The load on each of the mounts, below a folder. */
function onMounts(bench: Bench, what: string, below: string, count = 1) {
  const on = (one: Mounting | undefined) => one && (() => load(what, path.join(one.dir, below), count))
  return {
    ours: () => load(what, path.join(bench.ours.dir, below), count),
    sshfs: on(bench.sshfs),
    rclone: on(bench.rclone),
  }
}

async function mounting(bench: Bench): Promise<BenchRow[]> {
  const once = (one: Mounting) => async () => {
    const time = await seconds(async () => {
      await one.mount()
      await fs.promises.readdir(one.dir)
    })
    await one.unmount()
    return time
  }
  const compared = { name: 'from command to usable mount', unit: 'mounts/s', amount: 1, target: '>= 0.5' }
  return beside(compared, once(bench.ours), {
    sshfs: bench.sshfs && once(bench.sshfs),
    rclone: bench.rclone && once(bench.rclone),
  })
}

function curl({ report }: Bench, ...args: string[]): Promise<number> {
  const known = ['--silent', '--fail', '--http1.1', '--cacert', report.ca, '--cert', report.users['alice']?.proxy ?? '']
  return seconds(() => call('curl', [...known, ...args]))
}

/** What the kernel keeps of the file is dropped, as far as the mount is concerned. */
function forget(one: Mounting | undefined, name: string): void {
  if (one !== undefined)
    execFileSync('dd', [`if=${path.join(one.dir, name)}`, 'iflag=nocache', 'count=0', 'status=none'])
}

async function reading(bench: Bench): Promise<BenchRow[]> {
  const from = (one: Mounting) => async () => {
    forget(one, 'large')
    return load('read', path.join(one.dir, 'large'))
  }
  const compared = { name: `sequential read of ${LARGE} MiB`, unit: 'MiB/s', amount: LARGE, target: '>= 0.8' }
  return beside(compared, from(bench.ours), {
    'curl GET': () => curl(bench, '--output', '/dev/null', `${bench.report.url}/files/home/alice/large`),
    sshfs: bench.sshfs && from(bench.sshfs),
    rclone: bench.rclone && from(bench.rclone),
  })
}

async function writing(bench: Bench): Promise<BenchRow[]> {
  const to = (one: Mounting) => () => load('write', path.join(one.dir, one.name, 'written'), LARGE)
  const compared = {
    name: `sequential write of ${LARGE} MiB and fsync`,
    unit: 'MiB/s',
    amount: LARGE,
    target: '>= 0.8',
  }
  return beside(compared, to(bench.ours), {
    'curl PUT': () => curl(bench, '-T', path.join(bench.home, 'large'), `${bench.report.url}/files/home/alice/put`),
    sshfs: bench.sshfs && to(bench.sshfs),
    rclone: bench.rclone && to(bench.rclone),
  })
}

/** Each on a fresh mount: nothing is known of the tree. */
async function looking(bench: Bench): Promise<BenchRow[]> {
  const fresh = (one: Mounting, what: string) => async () => {
    await one.unmount()
    await one.mount()
    return load(what, path.join(one.dir, 'many'))
  }
  const rows: BenchRow[] = []
  for (const [what, name] of [
    ['list', 'ls -lR of 10,000 files'],
    ['stat', 'cold stat of 10,000 files'],
  ] as const) {
    // prettier-ignore
    const compared = { name, unit: 'files/s', amount: FOLDERS * FILES, target: '>= 2' }
    const peers = { sshfs: bench.sshfs && fresh(bench.sshfs, what), ...(what === 'list' && { rclone: bench.rclone && fresh(bench.rclone, what) }) } // prettier-ignore
    rows.push(...(await beside(compared, fresh(bench.ours, what), peers)))
  }
  return rows
}

/** Each file is written, sent to the disk (fsync) and closed. */
async function making(bench: Bench): Promise<BenchRow[]> {
  const rows: BenchRow[] = []
  for (const workers of [1, 8]) {
    const at = workers === 1 ? 'one after the other' : `${workers} at a time`
    for (const [what, name] of [
      ['create', 'durable create'],
      ['remove', 'delete'],
    ] as const) {
      const on = (one: Mounting) => () => load(what, path.join(one.dir, one.name), workers)
      const compared = {
        name: `${name} of small files, ${at},`,
        unit: 'files/s',
        amount: MADE * FILES,
        target: '>= 2',
      }
      rows.push(...(await beside(compared, on(bench.ours), { sshfs: bench.sshfs && on(bench.sshfs) }, 1)))
    }
  }
  return rows
}

async function warm(bench: Bench): Promise<BenchRow[]> {
  const native = (what: string, below: string) => () => load(what, path.join(bench.home, below))
  const stats = { name: 'warm stat', unit: 'stats/s', amount: 1000, target: '>= 0.9' }
  const reads = { name: 'page-cached read', unit: 'MiB/s', amount: LARGE, target: '>= 0.9' }
  const ours = (what: string, below: string) => onMounts(bench, what, below).ours
  return [
    ...(await beside(stats, ours('warm-stat', 'many'), { native: native('warm-stat', 'many') })),
    ...(await beside(reads, ours('warm-read', 'large'), { native: native('warm-read', 'large') })),
  ]
}

/** The most that the driver's resident memory has been while each of twenty mounts reads the large file. */
async function crowded({ report, ours }: Bench): Promise<BenchRow> {
  const driver = Number(fs.readFileSync(path.join(ours.state, 'driver.lock'), 'utf8').split(' ')[0])
  const others = Array.from({ length: MOUNTS - 1 }, () => karst(report, '/home/alice', ours.state))
  try {
    for (const one of others) await one.mount()
    await Promise.all([ours, ...others].map((one) => load('read', path.join(one.dir, 'large'))))
    const peak = /^VmHWM:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${driver}/status`, 'latin1'))?.[1]
    const most = Number(peak) / 1024
    const name = `RSS of the driver, ${MOUNTS} mounts that read (peer: the limit)`
    return { name, ours: most, peer: RSS_LIMIT, unit: 'MiB', ratio: RSS_LIMIT / most, target: '> 1' }
  } finally {
    for (const one of others) await one.end()
  }
}
