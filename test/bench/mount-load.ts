/**
 * The load of the mount benchmark, in a process of its own: `node mount-load.ts CASE DIR [N]` prints the seconds it took.
 * What a case needs it finds, or makes before the clock starts.
 */
import fs from 'node:fs'
import path from 'node:path'
import { execFileSync } from 'node:child_process'
import { FILES, FOLDERS, MADE, MIB, SMALL } from './mount-tree.ts'

const [what = '', dir = '', count = '1'] = process.argv.slice(2)
const names = Array.from({ length: FOLDERS * FILES }, (_, i) =>
  path.join(`folder-${Math.floor(i / FILES)}`, `file-${i % FILES}`),
)

function seconds(work: () => void): number {
  const since = performance.now()
  work()
  return (performance.now() - since) / 1000
}

async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const since = performance.now()
  await work()
  return (performance.now() - since) / 1000
}

/** All of a file in pieces of 1 MiB. */
function read(file: string): void {
  const fd = fs.openSync(file, 'r')
  const piece = Buffer.alloc(MIB)
  let length = 0
  for (let got = 1; got > 0; length += got) got = fs.readSync(fd, piece, 0, MIB, null)
  fs.closeSync(fd)
  if (length !== fs.statSync(file).size) throw new Error(`${length} bytes of ${file}`)
}

/** So many MiB, and as a program does that cares: fsync before close. */
function write(file: string, mebibytes: number): void {
  const fd = fs.openSync(file, 'w')
  const piece = Buffer.alloc(MIB, 'x')
  for (let i = 0; i < mebibytes; i++) fs.writeSync(fd, piece)
  fs.fsyncSync(fd)
  fs.closeSync(fd)
}

function list(): void {
  const text = execFileSync('ls', ['-lR', dir], { maxBuffer: 1 << 28 }).toString()
  const lines = text.split('\n').filter((line) => line.includes(' file-')).length
  if (lines !== names.length) throw new Error(`${lines} files listed`)
}

function statAll(): void {
  for (const name of names) fs.statSync(path.join(dir, name))
}

/** Each of the workers goes through its share, one after the other. */
async function shared(workers: number, work: (name: string) => Promise<void>): Promise<void> {
  const left = names.slice(0, MADE * FILES).values()
  const worker = async (): Promise<void> => {
    for (const name of left) await work(path.join(dir, name))
  }
  await Promise.all(Array.from({ length: workers }, worker))
}

async function durable(file: string): Promise<void> {
  const handle = await fs.promises.open(file, 'w')
  await handle.write(SMALL)
  await handle.sync()
  await handle.close()
}

function folders(): void {
  for (let i = 0; i < MADE; i++) fs.mkdirSync(path.join(dir, `folder-${i}`), { recursive: true })
}

/** Seconds for a thousand, once they have been asked for before. */
function warmStat(): number {
  const some = names.slice(0, 100).map((name) => path.join(dir, name))
  for (const file of some) fs.statSync(file)
  return seconds(() => {
    for (let i = 0; i < 10; i++) for (const file of some) fs.statSync(file)
  })
}

function warmRead(file: string): number {
  const fd = fs.openSync(file, 'r')
  const piece = Buffer.alloc(MIB)
  const through = (): void => {
    for (let at = 0, got = 1; got > 0; at += got) got = fs.readSync(fd, piece, 0, MIB, at)
  }
  through()
  const times = [1, 2, 3].map(() => seconds(through))
  fs.closeSync(fd)
  return Math.min(...times)
}

const CASES: Readonly<Record<string, () => number | Promise<number>>> = {
  read: () => seconds(() => read(dir)),
  write: () => seconds(() => write(dir, Number(count))),
  list: () => seconds(list),
  stat: () => seconds(statAll),
  create: () => {
    folders()
    return secondsOf(() => shared(Number(count), durable))
  },
  remove: () => secondsOf(() => shared(Number(count), (file) => fs.promises.unlink(file))),
  'warm-stat': warmStat,
  'warm-read': () => warmRead(dir),
}

const time = await CASES[what]?.()
if (time === undefined) throw new Error(`no such case: ${what}`)
console.log(time)
