// A program that uses a folder as programs do, at random, and knows what must be there: run with folder, seed, milliseconds, and perhaps a
// file that ends it before its time by being there. It ends with 0 and prints the number of its steps and, as JSON, what its files must
// hold (name to SHA-256); or with 1 and what was wrong first.
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'

const [, , folder = '', seed = '1', duration = '1000', stop = ''] = process.argv
let state = Number(seed) >>> 0

/** xorshift, below `limit`. */
function pick(limit: number): number {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  return (state >>> 0) % limit
}

interface Open {
  readonly fd: number
  readonly append: boolean
}

/** A file: its name (none: removed), its bytes, and who has it open. */
interface Known {
  name: string | undefined
  bytes: Buffer
  readonly open: Open[]
}

const files: Known[] = []
let names = 0

function expect(what: string, got: unknown, wanted: unknown): void {
  if (got !== wanted) throw new Error(`${what}: ${String(got)} instead of ${String(wanted)}`)
}

function expectBytes(what: string, got: Buffer, wanted: Buffer): void {
  expect(`${what} length`, got.length, wanted.length)
  if (got.equals(wanted)) return
  const at = got.findIndex((byte, i) => byte !== wanted[i])
  throw new Error(`${what}: byte ${at} of ${got.length} is ${got[at]} instead of ${wanted[at]}`)
}

const at = (name: string) => path.join(folder, name)
const some = <T>(all: readonly T[]): T | undefined => all[pick(all.length)]

function create(): void {
  if (files.length > 12) return
  const name = `f${++names}`
  const append = pick(4) === 0
  const flags = fs.constants.O_CREAT | fs.constants.O_EXCL | fs.constants.O_RDWR | (append ? fs.constants.O_APPEND : 0)
  files.push({ name, bytes: Buffer.alloc(0), open: [{ fd: fs.openSync(at(name), flags), append }] })
}

function openAgain({ name, open }: Known): void {
  if (name === undefined || open.length > 3) return
  const append = pick(3) === 0
  open.push({ fd: fs.openSync(at(name), append ? 'a+' : 'r+'), append })
}

function write(file: Known, { fd, append }: Open): void {
  const data = Buffer.alloc(1 + pick(pick(10) === 0 ? 300_000 : 5000), 1 + pick(255))
  const offset = append ? file.bytes.length : pick(Math.min(400_000, file.bytes.length + 3000))
  expect('written', fs.writeSync(fd, data, 0, data.length, append ? null : offset), data.length)
  const bytes = Buffer.alloc(Math.max(file.bytes.length, offset + data.length))
  file.bytes.copy(bytes)
  data.copy(bytes, offset)
  file.bytes = bytes
}

function read({ bytes, name }: Known, { fd }: Open): void {
  const into = Buffer.alloc(1 + pick(200_000))
  const offset = pick(bytes.length + 1000)
  const got = fs.readSync(fd, into, 0, into.length, offset)
  expectBytes(`${name ?? 'removed'} at ${offset}`, into.subarray(0, got), bytes.subarray(offset, offset + into.length))
}

function cut(file: Known, { fd }: Open): void {
  const size = pick(file.bytes.length + 5000)
  fs.ftruncateSync(fd, size)
  const bytes = Buffer.alloc(size)
  file.bytes.copy(bytes)
  file.bytes = bytes
}

function close(file: Known, one: Open): void {
  file.open.splice(file.open.indexOf(one), 1)
  fs.closeSync(one.fd)
  if (file.name === undefined && file.open.length === 0) files.splice(files.indexOf(file), 1)
}

function rename(file: Known): void {
  if (file.name === undefined) return
  const target = pick(3) === 0 ? some(files.filter((other) => other !== file && other.name !== undefined)) : undefined
  const name = target?.name ?? `f${++names}`
  fs.renameSync(at(file.name), at(name))
  file.name = name
  if (target !== undefined) gone(target)
}

function gone(file: Known): void {
  file.name = undefined
  if (file.open.length === 0) files.splice(files.indexOf(file), 1)
}

function unlink(file: Known): void {
  if (file.name === undefined || pick(3) > 0) return
  fs.unlinkSync(at(file.name))
  gone(file)
}

function list(): void {
  const wanted = files.flatMap(({ name }) => name ?? []).sort()
  expect('names', fs.readdirSync(folder).sort().join(), wanted.join())
}

function stat({ name, bytes }: Known): void {
  if (name !== undefined) expect(`size of ${name}`, fs.statSync(at(name)).size, bytes.length)
}

function whole({ name, bytes }: Known): void {
  if (name !== undefined) expectBytes(name, fs.readFileSync(at(name)), bytes)
}

function step(): void {
  const file = some(files)
  const open = file && some(file.open)
  const kind = pick(20)
  if (kind < 2 || file === undefined) create()
  else if (kind < 3) openAgain(file)
  else if (kind < 4) rename(file)
  else if (kind < 5) unlink(file)
  else if (kind < 6) list()
  else if (kind < 7) stat(file)
  else if (kind < 8) whole(file)
  else if (open === undefined) openAgain(file)
  else if (kind < 13) write(file, open)
  else if (kind < 17) read(file, open)
  else if (kind < 18) cut(file, open)
  else if (kind < 19) fs.fsyncSync(open.fd)
  else close(file, open)
}

let steps = 0
try {
  for (const until = Date.now() + Number(duration); Date.now() < until && !fs.existsSync(stop); steps++) step()
  for (const file of [...files]) for (const open of [...file.open]) close(file, open)
  for (const file of files) whole(file)
  list()
  const sums = files.map(({ name, bytes }) => [name, createHash('sha256').update(bytes).digest('hex')])
  process.stdout.write(`${steps}\n${JSON.stringify(Object.fromEntries(sums))}\n`)
} catch (error) {
  process.stderr.write(`seed ${seed}, step ${steps}: ${(error as Error).stack ?? String(error)}\n`)
  process.exitCode = 1
}
