/** Where log lines go: a file (or standard output) that never stops the gateway, whatever happens to the disk under it. */
import { closeSync, openSync, renameSync, fstatSync, writeSync } from 'node:fs'

/** A log file is renamed to FILE.1, and begun anew, when it is this long (bytes). */
const LONGEST = 32 << 20
/** Lines between two looks at its length. */
const LINES = 1000
/** UTF-16 units of lines that wait at most: more are written at once. */
const WAITING = 1 << 16

/**
 * A destination for pino. The lines of one turn of the event loop are one write, at its end: a process that is killed loses those of that turn, one
 * that ends in any other way none. Lines that cannot be written are counted and dropped; the first ones are told on standard error.
 */
export class LogFile {
  readonly #file: string | undefined
  readonly #flushAtExit = (): void => this.flush()
  #fd: number
  #waiting = ''
  #waitingLines = 0
  #timer: NodeJS.Immediate | undefined
  #lines = 0
  #dropped = 0

  /** Without a file: standard output. Throws when the file cannot be opened. */
  constructor(file: string | undefined) {
    this.#file = file
    this.#fd = file === undefined ? 1 : openSync(file, 'a', 0o600)
    process.on('exit', this.#flushAtExit)
  }

  /** Of all that was given to it until now. */
  get dropped(): number {
    this.flush()
    return this.#dropped
  }

  write(line: string): void {
    this.#waiting += line
    this.#waitingLines++
    if (this.#waiting.length >= WAITING) this.flush()
    else this.#timer ??= setImmediate(this.#flushAtExit)
  }

  /** Writes what waits. */
  flush(): void {
    clearImmediate(this.#timer)
    this.#timer = undefined
    const lines = this.#waitingLines
    if (lines === 0) return
    const text = this.#waiting
    this.#waiting = ''
    this.#waitingLines = 0
    this.#write(text, lines)
  }

  close(): void {
    this.flush()
    process.off('exit', this.#flushAtExit)
    if (this.#file !== undefined) closeSync(this.#fd)
  }

  #write(text: string, lines: number): void {
    try {
      this.#lines += lines
      if (this.#lines >= LINES) this.#rotate()
      writeWhole(this.#fd, text)
      if (this.#dropped > 0) this.#caughtUp()
    } catch (error) {
      if (this.#dropped === 0) complain(`log lines are being lost: ${(error as Error).message}`)
      this.#dropped += lines
    }
  }

  #caughtUp(): void {
    const lost = this.#dropped
    this.#dropped = 0
    writeSync(this.#fd, `${JSON.stringify({ level: 40, time: Date.now(), lost, msg: 'log lines were lost' })}\n`)
  }

  #rotate(): void {
    this.#lines = 0
    if (this.#file === undefined || fstatSync(this.#fd).size < LONGEST) return
    renameSync(this.#file, `${this.#file}.1`)
    const fresh = openSync(this.#file, 'a', 0o600)
    closeSync(this.#fd)
    this.#fd = fresh
  }
}

/** A pipe, or a disk that is nearly full, may take a part of it only; the next call takes the rest, or says why not. */
function writeWhole(fd: number, text: string): void {
  const written = writeSync(fd, text)
  if (written === Buffer.byteLength(text)) return
  let rest = Buffer.from(text).subarray(written)
  while (rest.length > 0) rest = rest.subarray(writeSync(fd, rest))
}

function complain(line: string): void {
  try {
    writeSync(2, `karst: ${line}\n`)
  } catch {
    // nobody is left to tell
  }
}
