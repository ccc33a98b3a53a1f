// Bytes written through a mount wait here, on local disk, until the gateway has them. What could not be sent is kept under
// `recovered/`, never published by itself and never thrown away.
import * as fs from 'node:fs'
import * as path from 'node:path'
import { codeOf } from '../src/libc/errno.ts'
import { Fault } from '../src/vospace/fault.ts'
import { type Span } from './extents.ts'

/** What is said about bytes that were kept: where they were meant to go. */
export interface SpoolOrigin {
  readonly path: string
  readonly id: string
}

export type Log = (message: string) => void

const ZEROS = Buffer.alloc(1 << 16)
const PIECE = 1 << 20
/** Up to so many bytes a file is small: it is used again, and read at once, since it was written just now. */
const SMALL = 1 << 16
/** Small files that are kept for the next ones: to make and remove one costs a local disk ten times what it costs to empty it. */
const MOST_SPARE = 8
/** Bytes after which the journal begins anew, as soon as nothing in it is needed. */
const JOURNAL_LIMIT = 1 << 20

/** The spool files of one mount, in one folder of its own. */
export class SpoolFolder {
  readonly #folder: string
  readonly #recovered: string
  readonly #log: Log
  readonly #journal: number
  /** When a file may go that the record of the mount still speaks of. */
  later: (action: () => void) => void = (action) => action()
  #count = 0
  #spare: SpoolFile[] = []
  #isClosed = false
  #live = 0
  #journalled = 0

  /** `state` is the state directory of the driver; `mount` a name no other mount has had. */
  constructor(state: string, mount: string, log: Log) {
    this.#folder = path.join(state, 'spool', mount)
    this.#recovered = path.join(state, 'recovered')
    this.#log = log
    fs.mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
    this.#journal = fs.openSync(path.join(this.#folder, 'journal'), 'a', 0o600)
  }

  /** A new, empty spool file. Refuses with ENOSPC and the like of the local disk. */
  open(origin: SpoolOrigin): Spool {
    const spare = this.#spare.pop()
    const number = spare?.number ?? ++this.#count
    return localDisk(() => {
      // the name first: a file without one would be recovered without its path
      this.#note(number, origin)
      return this.#opened(spare ?? this.#file(number, fs.constants.O_CREAT | fs.constants.O_EXCL))
    })
  }

