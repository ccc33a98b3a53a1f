// One request in progress: what its handler sees of it as context, and what the session needs to answer it.
import { type RequestContext } from './filesystem.ts'
import { type DirectoryBuffer } from './directory.ts'
import { type Message } from './message.ts'

export class Request implements RequestContext {
  readonly opcode: number
  readonly nodeid: number
  readonly uniqueLow: number
  readonly uniqueHigh: number
  readonly unique: number
  readonly resent: boolean
  readonly uid: number
  readonly gid: number
  readonly pid: number
  /** performance.now() when it came. */
  readonly began = performance.now()
  /** Bytes the answer may have at most (READ, xattrs). */
  limit = 0
  /** Where READDIR and READDIRPLUS put their entries. */
  sink: DirectoryBuffer | undefined
  /** The kernel has its answer, whatever the handler still does. */
  answered = false
  #abort: AbortController | undefined

  constructor(message: Message) {
    this.opcode = message.opcode
    this.nodeid = message.nodeid
    this.uniqueLow = message.uniqueLow
    this.uniqueHigh = message.uniqueHigh
    this.unique = message.unique
    this.resent = message.resent
    this.uid = message.word(6)
    this.gid = message.word(7)
    this.pid = message.word(8)
  }

  /** Made when it is asked for: most handlers never look. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    return this.#abort.signal
  }

  get aborted(): boolean {
    return this.#abort?.signal.aborted === true
  }

  abort(): void {
    this.#abort ??= new AbortController()
    this.#abort.abort()
  }
}
