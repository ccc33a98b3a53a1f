// The sink of READDIR and READDIRPLUS: directory entries in a buffer of their own, since a handler may take its time.
import { DIRENT, ENTRY_OUT, ROOT_NODEID } from './constants.ts'
import { type DirectorySink, type Entry } from './filesystem.ts'
import { Reply } from './reply.ts'

const TYPE_SHIFT = 12
const DOT = 0x2e
/** One buffer kept for the next listing; the usual request is for 32 KiB. */
const SPARE_SIZE = 32768
let spare: Reply | undefined

function isDots(name: Uint8Array): boolean {
  return name[0] === DOT && (name.length === 1 || (name.length === 2 && name[1] === DOT))
}

/** Entries up to `size` bytes, each padded to 8. `finish` must follow; nothing can be added afterwards. */
export class DirectoryBuffer implements DirectorySink {
  readonly #reply: Reply
  readonly #size: number
  readonly #plus: boolean
  #used = 0
  #open = true

  constructor(size: number, plus: boolean) {
    this.#size = size
    this.#plus = plus
    this.#reply = spare !== undefined && size <= SPARE_SIZE ? spare : new Reply(Math.max(size, SPARE_SIZE))
    if (this.#reply === spare) spare = undefined
  }

  add(name: Uint8Array, offset: number, ino: number, mode: number): boolean {
    if (this.#plus) throw new TypeError('READDIRPLUS takes addPlus')
    const at = this.#take(DIRENT, name)
    if (at < 0) return false
    this.#dirent(at, name, offset, ino, mode)
    return true
  }

  addPlus(name: Uint8Array, offset: number, entry: Entry): boolean {
    if (!this.#plus) return this.add(name, offset, entry.attributes.ino, entry.attributes.mode)
    const at = this.#take(ENTRY_OUT + DIRENT, name)
    if (at < 0) return false
    this.#reply.entry(at >>> 2, entry)
    this.#dirent(at + ENTRY_OUT, name, offset, entry.attributes.ino, entry.attributes.mode)
    return true
  }

  /** The bytes to send; they are valid until `recycle`. */
  finish(): Uint8Array {
    this.#open = false
    return this.#reply.bytes.subarray(0, this.#used)
  }

  recycle(): void {
    this.#open = false
    if (this.#reply.bytes.length === SPARE_SIZE) spare = this.#reply
  }

  /** Nodes whose lookup count these entries raised: to give back when the listing never reaches the kernel. */
  *counted(): Generator<number> {
    if (!this.#plus) return
    const { words, bytes } = this.#reply
    for (let at = 0; at < this.#used;) {
      const word = at >>> 2
      const length = words[word + 36] ?? 0
      const start = at + ENTRY_OUT + DIRENT
      const nodeid = (words[word + 1] ?? 0) * 0x100000000 + (words[word] ?? 0)
      if (nodeid >= ROOT_NODEID && !isDots(bytes.subarray(start, start + length))) yield nodeid
      at += (ENTRY_OUT + DIRENT + length + 7) & ~7
    }
  }

  /** Where the entry starts, -1 when it does not fit. */
  #take(fixed: number, name: Uint8Array): number {
    if (!this.#open) throw new TypeError('directory entry added after the answer')
    const at = this.#used
    const end = at + ((fixed + name.length + 7) & ~7)
    if (end > this.#size) return -1
    this.#used = end
    return at
  }

  #dirent(at: number, name: Uint8Array, offset: number, ino: number, mode: number): void {
    const { words, bytes } = this.#reply
    const word = at >>> 2
    this.#reply.long(word, ino)
    this.#reply.long(word + 2, offset)
    words[word + 4] = name.length
    words[word + 5] = mode >>> TYPE_SHIFT
    bytes.set(name, at + DIRENT)
    bytes.fill(0, at + DIRENT + name.length, at + ((DIRENT + name.length + 7) & ~7))
  }
}
