// The load of the FUSE benchmark, in a process apart from the servers: `node fuse-load.ts CASE DIR [PID]` prints a rate.
// With the server's process id it is a rate per second of processor time, the server's and this process's: what they
// take of a clock when both share one CPU that nobody else uses.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { FILE_SIZE, FILES, FOLDERS } from './fuse-tree.ts'

const BLOCK = 4096
const READS = 30000
const READERS = 4
const CREATES = 4000

const [what, dir = '', server] = process.argv.slice(2)

/** Nanoseconds, of the clock or of the processor. */
function now(): number {
  return server === undefined ? performance.now() * 1e6 : processorTime(server) + processorTime('self')
}

/** What all threads of a process have had of the processors; /proc/PID/stat counts hundredths of a second, too coarse here. */
function processorTime(pid: string): number {
  const times = fs.readdirSync(`/proc/${pid}/task`).map((thread) => {
    const [had] = fs.readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')
    return Number(had)
  })
  return times.reduce((sum, time) => sum + time, 0)
}

/** Operations a second. */
function rate(operations: number, since: number): number {
  return (operations * 1e9) / (now() - since)
}

/** Random reads past the page cache, one after the other. */
function readRandomly(dir: string, count: number): number {
  const fd = fs.openSync(path.join(dir, 'large'), fs.constants.O_RDONLY | fs.constants.O_DIRECT)
  const buffer = Buffer.alloc(BLOCK)
  const once = () => {
    const at = Math.floor(Math.random() * (FILE_SIZE / BLOCK)) * BLOCK
    if (fs.readSync(fd, buffer, 0, BLOCK, at) !== BLOCK || buffer[0] !== ((at >> 20) + 1) % 256) {
      throw new Error(`wrong bytes at ${at}`)
    }
  }
  for (let i = 0; i < count / 10; i++) once()
  const since = now()
  for (let i = 0; i < count; i++) once()
  return rate(count, since)
}

/** The sum of several readers at once. */
async function readConcurrently(dir: string): Promise<number> {
  const rates = Array.from({ length: READERS }, () => output([process.execPath, import.meta.filename, 'read-1', dir]))
  return (await Promise.all(rates)).reduce((sum, text) => sum + Number(text), 0)
}

/** Files made and closed. */
function create(dir: string): number {
  const since = now()
  for (let i = 0; i < CREATES; i++) fs.closeSync(fs.openSync(path.join(dir, 'new', `file-${process.pid}-${i}`), 'wx'))
  return rate(CREATES, since)
}

/** Files listed. */
async function list(dir: string): Promise<number> {
  const since = now()
  const text = await output(['ls', '-lR', path.join(dir, 'tree')])
  const listed = rate(FOLDERS * FILES, since)
  const lines = text.split('\n').filter((line) => line.includes(' file-')).length
  if (lines !== FOLDERS * FILES) throw new Error(`${lines} files listed`)
  return listed
}

function output([program = '', ...args]: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    const chunks: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
    child.on('error', reject)
    child.on('close', (status) => {
      if (status === 0) resolve(Buffer.concat(chunks).toString())
      else reject(new Error(`${program} ended with ${status}`))
    })
  })
}

if (what === 'read-1') console.log(readRandomly(dir, READS))
else if (what === 'read-4') console.log(await readConcurrently(dir))
else if (what === 'create') console.log(create(dir))
else console.log(await list(dir))
