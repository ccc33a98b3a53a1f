/** One bucket, as the rest asks it: objects, parts and lists. Refuses with faults only. */
import { createHash } from 'node:crypto'
import { type Readable } from 'node:stream'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandInput,
  type ListMultipartUploadsCommandOutput,
  type _Object,
  ListObjectsV2Command,
  type ListObjectsV2CommandInput,
  type ListObjectsV2CommandOutput,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { Fault, isFault } from '../../vospace/fault.ts'
import { asking, isMissing, refusal, statusOf } from './refusal.ts'

export interface BucketOptions {
  readonly client: S3Client
  readonly name: string
  /** Whether the ETag of an object put in one piece is its MD5; not so where the server encrypts with keys of its own. */
  readonly etagIsMd5: boolean
}

/** An object as the server has it. */
export interface ObjectHead {
  readonly size: number
  readonly etag: string
  /** milliseconds since 1970; asked for alone in whole seconds */
  readonly modified: number
  /** media type that was said when it was put; asked for alone */
  readonly type?: string
}

export interface ListedObject extends ObjectHead {
  readonly key: string
  /** false: the bytes of the key are no UTF-8, and it is told as it stands in URIs */
  readonly legible: boolean
}

export interface Part {
  readonly number: number
  readonly etag: string
}

/** For an object that others may write too: only over the version that is known. */
export interface Over {
  /** The ETag that must be there now; null: there must be none. Asked for within `alone`. */
  known(): string | null
  /** Nothing else of this process is done to that object meanwhile. */
  alone<T>(work: () => Promise<T>): Promise<T>
}

/** Objects by the page, and where the next one begins; undefined: this is the last. */
export interface ListedPage {
  readonly objects: readonly ListedObject[]
  readonly next: string | undefined
}

export class Bucket {
  readonly name: string
  readonly #client: S3Client
  readonly #etagIsMd5: boolean

  constructor({ client, name, etagIsMd5 }: BucketOptions) {
    this.name = name
    this.#client = client
    this.#etagIsMd5 = etagIsMd5
  }

