/** The bytes of a data node as a stream: of one inode from first to last, and cut with an error when its bytes change meanwhile. */
import { closeSync, constants, openSync, read as readAt } from 'node:fs'
import { statIn } from '../../libc/statx.ts'
import { Readable } from 'node:stream'
import { Fault } from '../../vospace/fault.ts'
import { type Entry } from '../../vospace/node.ts'
import { type NodePath } from '../../vospace/path.ts'
import { type ReadOptions, type Ref } from '../backend.ts'
import { rangeOf, refuseAborted } from '../contract.ts'
import { type Inode, openContentVersion } from './inode.ts'
import { refuseOther } from './inode-write.ts'
import { refusal } from './refusal.ts'
import { needType, needVersion, noted, onQuietNode, type Store } from './store.ts'
import { type Spot } from './tree.ts'

const CHUNK = 1 << 20

export async function read(store: Store, ref: Ref, options: ReadOptions): Promise<{ entry: Entry; body: Readable }> {
  refuseAborted(options.signal)
  return onQuietNode(store, ref, (spot, inode, path) => {
    needType(inode, 'data', path)
    needVersion(inode, options.ifContentVersion, path)
    const { start, count } = rangeOf(Number(inode.stat.size), options.range)
    const entry = noted(store, inode, path)
    if (count === 0) return { entry, body: Readable.from([], { objectMode: false }) }
    return { entry, body: new ByteStream(openBytes(store, spot, inode, path), start, count, options.signal) }
  })
}

/** The open bytes of a data node. */
export interface OpenBytes {
  readonly fd: number
  readonly inode: Inode
  /** Throws TransferFailed when the bytes are no longer those that were opened. */
  readonly refuseChanged: () => void
  readonly close: () => void
}

export function openBytes(store: Store, spot: Spot, inode: Inode, path: NodePath): OpenBytes {
  needType(inode, 'data', path)
  // not blocking and checked again: a FIFO put there from outside this instant neither hangs us nor is read
  const fd = openSync(spot.file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    refuseOther(fd, inode)
  } catch (error) {
    closeSync(fd)
    throw error
  }
  const reader = store.changing.reading(inode.self)
  return {
    fd,
    inode,
    refuseChanged: () => {
      if (reader.cut || !sameBytes(fd, inode, store)) throw new Fault('TransferFailed', `${path} changed while it was read`)
    },
    close: () => {
      store.changing.done(inode.self, reader)
      closeSync(fd)
    },
  } // prettier-ignore
}

/** A changed mtime alone may be one that was set: then the record says that the bytes are still the same. */
function sameBytes(fd: number, { stat, contentVersion }: Inode, store: Store): boolean {
  const now = statIn(fd, '')
  if (now?.size !== stat.size) return false
  if (now.mtimeNs === stat.mtimeNs) return true
  return openContentVersion(fd, store.keeping) === contentVersion
}

/** Buffers of CHUNK bytes that no stream uses: what is read in ranges would allocate, and touch, new ones for each. */
const spare: Buffer[] = []
const SPARE = 16

/** For bytes that have gone; whoever reads into it next shows no more than it has read. */
function giveBack(chunk: Buffer): void {
  const isOurs = chunk.byteOffset === 0 && chunk.buffer.byteLength === CHUNK
  if (isOurs && spare.length < SPARE) spare.push(Buffer.from(chunk.buffer, 0, CHUNK))
}

class ByteStream extends Readable {
  readonly #bytes: OpenBytes
  #position: number
  #left: number
  #reading = false
  #closing: (() => void) | undefined

  constructor(bytes: OpenBytes, start: number, count: number, signal: AbortSignal | undefined) {
    super({ highWaterMark: CHUNK, ...(signal !== undefined && { signal }) })
    this.#bytes = bytes
    this.#position = start
    this.#left = count
  }

  override _read(): void {
    const whole = spare.pop() ?? Buffer.allocUnsafeSlow(this.#left < CHUNK / 4 ? this.#left : CHUNK)
    const buffer = this.#left < whole.length ? whole.subarray(0, this.#left) : whole
    this.#reading = true
    readAt(this.#bytes.fd, buffer, 0, buffer.length, this.#position, (error, count) => {
      this.#reading = false
      this.#closing?.()
      if (this.destroyed) return
      try {
        if (error !== null) throw refusal(error, 'read')
        this.#got(buffer, count)
      } catch (reason) {
        this.destroy(reason as Error)
      }
    })
  }

  /** Takes back a chunk whose bytes have gone, to read into it again: allocating one anew costs as much as encrypting it. */
  recycle(chunk: Buffer): void {
    giveBack(chunk)
  }

  #got(buffer: Buffer, count: number): void {
    if (count === 0) throw new Fault('TransferFailed', 'the file became shorter while it was read')
    this.#position += count
    this.#left -= count
    // the reader must not see the end before it is sure that this was one version
    this.#bytes.refuseChanged()
    this.push(count === buffer.length ? buffer : buffer.subarray(0, count))
    if (this.#left === 0) this.push(null)
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const close = () => {
      this.#closing = undefined
      this.#bytes.close()
      done(error)
    }
    // a read under way still writes into the descriptor's buffer: close after it
    if (this.#reading) this.#closing = close
    else close()
  }
}
