// Our FUSE layer beside fuse-native over the same tree in memory: medians of interleaved runs. Server and load are
// processes of their own. For the cases with one caller both are pinned to one CPU where taskset is there: otherwise
// the wake-up of an idle virtual CPU decides the figure (fuse.md). One caller and its server never run at once, so
// that their time is the processor time of both; that is what counts for single calls, which otherwise measure how
// long the machine's other processes keep the two waiting at each of their turns.
import { spawn, type ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { whyNoFuse } from '../../mount/fuse/privilege.ts'
import { unmountFuse } from '../../mount/fuse/unmount.ts'
import { median, type BenchRow } from './row.ts'

type Server = 'ours' | 'fuse-native'

interface Case {
  readonly load: 'list' | 'read-1' | 'create' | 'read-4'
  readonly name: string
  readonly unit: string
  readonly target: number
  readonly pinned: boolean
  /** What a rate is per second of. */
  readonly clock: 'wall' | 'processor'
}

const ROUNDS = 5
const PINNED = '0'

const CASES: readonly Case[] = [
  { load: 'list', name: 'FUSE ls -lR of 20,000 files, cold', unit: 'files/s', target: 2, pinned: true, clock: 'wall' },
  {
    load: 'read-1',
    name: 'FUSE 4 KiB random reads, 1 reader',
    unit: 'reads/s',
    target: 1.5,
    pinned: true,
    clock: 'processor',
  },
  { load: 'create', name: 'FUSE create and close', unit: 'files/s', target: 1.5, pinned: true, clock: 'processor' },
  {
    load: 'read-4',
    name: 'FUSE 4 KiB random reads, 4 readers',
    unit: 'reads/s',
    target: 1.5,
    pinned: false,
    clock: 'wall',
  },
]

/** Why the comparison cannot be made here, else null. */
export async function whyNoFuseBench(): Promise<string | null> {
  const reason = await whyNoFuse()
  if (reason !== null) return reason
  try {
    createRequire(import.meta.url)('fuse-native')
    return null
  } catch (error) {
    return `fuse-native does not load (Debian: libfuse2): ${(error as Error).message.split('\n')[0] ?? ''}`
  }
}

/** The rows; none, with the reason on stderr, where the comparison cannot be made. */
export async function fuseBench(): Promise<BenchRow[]> {
  const reason = await whyNoFuseBench()
  if (reason !== null) {
    console.error(`FUSE benchmark skipped: ${reason}`)
    return []
  }
  const results = new Map<string, number[]>()
  for (let round = 0; round < ROUNDS; round++) {
    await measureRound(round, (server, load, rate) => {
      const key = `${server} ${load}`
      results.set(key, [...(results.get(key) ?? []), rate])
    })
  }
  return CASES.map(({ load, name, unit, target, clock }) => {
    const ours = median(results.get(`ours ${load}`) ?? [])
    const peer = median(results.get(`fuse-native ${load}`) ?? [])
    return {
      name,
      ours,
      peer,
      unit: clock === 'wall' ? unit : `${unit} of CPU`,
      ratio: ours / peer,
      target: `>= ${target}`,
    }
  })
}

/** All cases once on fresh mounts, one server right after the other in each, the first of them in turns. */
async function measureRound(
  round: number,
  report: (server: Server, load: string, rate: number) => void,
): Promise<void> {
  const served = [await serve('ours'), await serve('fuse-native')]
  if (round % 2 === 1) served.reverse()
  try {
    for (const one of CASES) {
      for (const { server, child, dir } of served) report(server, one.load, await measure(child, dir, one))
    }
  } finally {
    for (const { stop } of served) await stop()
  }
}

async function measure(child: ChildProcess, dir: string, { load, pinned, clock }: Case): Promise<number> {
  const command = [process.execPath, path.join(import.meta.dirname, 'fuse-load.ts'), load, dir]
  if (clock === 'processor') command.push(String(child.pid))
  if (!hasTaskset()) return Number(await run(command))
  await run(['taskset', '-a', '-c', '-p', pinned ? PINNED : `0-${os.cpus().length - 1}`, String(child.pid)])
  return Number(await run(pinned ? ['taskset', '-c', PINNED, ...command] : command))
}

async function serve(server: Server) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'karst-bench-'))
  const child = spawn(process.execPath, [path.join(import.meta.dirname, 'fuse-server.ts'), server, dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = new Promise((resolve) => child.once('exit', resolve))
  const stop = async () => {
    await unmountFuse(dir, { lazy: true })
    child.kill('SIGKILL')
    await exited
    fs.rmdirSync(dir)
  }
  await ready(child)
  return { server, child, dir, stop }
}

function hasTaskset(): boolean {
  return fs.existsSync('/usr/bin/taskset')
}

function ready(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      if (chunk.includes('ready')) resolve()
    })
    child.once('exit', () => reject(new Error('the server ended')))
  })
}

function run([program = '', ...args]: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.on('error', reject)
    child.on('close', (status) => {
      if (status === 0) resolve(output)
      else reject(new Error(`${program} ${args.join(' ')} ended with ${status}`))
    })
  })
}

if (process.argv[1] === import.meta.filename) console.table(await fuseBench())
