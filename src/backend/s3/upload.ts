/** A body of any length becomes an object: in one piece when it is short, else in parts, several at once and in bounded memory. */
import { createHash } from 'node:crypto'
import { Fault } from '../../vospace/fault.ts'
import { received } from '../contract.ts'
import { type Bucket, type CopiedRange, type ObjectHead, type Over, type Part } from './bucket.ts'
import { Lot, spare } from './lot.ts'

export interface UploadSettings {
  /** bytes of a part; a body that is no longer goes in one piece */
  readonly partBytes: number
  /** parts that are under way at once */
  readonly concurrency: number
}

/** What every server takes: at most 10,000 parts, and none but the last below 5 MiB. */
export const MOST_PARTS = 10_000
export const LEAST_PART = 5 * 2 ** 20
/** Parts of one size; the next ones are half as large again, so that 10,000 hold some 900 GiB whatever was announced. */
const STEP = 1000

export interface Body {
  readonly length?: number
  /** 32 hex digits */
  readonly md5?: string
  readonly signal?: AbortSignal
  /** of an object that others know: only over the version that is known, and there even if it has no bytes */
  readonly over?: Over
}

export interface Uploaded {
  readonly size: number
  readonly md5: string
  /** null: no bytes, so there is no object */
  readonly etag: string | null
}

export const EMPTY_MD5 = 'd41d8cd98f00b204e9800998ecf8427e'

/** Where the id of a multipart upload is written down. */
export type NoteUpload = (upload: string) => void

/** Throws PreconditionFailed (length, MD5), what the body throws, and what the server refuses; nothing is left of parts then. */
export async function upload(
  bucket: Bucket,
  key: string,
  body: AsyncIterable<Uint8Array>,
  expected: Body,
  settings: UploadSettings,
  note: NoteUpload,
): Promise<Uploaded> {
  const { length: announced, signal, over } = expected
  const lot = new Lot()
  const hash = createHash('md5')
  let size = 0
  let parts: Parts | undefined
  try {
    for await (const piece of received(body, signal)) {
      size += piece.length
      if (announced !== undefined && size > announced) throw new Fault('PreconditionFailed', 'longer than announced')
      hash.update(piece)
      for (let at = 0; at < piece.length;) {
        const most = parts?.nextSize ?? partSize(settings, announced, 1)
        at += lot.fill(at === 0 ? piece : piece.subarray(at), most, announced)
        // there is more: whatever ends with the first part is one piece
        if (lot.size < most || at === piece.length) continue
        parts ??= await Parts.begin(bucket, key, settings, { announced, signal, note, over })
        await parts.send(lot.take(most))
      }
    }
    const digest = checked(hash.digest(), size, expected)
    const md5 = digest.toString('hex')
    if (size === 0 && over === undefined) return { size, md5, etag: null }
    if (parts === undefined) {
      const whole = lot.take(size)
      return { size, md5, etag: await bucket.put(key, whole, digest, signal, over) }
    }
    await parts.send(lot.take(lot.size))
    return { size, md5, etag: (await parts.complete(size)).etag }
  } catch (error) {
    await parts?.abort()
    throw error
  }
}

function checked(digest: Buffer, size: number, { length, md5 }: Body): Buffer {
  if (length !== undefined && size < length) throw new Fault('PreconditionFailed', 'shorter than announced')
  if (md5 !== undefined && md5.toLowerCase() !== digest.toString('hex')) {
    throw new Fault('PreconditionFailed', 'the bytes have another MD5')
  }
  return digest
}

function partSize({ partBytes }: UploadSettings, announced: number | undefined, number: number): number {
  if (announced !== undefined) return Math.max(partBytes, Math.ceil(announced / (MOST_PARTS - 1)))
  return Math.floor(partBytes * 1.5 ** Math.floor((number - 1) / STEP))
}

interface PartsOptions {
  readonly announced?: number | undefined
  readonly signal?: AbortSignal | undefined
  readonly over?: Over | undefined
  readonly note: NoteUpload
}

/** A multipart upload: parts go as they come, some at once; whoever brings the next waits for a free place. */
export class Parts {
  readonly #bucket: Bucket
  readonly #key: string
  readonly #upload: string
  readonly #settings: UploadSettings
  readonly #options: PartsOptions
  readonly #done: Part[] = []
  readonly #running = new Set<Promise<void>>()
  #count = 0
  #failure: { readonly error: unknown } | undefined

  private constructor(bucket: Bucket, key: string, upload: string, settings: UploadSettings, options: PartsOptions) {
    this.#bucket = bucket
    this.#key = key
    this.#upload = upload
    this.#settings = settings
    this.#options = options
  }

  static async begin(bucket: Bucket, key: string, settings: UploadSettings, options: PartsOptions): Promise<Parts> {
    const upload = await bucket.createUpload(key, options.signal)
    const parts = new Parts(bucket, key, upload, settings, options)
    try {
      options.note(upload)
    } catch (error) {
      await parts.abort()
      throw error
    }
    return parts
  }

  get nextSize(): number {
    return partSize(this.#settings, this.#options.announced, this.#count + 1)
  }

  /** Of a lot; its memory is then for others. */
  async send(body: Buffer): Promise<void> {
    const { signal } = this.#options
    await this.#run(async (number) => {
      const part = await this.#bucket.uploadPart(this.#key, this.#upload, number, body, signal)
      // not of one that has failed, or was tried again: a request that was given up may still be sending
      if (part.isFirst) spare.give(body)
      return part
    })
  }

  async copy(source: CopiedRange): Promise<void> {
    const { signal } = this.#options
    await this.#run((number) => this.#bucket.copyPart(this.#key, this.#upload, number, source, signal))
  }

  /** TransferFailed when the server has not that many bytes. */
  async complete(size: number): Promise<ObjectHead> {
    await this.#settled(0)
    const found = await this.#bucket.completeUpload(this.#key, this.#upload, this.#done, this.#options.over)
    if (found.size === size) return found
    throw new Fault('TransferFailed', `the object store has ${found.size} bytes of ${size}`)
  }

  /** Takes back what was sent. Of what the server does not do now, its intent remains. */
  async abort(): Promise<void> {
    await Promise.allSettled(this.#running)
    await this.#bucket.abortUpload(this.#key, this.#upload).catch(() => undefined)
  }

  async #run(work: (number: number) => Promise<Part>): Promise<void> {
    const number = ++this.#count
    if (number > MOST_PARTS) throw new Fault('RequestEntityTooLarge', 'more parts than an object can have')
    const running: Promise<void> = work(number)
      .then((part) => void this.#done.push(part))
      .catch((error: unknown) => {
        this.#failure ??= { error }
      })
      .finally(() => this.#running.delete(running))
    this.#running.add(running)
    await this.#settled(this.#settings.concurrency - 1)
  }

  async #settled(most: number): Promise<void> {
    while (this.#running.size > most) await Promise.race(this.#running)
    if (this.#failure !== undefined) throw this.#failure.error
  }
}