  #note(number: number, what: SpoolOrigin | { readonly isDiscarded: true }): void {
    this.#journalled += fs.writeSync(this.#journal, `${JSON.stringify({ spool: number, ...what })}\n`)
  }

  #file(number: number, flags: number): SpoolFile {
    const file = path.join(this.#folder, String(number))
    return { file, number, fd: fs.openSync(file, fs.constants.O_RDWR | flags, 0o600) }
  }

  #opened(file: SpoolFile): Spool {
    const closed = (): void => this.#closed()
    const discarded = (reach: number): void => {
      // until it is gone: whoever finds it after a kill need not keep it
      this.#noteIfRoom(file.number, { isDiscarded: true })
      this.later(() => this.#discarded(file, reach))
    }
    this.#live++
    return new Spool(file, { closed, discarded })
  }

  #noteIfRoom(number: number, what: SpoolOrigin | { readonly isDiscarded: true }): void {
    try {
      this.#note(number, what)
    } catch {
      // on a full disk what was said of it before counts
    }
  }

  /** Nothing speaks of its bytes any more. */
  #discarded(file: SpoolFile, reach: number): void {
    try {
      this.#removed(file, reach)
    } finally {
      this.#closed()
    }
  }

  #removed(file: SpoolFile, reach: number): void {
    const mayStay = reach <= SMALL && this.#spare.length < MOST_SPARE && !this.#isClosed
    if (mayStay && isEmptied(file)) {
      this.#spare.push(file)
      return
    }
    fs.closeSync(file.fd)
    fs.rmSync(file.file, { force: true })
  }

  /** A spool file of a driver before this one, whatever that was about to do with it; undefined where it is gone. */
  reopen(number: number, origin: SpoolOrigin): Spool | undefined {
    if (!fs.existsSync(path.join(this.#folder, String(number)))) return undefined
    this.#noteIfRoom(number, origin)
    return this.#opened(this.#file(number, 0))
  }

  /**
   * After a take-over: what is neither `wanted` (by a `reopen`) nor `unneeded` is moved to `recovered/`, or goes where it is
   * empty. Numbers go on.
   */
  settle(wanted: ReadonlySet<number | undefined>, unneeded: ReadonlySet<number | undefined>): void {
    const origins = readJournal(path.join(this.#folder, 'journal'))
    for (const name of listFolder(this.#folder)) {
      if (name === 'journal') continue
      this.#count = Math.max(this.#count, Number(name))
      if (wanted.has(Number(name))) continue
      const file = path.join(this.#folder, name)
      const origin = origins.get(Number(name))
      const isUnneeded = unneeded.has(Number(name)) || origin === DISCARDED
      if (isUnneeded || fs.statSync(file).size === 0) fs.rmSync(file)
      else this.#unclaimed(file, origin?.path ?? `/unknown-${name}`)
    }
    for (const number of origins.keys()) this.#count = Math.max(this.#count, number)
  }

  #unclaimed(file: string, origin: string): void {
    const kept = keepFile(file, this.#recovered, origin)
    this.#log(`${origin}: of no open file when the driver was replaced; kept in ${kept}`)
  }

  /** The journal only says of files that are there, and of discarded ones until they are not: a kill in between finds what it says. */
  #closed(): void {
    if (--this.#live > 0 || this.#journalled < JOURNAL_LIMIT || this.#isClosed) return
    fs.ftruncateSync(this.#journal, 0)
    this.#journalled = 0
  }

  /** Moves a spool file where a person finds it, and says so. */
  keep(spool: Spool, origin: SpoolOrigin, why: string): void {
    const kept = keepFile(spool.file, this.#recovered, origin.path)
    spool.close()
    this.#log(`${origin.path}: ${why}; what was written is kept in ${kept}`)
  }

  /** Bytes on the local disk. */
  get bytes(): number {
    const files = listFolder(this.#folder).map((name) =>
      fs.statSync(path.join(this.#folder, name), { throwIfNoEntry: false }),
    )
    return files.reduce((sum, file) => sum + (file?.blocks ?? 0) * 512, 0)
  }

  /** The folder is no longer needed: every spool was closed or kept. */
  close(): void {
    this.#isClosed = true
    for (const { fd } of this.#spare.splice(0)) fs.closeSync(fd)
    fs.closeSync(this.#journal)
    fs.rmSync(this.#folder, { recursive: true, force: true })
  }
}

/**
 * Finds what dead drivers left in `state` and moves it to `recovered/`. It was never closed, so it is never published.
 * Call it while holding the state directory, before any mount is made. Mounts that another driver goes on with are `resumed`.
 */
export function recoverSpools(state: string, log: Log, resumed: ReadonlySet<string> = new Set()): void {
  const spools = path.join(state, 'spool')
  for (const mount of listFolder(spools)) {
    if (resumed.has(mount)) continue
    const folder = path.join(spools, mount)
    const origins = readJournal(path.join(folder, 'journal'))
    for (const name of listFolder(folder)) {
      const file = path.join(folder, name)
      const origin = origins.get(Number(name))
      if (name === 'journal' || origin === DISCARDED || fs.statSync(file).size === 0) continue
      const kept = keepFile(file, path.join(state, 'recovered'), origin?.path ?? `/unknown-${mount}-${name}`)
      log(
        `${origin?.path ?? 'unknown file'}: the driver ended before it was closed; what was written is kept in ${kept}`,
      )
    }
    fs.rmSync(folder, { recursive: true })
  }
}

function listFolder(folder: string): string[] {
  try {
    return fs.readdirSync(folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** Its bytes are at the gateway, or nobody wants them. */
const DISCARDED = Symbol('discarded')

function readJournal(file: string): Map<number, SpoolOrigin | typeof DISCARDED> {
  const origins = new Map<number, SpoolOrigin | typeof DISCARDED>()
  if (!fs.existsSync(file)) return origins
  for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
    try {
      const record = JSON.parse(line) as SpoolOrigin & { spool: number; isDiscarded?: true }
      origins.set(record.spool, record.isDiscarded === true ? DISCARDED : record)
    } catch {
      // the last line may have been cut by the crash: its spool file is recovered as unknown
    }
  }
  return origins
}

/** `<time>-<last name of the path>`, made unique; answers where it went. */
function keepFile(file: string, recovered: string, origin: string): string {
  fs.mkdirSync(recovered, { recursive: true, mode: 0o700 })
  const stamp = new Date().toISOString().replace(/[:.]/g, '-')
  const name = Buffer.from(path.basename(origin)).subarray(0, 150).toString('utf8').replaceAll('\ufffd', '')
  for (let n = 0; ; n++) {
    const kept = path.join(recovered, `${stamp}${n === 0 ? '' : `-${n}`}-${name}`)
    if (fs.existsSync(kept)) continue
    fs.renameSync(file, kept)
    fs.writeFileSync(`${kept}.origin`, `${origin}\n`, { mode: 0o600 })
    return kept
  }
}

interface SpoolFile {
  readonly file: string
  readonly number: number
  readonly fd: number
}

/** Whether nothing is in it any more; one that the disk does not let go of is removed. */
function isEmptied({ fd }: SpoolFile): boolean {
  try {
    fs.ftruncateSync(fd, 0)
    return true
  } catch {
    return false
  }
}

/** What stands around a spool file: its folder, which is told how it ends. */
interface SpoolHost {
  /** It stays, or is elsewhere by now. */
  closed(): void
  /** Its bytes are no longer wanted, of which none was ever behind `reach`. */
  discarded(reach: number): void
}

/** One sparse file. Reads and writes are synchronous: they end in the page cache, and a promise would cost more. */
export class Spool {
  readonly file: string
  readonly number: number
  readonly #fd: number
  readonly #host: SpoolHost
  #open = true
  /** the end of the file, at its longest */
  #reach: number

  /** Use `SpoolFolder.open`. */
  constructor({ file, number, fd }: SpoolFile, host: SpoolHost) {
    this.file = file
    this.number = number
    this.#host = host
    this.#fd = fd
    this.#reach = fs.fstatSync(fd).size
  }

  /** Answers the bytes written: fewer than given when the disk is full, ENOSPC when it was full before. */
  write(data: Uint8Array, offset: number): number {
    let done = 0
    this.#reach = Math.max(this.#reach, offset + data.length)
    while (done < data.length) {
      try {
        done += fs.writeSync(this.#fd, data, done, data.length - done, offset + done)
      } catch (error) {
        if (done > 0) return done
        throw localFault(error)
      }
    }
    return done
  }

  /** Fills all of `into`; what the file does not have reads as zeros. */
  read(into: Uint8Array, offset: number): void {
    let done = 0
    while (done < into.length) {
      const got = localDisk(() => fs.readSync(this.#fd, into, done, into.length - done, offset + done))
      if (got === 0) break
      done += got
    }
    into.fill(0, done)
  }

  /** As read; off the main thread where the bytes may have left the page cache. */
  async fetch(into: Uint8Array, offset: number): Promise<void> {
    if (this.#reach <= SMALL) return this.read(into, offset)
    let done = 0
    while (done < into.length) {
      const got = await new Promise<number>((resolve, reject) => {
        fs.read(this.#fd, into, done, into.length - done, offset + done, (error, bytes) => {
          if (error === null) resolve(bytes)
          else reject(localFault(error))
        })
      })
      if (got === 0) break
      done += got
    }
    into.fill(0, done)
  }

  /** Cuts what is beyond, so that a later extension reads as zeros. */
  cut(length: number): void {
    localDisk(() => {
      if (fs.fstatSync(this.#fd).size > length) fs.ftruncateSync(this.#fd, length)
    })
  }

  /** The kept file gets the length that the program saw. */
  extend(length: number): void {
    this.#reach = Math.max(this.#reach, length)
    localDisk(() => fs.ftruncateSync(this.#fd, length))
  }

  zero(start: number, end: number): void {
    for (let at = start; at < end; at += ZEROS.length)
      this.#all(ZEROS.subarray(0, Math.min(ZEROS.length, end - at)), at)
  }

  /** Copies bytes to another file, `delta` further on there. Throws ENOSPC of the local disk. */
  copy({ start, end }: Span, to: Spool, delta: number): void {
    for (let at = start; at < end; at += PIECE) {
      const piece = Buffer.allocUnsafe(Math.min(PIECE, end - at))
      this.read(piece, at)
      to.#all(piece, at + delta)
    }
  }

  #all(data: Uint8Array, offset: number): void {
    if (this.write(data, offset) < data.length) throw new Fault('QuotaExceeded', 'spool disk full', { errno: 'ENOSPC' })
  }

  close(): void {
    if (this.#isEnded()) return
    fs.closeSync(this.#fd)
    this.#host.closed()
  }

  discard(): void {
    if (!this.#isEnded()) this.#host.discarded(this.#reach)
  }

  #isEnded(): boolean {
    if (!this.#open) return true
    this.#open = false
    return false
  }
}

function localDisk<T>(call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw localFault(error)
  }
}

/** A full or failing spool disk, in the errno that the program should see. */
function localFault(error: unknown): Error {
  if (error instanceof Fault) return error
  const code = codeOf(error)
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') {
    return new Fault('QuotaExceeded', `spool: ${code}`, { errno: code, cause: error })
  }
  return error instanceof Error ? error : new Error('spool', { cause: error })
}