  /** Another bucket of the same server. */
  named(name: string): Bucket {
    if (name === this.name) return this
    return new Bucket({ client: this.#client, name, etagIsMd5: this.#etagIsMd5 })
  }

  close(): void {
    this.#client.destroy()
  }

  /** Whether it says the MD5 of what is put in one piece. */
  get tellsMd5(): boolean {
    return this.#etagIsMd5
  }

  /** 32 hex digits, where an ETag says so much of the bytes. */
  md5In(etag: string): string | undefined {
    return this.#etagIsMd5 ? /^"([0-9a-f]{32})"$/.exec(etag)?.[1] : undefined
  }

  /** Rejects when the bucket cannot be used. */
  async probe(signal?: AbortSignal): Promise<void> {
    try {
      await this.#client.send(new HeadBucketCommand({ Bucket: this.name }), abort(signal))
    } catch (error) {
      throw isMissing(error)
        ? new Fault('InternalFault', `there is no bucket ${this.name}`, { cause: error })
        : refusal(error)
    }
  }

  /** In one piece, held against its MD5 by the server, and by what it answers; tried twice when that is of other bytes. */
  async put(key: string, body: Buffer, md5: Buffer, signal?: AbortSignal, over?: Over): Promise<string> {
    if (over !== undefined) return this.#putOver(key, body, md5, signal, over)
    for (let tries = 2; ; tries--) {
      const etag = await this.#putOnce(key, body, md5, signal)
      if (!this.#etagIsMd5 || etag === '' || etag === `"${md5.toString('hex')}"`) return etag === '' ? (await this.need(key)).etag : etag
      if (tries === 1) throw new Fault('TransferFailed', 'the object store has other bytes than were sent')
    }
  } // prettier-ignore

  /** PreconditionFailed: it is another version than is known. Who has written it through here has told, and is written over. */
  async #putOver(key: string, body: Buffer, md5: Buffer, signal: AbortSignal | undefined, over: Over): Promise<string> {
    const ours = `"${md5.toString('hex')}"`
    return over.alone(async () => {
      for (let tries = OVER_TRIES; ; tries--) {
        const known = over.known()
        try {
          const etag = await this.#putOnce(key, body, md5, signal, known)
          if (!this.#etagIsMd5 || etag === ours) return etag === '' ? (await this.need(key)).etag : etag
        } catch (error) {
          if (!isFault(error, 'PreconditionFailed')) throw error
          if (tries > 1 && over.known() !== known) continue
          // a request that was carried out, and whose answer was lost, is refused when it is tried again
          if ((await this.head(key))?.etag !== ours) throw error
        }
        const there = await this.need(key)
        if (there.etag === ours) return ours
        throw new Fault('TransferFailed', 'the object store has other bytes than were sent')
      }
    })
  }

  async #putOnce(key: string, body: Buffer, md5: Buffer, signal: AbortSignal | undefined, known?: string | null): Promise<string> {
    const input = { Bucket: this.name, Key: key, Body: body, ContentLength: body.length, ...conditions(known) }
    const command = new PutObjectCommand({ ...input, ContentMD5: md5.toString('base64') })
    try {
      const { ETag = '' } = await asking(() => this.#client.send(command, abort(signal)))
      return ETag === '""' ? '' : ETag
    } catch (error) {
      throw known === undefined ? error : overtaken(error)
    }
  } // prettier-ignore

  /** undefined: there is none. */
  async head(key: string): Promise<ObjectHead | undefined> {
    try {
      const found = await this.#client.send(new HeadObjectCommand({ Bucket: this.name, Key: key }))
      const { ContentLength: size = 0, ETag: etag = '', LastModified, ContentType: type } = found
      return { size, etag, modified: LastModified?.getTime() ?? 0, ...(type !== undefined && { type }) }
    } catch (error) {
      if (isMissing(error)) return undefined
      throw refusal(error)
    }
  }

  /** TransferFailed when there is none. */
  async need(key: string): Promise<ObjectHead> {
    const found = await this.head(key)
    if (found === undefined) throw new Fault('TransferFailed', 'the object store does not have what was written')
    return found
  }

  /** `count` bytes from `start` of that very version. */
  async get(key: string, etag: string | null, start: number, count: number, signal?: AbortSignal): Promise<Readable> {
    const range = `bytes=${start}-${start + count - 1}`
    const input = { Bucket: this.name, Key: key, Range: range, ...(etag !== null && { IfMatch: etag }) }
    const { Body, ContentLength } = await asking(() => this.#client.send(new GetObjectCommand(input), abort(signal)))
    const body = Body as Readable
    if (ContentLength === count) return body
    body.destroy()
    throw new Fault('TransferFailed', `the object store answers ${ContentLength ?? 'no'} bytes where ${count} are asked for`)
  } // prettier-ignore

  /** `etag`: only that version, where the server knows this condition. */
  async remove(key: string, etag?: string): Promise<void> {
    const only = etag === undefined ? {} : { IfMatch: etag }
    try {
      await this.#client.send(new DeleteObjectCommand({ Bucket: this.name, Key: key, ...only }))
    } catch (error) {
      if (!isMissing(error)) throw refusal(error)
    }
  }

  /** `bucket`: that `from` is in, where it is another one. */
  async copy(from: string, etag: string | null, to: string, signal?: AbortSignal, bucket?: string): Promise<string> {
    // nothing of what others have said of the source counts here
    const input = { Bucket: this.name, Key: to, CopySource: this.#source(from, bucket), MetadataDirective: 'REPLACE' as const }
    const command = new CopyObjectCommand({ ...input, ...(etag !== null && { CopySourceIfMatch: etag }) })
    const { CopyObjectResult } = await asking(() => this.#client.send(command, abort(signal)))
    const copied = (CopyObjectResult?.ETag ?? '').replaceAll('"', '')
    // without its quotes Ceph tells it here, and here alone
    return copied === '' ? (await this.need(to)).etag : `"${copied}"`
  } // prettier-ignore

  async createUpload(key: string, signal?: AbortSignal): Promise<string> {
    const command = new CreateMultipartUploadCommand({ Bucket: this.name, Key: key })
    const { UploadId } = await asking(() => this.#client.send(command, abort(signal)))
    if (UploadId === undefined) throw new Fault('InternalFault', 'the object store names no upload')
    return UploadId
  }

  /** `isFirst`: no other request than the one that was answered has had the body. */
  async uploadPart(
    key: string,
    upload: string,
    number: number,
    body: Buffer,
    signal?: AbortSignal,
  ): Promise<Part & { readonly isFirst: boolean }> {
    const md5 = createHash('md5').update(body).digest()
    const input = { Bucket: this.name, Key: key, UploadId: upload, PartNumber: number }
    const command = new UploadPartCommand({
      ...input,
      Body: body,
      ContentLength: body.length,
      ContentMD5: md5.toString('base64'),
    })
    let asked = 0
    const { ETag, $metadata } = await asking(() => {
      asked++
      return this.#client.send(command, abort(signal))
    })
    if (this.#etagIsMd5 && ETag !== undefined && ETag !== `"${md5.toString('hex')}"`) {
      throw new Fault('TransferFailed', 'the object store has other bytes than were sent')
    }
    return { number, etag: ETag ?? `"${md5.toString('hex')}"`, isFirst: asked === 1 && $metadata.attempts === 1 }
  }

  /** A range of another object as a part. */
  async copyPart(key: string, upload: string, number: number, source: CopiedRange, signal?: AbortSignal): Promise<Part> {
    const { from, bucket, etag, start, end } = source
    const command = new UploadPartCopyCommand({
      ...{ Bucket: this.name, Key: key, UploadId: upload, PartNumber: number, CopySource: this.#source(from, bucket) },
      CopySourceRange: `bytes=${start}-${end - 1}`,
      ...(etag !== null && { CopySourceIfMatch: etag }),
    })
    const { CopyPartResult } = await asking(() => this.#client.send(command, abort(signal)))
    if (!CopyPartResult?.ETag) throw new Fault('TransferFailed', 'the object store does not say what it has copied')
    return { number, etag: CopyPartResult.ETag }
  } // prettier-ignore

  /** Answers what is there then: some servers say nothing of it (Ceph: an empty ETag). */
  async completeUpload(key: string, upload: string, parts: readonly Part[], over?: Over): Promise<ObjectHead> {
    const ordered = [...parts].sort((a, b) => a.number - b.number)
    if (over === undefined) return this.#complete(key, upload, ordered)
    return over.alone(async () => {
      // few servers know the condition on this request, so it is looked up just before
      const known = over.known()
      if (((await this.head(key))?.etag ?? null) !== known) throw new Fault('PreconditionFailed', OVERTAKEN)
      return this.#complete(key, upload, ordered, known)
    })
  }

  async #complete(key: string, upload: string, parts: readonly Part[], known?: string | null): Promise<ObjectHead> {
    const MultipartUpload = { Parts: parts.map(({ number, etag }) => ({ PartNumber: number, ETag: etag })) }
    const input = { Bucket: this.name, Key: key, UploadId: upload, MultipartUpload, ...conditions(known) }
    try {
      await asking(() => this.#client.send(new CompleteMultipartUploadCommand(input)))
    } catch (error) {
      // a request that was answered too late is not there any more when it is tried again, but the object is
      const found = await this.head(key)
      const isOurs = known === undefined || found?.etag === multipartTag(parts)
      if (found === undefined || !isOurs) throw known === undefined ? error : overtaken(error)
      return found
    }
    return this.need(key)
  }

  async abortUpload(key: string, upload: string): Promise<void> {
    try {
      await this.#client.send(new AbortMultipartUploadCommand({ Bucket: this.name, Key: key, UploadId: upload }))
    } catch (error) {
      if (!isMissing(error)) throw refusal(error)
    }
  }

  /** Uploads under way, of keys that begin so. */
  async *uploads(prefix: string): AsyncGenerator<{ readonly key: string; readonly upload: string }> {
    let more: Pick<ListMultipartUploadsCommandInput, 'KeyMarker' | 'UploadIdMarker'> | undefined = {}
    while (more !== undefined) {
      const input: ListMultipartUploadsCommandInput = { Bucket: this.name, Prefix: prefix, ...more }
      const page: ListMultipartUploadsCommandOutput = await asking(() =>
        this.#client.send(new ListMultipartUploadsCommand(input)),
      )
      for (const { Key, UploadId } of page.Uploads ?? []) {
        if (Key !== undefined && UploadId !== undefined) yield { key: Key, upload: UploadId }
      }
      const { IsTruncated, NextKeyMarker, NextUploadIdMarker } = page
      const isMore = IsTruncated === true && NextKeyMarker !== undefined
      more = isMore ? { KeyMarker: NextKeyMarker, UploadIdMarker: NextUploadIdMarker } : undefined
    }
  }

  /** All objects whose keys begin so, by the page of the server. */
  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<readonly ListedObject[]> {
    for await (const { objects } of this.pages(prefix, undefined, signal)) yield objects
  }

  /** The same, from where an earlier page has ended. */
  async *pages(prefix: string, from: string | undefined, signal?: AbortSignal): AsyncGenerator<ListedPage, void> {
    let token = from
    do {
      const input: ListObjectsV2CommandInput = { Bucket: this.name, Prefix: prefix, EncodingType: 'url' }
      if (token !== undefined) input.ContinuationToken = token
      const page: ListObjectsV2CommandOutput = await asking(() =>
        this.#client.send(new ListObjectsV2Command(input), abort(signal)),
      )
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined
      yield { objects: (page.Contents ?? []).map((found) => listed(found, page.EncodingType === 'url')), next: token }
    } while (token !== undefined)
  }

  #source(key: string, bucket: string = this.name): string {
    return `${bucket}/${key.split('/').map(encodeURIComponent).join('/')}`
  }
}

/** Bytes from `start` to before `end` of that version of an object. */
export interface CopiedRange {
  readonly from: string
  /** that it is in, where it is another one */
  readonly bucket?: string | undefined
  readonly etag: string | null
  readonly start: number
  readonly end: number
}

// Not every server does what it is asked to: the answer says whether keys are encoded in it.
function listed({ Key = '', Size = 0, ETag = '', LastModified }: _Object, isEncoded: boolean): ListedObject {
  const key = isEncoded ? decoded(Key.replaceAll('+', ' ')) : Key
  return { key: key ?? Key, legible: key !== undefined, size: Size, etag: ETag, modified: LastModified?.getTime() ?? 0 }
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined // the bytes are no UTF-8
  }
}

/** What S3 calls an object of parts, as far as all servers agree. */
function multipartTag(parts: readonly Part[]): string {
  const sums = parts.map(({ etag }) => Buffer.from(etag.replaceAll('"', ''), 'hex'))
  return `"${createHash('md5').update(Buffer.concat(sums)).digest('hex')}-${parts.length}"`
}

/** How often a write begins anew since others here have written the same object meanwhile. */
const OVER_TRIES = 5
const OVERTAKEN = 'others have written this object past the gateway: look at it, and try again'

// without its quotes: Ceph compares so when it writes
const conditions = (known: string | null | undefined) =>
  known === undefined ? {} : known === null ? { IfNoneMatch: '*' } : { IfMatch: known.replaceAll('"', '') }

/** A condition that was not met; 409: others are at it now (AWS), 404: the version that was to be replaced is gone. */
function overtaken(error: unknown): unknown {
  const status = statusOf(error)
  return status === 412 || status === 409 || status === 404
    ? new Fault('PreconditionFailed', OVERTAKEN, { cause: error })
    : error
}

const abort = (signal: AbortSignal | undefined) => (signal === undefined ? {} : { abortSignal: signal })
