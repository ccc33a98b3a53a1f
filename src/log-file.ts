/** Where log lines go: a file (or standard output) that never stops the gateway, whatever happens to the disk under it. */
import { closeSync, openSync, renameSync, fstatSync, writeSync } from 'node:fs'

/** A log file is renamed to FILE.1, and begun anew, when it is this long (bytes). */
const LONGEST = 32 << 20
/** Lines between two looks at its length. */
const LINES = 1000

/** A destination for pino. A line that cannot be written is counted and dropped; the first one is told on standard error. */
export class LogFile {
  readonly #file: string | undefined
  #fd: number
  #lines = 0
  #dropped = 0

  /** Without a file: standard output. Throws when the file cannot be opened. */
  constructor(file: string | undefined) {
    this.#file = file
    this.#fd = file === undefined ? 1 : openSync(file, 'a', 0o600)
  }

  get dropped(): number {
    return this.#dropped
  }

  write(line: string): void {
    try {
      if (++this.#lines % LINES === 0) this.#rotate()
      writeSync(this.#fd, line)
      if (this.#dropped > 0) this.#caughtUp()
    } catch (error) {
      if (this.#dropped++ === 0) complain(`log lines are being lost: ${(error as Error).message}`)
    }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#fd)
  }

  #caughtUp(): void {
    const lost = this.#dropped
    this.#dropped = 0
    writeSync(this.#fd, `${JSON.stringify({ level: 40, time: Date.now(), lost, msg: 'log lines were lost' })}\n`)
  }

  #rotate(): void {
    if (this.#file === undefined || fstatSync(this.#fd).size < LONGEST) return
    renameSync(this.#file, `${this.#file}.1`)
    const fresh = openSync(this.#file, 'a', 0o600)
    closeSync(this.#fd)
    this.#fd = fresh
  }
}

function complain(line: string): void {
  try {
    writeSync(2, `karst: ${line}\n`)
  } catch {
    // nobody is left to tell
  }
}
