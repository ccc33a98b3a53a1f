// Bytes of files kept on local disk for whoever of this process asks for them again: blocks of one file that has no name, so that nothing is left of it.
// Knows nothing of who may have them.
import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { ExtentMap, type Span } from './extents.ts'
import { type Log } from './spool.ts'

/** Bytes. A block is given to one content, however little of it that has. */
export const BLOCK = 128 << 10

const readAt = promisify(fs.read)
const writeAt = promisify(fs.write)

interface Block {
  readonly slot: number
  /** within the block */
  readonly valid: ExtentMap
  /** reads and writes under way: it stays until they have ended */
  uses: number
  readonly key: string
  readonly index: number
}

export class BlockStore {
  readonly #folder: string
  readonly #most: number
  readonly #log: Log
  #fd: number | undefined
  /** The disk has refused: nothing is kept any more. */
  #isOff = false
  readonly #contents = new Map<string, Map<number, Block>>()
  /** least recently used first */
  readonly #blocks = new Set<Block>()
  #slots = 0

  /** `limit`: bytes on the disk of `folder`. */
  constructor(folder: string, limit: number, log: Log) {
    this.#folder = folder
    this.#most = Math.floor(limit / BLOCK)
    this.#log = log
  }

  /** bytes on the disk */
  get used(): number {
    return this.#blocks.size * BLOCK
  }

  /** bytes */
  get limit(): number {
    return this.#most * BLOCK
  }

  /** What of the range is not here. */
  gaps(key: string, start: number, end: number): Span[] {
    const blocks = this.#contents.get(key)
    if (blocks === undefined) return [{ start, end }]
    const missing = new ExtentMap()
    for (const { index, from, to } of blocksOf(start, end)) {
      const base = index * BLOCK
      const gaps = blocks.get(index)?.valid.gaps(from, to) ?? [{ start: from, end: to }]
      for (const gap of gaps) missing.add(base + gap.start, base + gap.end)
    }
    return [...missing.spans]
  }

  /** Reads what `gaps` has said is here: call it in the same turn. Undefined where the disk fails. */
  async read(key: string, start: number, end: number): Promise<Buffer | undefined> {
    const fd = this.#fd
    const blocks = this.#contents.get(key)
    if (fd === undefined || blocks === undefined) return undefined
    const bytes = Buffer.allocUnsafe(end - start)
    const reads = blocksOf(start, end).map(async ({ index, from, to }) => {
      const block = blocks.get(index)
      if (block?.valid.covers(from, to) !== true) return false
      const at = index * BLOCK + from - start
      return this.#using(block, async () => {
        const { bytesRead } = await readAt(fd, bytes, at, to - from, block.slot * BLOCK + from)
        return bytesRead === to - from
      })
    })
    return (await Promise.all(reads)).every(Boolean) ? bytes : undefined
  }

  /** Keeps them, as far as there is room. Resolves when they can be read; never rejects. */
  async write(key: string, start: number, bytes: Buffer): Promise<void> {
    const fd = this.#opened()
    if (fd === undefined) return
    const writes = blocksOf(start, start + bytes.length).map(async ({ index, from, to }) => {
      const block = this.#contents.get(key)?.get(index) ?? this.#taken(key, index)
      if (block === undefined) return
      const at = index * BLOCK + from - start
      const isKept = await this.#using(block, async () => {
        const { bytesWritten } = await writeAt(fd, bytes, at, to - from, block.slot * BLOCK + from)
        return bytesWritten === to - from
      })
      if (isKept) block.valid.add(from, to)
    })
    await Promise.all(writes)
  }

  close(): void {
    this.#isOff = true
    if (this.#fd !== undefined) fs.closeSync(this.#fd)
    this.#fd = undefined
    this.#contents.clear()
    this.#blocks.clear()
  }

  /** The block is not given away meanwhile, and counts as the one used last. */
  async #using(block: Block, work: () => Promise<boolean>): Promise<boolean> {
    this.#blocks.delete(block)
    this.#blocks.add(block)
    block.uses++
    try {
      return await work()
    } catch (error) {
      if (!this.#isOff) this.#log(`bytes for other mounts are no longer kept: ${String(error)}`)
      this.#isOff = true
      return false
    } finally {
      block.uses--
    }
  }

  #opened(): number | undefined {
    if (this.#isOff || this.#most === 0) return undefined
    if (this.#fd !== undefined) return this.#fd
    const file = path.join(this.#folder, `shared-${randomUUID()}`)
    try {
      const { O_RDWR, O_CREAT, O_EXCL } = fs.constants
      this.#fd = fs.openSync(file, O_RDWR | O_CREAT | O_EXCL, 0o600)
      fs.unlinkSync(file)
    } catch (error) {
      this.#log(`no bytes are kept for other mounts: ${String(error)}`)
      this.#isOff = true
    }
    return this.#fd
  }

  #taken(key: string, index: number): Block | undefined {
    const slot = this.#slots < this.#most ? this.#slots++ : this.#evicted()
    if (slot === undefined) return undefined
    const block: Block = { slot, valid: new ExtentMap(), uses: 0, key, index }
    const blocks = this.#contents.get(key) ?? new Map<number, Block>()
    this.#contents.set(key, blocks.set(index, block))
    this.#blocks.add(block)
    return block
  }

  #evicted(): number | undefined {
    for (const block of this.#blocks) {
      if (block.uses > 0) continue
      this.#blocks.delete(block)
      const blocks = this.#contents.get(block.key)
      blocks?.delete(block.index)
      if (blocks?.size === 0) this.#contents.delete(block.key)
      return block.slot
    }
    return undefined
  }
}

/** The parts of a range, block by block; `from` and `to` within the block. */
function blocksOf(start: number, end: number): { index: number; from: number; to: number }[] {
  const parts: { index: number; from: number; to: number }[] = []
  for (let at = start; at < end;) {
    const index = Math.floor(at / BLOCK)
    const to = Math.min(end, (index + 1) * BLOCK)
    parts.push({ index, from: at - index * BLOCK, to: to - index * BLOCK })
    at = to
  }
  return parts
}

/** Bytes that may be taken of a disk: as many as are asked for, and no more than a tenth of what is free there. */
export function roomFor(folder: string, wanted: number): number {
  const { bavail, bsize } = fs.statfsSync(folder)
  return Math.min(wanted, Math.floor((bavail * bsize) / 10))
}
