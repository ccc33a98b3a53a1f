// A reply being built: header, attributes, entries and handles at word positions. One is shared by all answers of a
// session, because a reply is written to the kernel in the same turn.
import { OUT_HEADER, PAGE } from './constants.ts'
import { type Attributes, type AttributesReply, type Entry, type NegativeEntry, type Time } from './filesystem.ts'

const WORD = 0x100000000
/** Longer payloads are written from where they are instead of being copied behind the header. */
export const COPY_LIMIT = 65536
/** A time-to-live of ten years is for ever; the kernel's arithmetic overflows far above. */
const LONGEST_TTL = 315360000

/** What follows the header of a reply: so many bytes in the shared buffer, or parts that lie elsewhere. */
export type Payload = number | readonly Uint8Array[]

export class Reply {
  readonly bytes: Buffer
  readonly words: Uint32Array
  readonly header: Buffer

  constructor(size = OUT_HEADER + COPY_LIMIT + PAGE) {
    const memory = new ArrayBuffer(size)
    this.bytes = Buffer.from(memory)
    this.words = new Uint32Array(memory)
    this.header = this.bytes.subarray(0, OUT_HEADER)
  }

  /** error is zero, a negative error number, or a notification's code. */
  head(length: number, error: number, uniqueLow: number, uniqueHigh: number): void {
    const { words } = this
    words[0] = length
    words[1] = error
    words[2] = uniqueLow
    words[3] = uniqueHigh
  }

  long(word: number, value: number): void {
    this.words[word] = value % WORD
    this.words[word + 1] = Math.floor(value / WORD)
  }

  /** fuse_attr: 88 bytes. */
  attributes(word: number, a: Attributes): void {
    const { words } = this
    this.long(word, a.ino)
    this.long(word + 2, a.size)
    this.long(word + 4, a.blocks)
    this.#time(word + 6, word + 12, a.atime)
    if (a.mtime === a.atime) this.#sameTime(word + 8, word + 13, word + 6, word + 12)
    else this.#time(word + 8, word + 13, a.mtime)
    if (a.ctime === a.atime) this.#sameTime(word + 10, word + 14, word + 6, word + 12)
    else this.#time(word + 10, word + 14, a.ctime)
    words[word + 15] = a.mode
    words[word + 16] = a.nlink
    words[word + 17] = a.uid
    words[word + 18] = a.gid
    words[word + 19] = a.rdev
    words[word + 20] = a.blksize
    words[word + 21] = 0
  }

  /** fuse_attr_out: 104 bytes. */
  attributesReply(word: number, { attributes, attributesTtl }: AttributesReply): void {
    this.#ttl(word, word + 2, attributesTtl)
    this.words[word + 3] = 0
    this.attributes(word + 4, attributes)
  }

  /** fuse_entry_out: 128 bytes. */
  entry(word: number, e: Entry | NegativeEntry): void {
    if (!('attributes' in e)) {
      this.words.fill(0, word, word + 32)
      this.#ttl(word + 4, word + 8, e.entryTtl)
      return
    }
    this.long(word, e.nodeid)
    this.long(word + 2, e.generation)
    this.#ttl(word + 4, word + 8, e.entryTtl)
    this.#ttl(word + 6, word + 9, e.attributesTtl)
    this.attributes(word + 10, e.attributes)
  }

  /** fuse_open_out: 16 bytes. */
  open(word: number, fh: number, openFlags: number): void {
    this.long(word, fh)
    this.words[word + 2] = openFlags
    this.words[word + 3] = 0
  }

  /** Bytes behind the header: copied there when they are few. */
  payload(parts: readonly Uint8Array[]): Payload {
    let total = 0
    for (const part of parts) total += part.length
    if (total > COPY_LIMIT) return parts
    let at = OUT_HEADER
    for (const part of parts) {
      this.bytes.set(part, at)
      at += part.length
    }
    return total
  }

  /** Taking a bigint apart is what costs most here. */
  #sameTime(word: number, nsecWord: number, from: number, nsecFrom: number): void {
    const { words } = this
    words[word] = words[from] ?? 0
    words[word + 1] = words[from + 1] ?? 0
    words[nsecWord] = words[nsecFrom] ?? 0
  }

  #time(word: number, nsecWord: number, time: Time): void {
    let sec: number
    let nsec: number
    if (typeof time === 'bigint') {
      const whole = time / 1000000000n - (time < 0n && time % 1000000000n !== 0n ? 1n : 0n)
      sec = Number(whole)
      nsec = Number(time - whole * 1000000000n)
    } else {
      sec = time.sec
      nsec = time.nsec
    }
    // modulo 2^32, also below 1970
    this.words[word] = sec >>> 0
    this.words[word + 1] = Math.floor(sec / WORD) >>> 0
    this.words[nsecWord] = nsec
  }

  #ttl(word: number, nsecWord: number, seconds: number): void {
    const bounded = Math.min(Math.max(seconds, 0), LONGEST_TTL)
    const whole = Math.floor(bounded)
    this.words[word] = whole
    this.words[word + 1] = 0
    this.words[nsecWord] = Math.floor((bounded - whole) * 1e9)
  }
}
