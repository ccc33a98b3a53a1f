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
import { Fault } from '../../vospace/fault.ts'
import { asking, isMissing, refusal } from './refusal.ts'

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
}

export interface ListedObject extends ObjectHead {
  readonly key: string
  /** milliseconds since 1970 */
  readonly modified: number
}

export interface Part {
  readonly number: number
  readonly etag: string
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

  close(): void {
    this.#client.destroy()
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
  async put(key: string, body: Buffer, md5: Buffer, signal?: AbortSignal): Promise<string> {
    for (let tries = 2; ; tries--) {
      const etag = await this.#putOnce(key, body, md5, signal)
      if (!this.#etagIsMd5 || etag === '' || etag === `"${md5.toString('hex')}"`) return etag === '' ? (await this.need(key)).etag : etag
      if (tries === 1) throw new Fault('TransferFailed', 'the object store has other bytes than were sent')
    }
  } // prettier-ignore

  async #putOnce(key: string, body: Buffer, md5: Buffer, signal: AbortSignal | undefined): Promise<string> {
    const input = { Bucket: this.name, Key: key, Body: body, ContentLength: body.length }
    const command = new PutObjectCommand({ ...input, ContentMD5: md5.toString('base64') })
    const { ETag = '' } = await asking(() => this.#client.send(command, abort(signal)))
    return ETag === '""' ? '' : ETag
  }

  /** undefined: there is none. */
  async head(key: string): Promise<ObjectHead | undefined> {
    try {
      const found = await this.#client.send(new HeadObjectCommand({ Bucket: this.name, Key: key }))
      return { size: found.ContentLength ?? 0, etag: found.ETag ?? '' }
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

  async remove(key: string): Promise<void> {
    try {
      await this.#client.send(new DeleteObjectCommand({ Bucket: this.name, Key: key }))
    } catch (error) {
      if (!isMissing(error)) throw refusal(error)
    }
  }

  async copy(from: string, etag: string | null, to: string, signal?: AbortSignal): Promise<string> {
    const input = { Bucket: this.name, Key: to, CopySource: this.#source(from) }
    const command = new CopyObjectCommand({ ...input, ...(etag !== null && { CopySourceIfMatch: etag }) })
    const { CopyObjectResult } = await asking(() => this.#client.send(command, abort(signal)))
    const copied = CopyObjectResult?.ETag ?? ''
    return copied === '' || copied === '""' ? (await this.need(to)).etag : copied
  }

  async createUpload(key: string, signal?: AbortSignal): Promise<string> {
    const command = new CreateMultipartUploadCommand({ Bucket: this.name, Key: key })
    const { UploadId } = await asking(() => this.#client.send(command, abort(signal)))
    if (UploadId === undefined) throw new Fault('InternalFault', 'the object store names no upload')
    return UploadId
  }

  async uploadPart(key: string, upload: string, number: number, body: Buffer, signal?: AbortSignal): Promise<Part> {
    const md5 = createHash('md5').update(body).digest()
    const input = { Bucket: this.name, Key: key, UploadId: upload, PartNumber: number }
    const command = new UploadPartCommand({
      ...input,
      Body: body,
      ContentLength: body.length,
      ContentMD5: md5.toString('base64'),
    })
    const { ETag } = await asking(() => this.#client.send(command, abort(signal)))
    if (this.#etagIsMd5 && ETag !== undefined && ETag !== `"${md5.toString('hex')}"`) {
      throw new Fault('TransferFailed', 'the object store has other bytes than were sent')
    }
    return { number, etag: ETag ?? `"${md5.toString('hex')}"` }
  }

  /** A range of another object as a part. */
  async copyPart(key: string, upload: string, number: number, source: CopiedRange, signal?: AbortSignal): Promise<Part> {
    const { from, etag, start, end } = source
    const command = new UploadPartCopyCommand({
      ...{ Bucket: this.name, Key: key, UploadId: upload, PartNumber: number, CopySource: this.#source(from) },
      CopySourceRange: `bytes=${start}-${end - 1}`,
      ...(etag !== null && { CopySourceIfMatch: etag }),
    })
    const { CopyPartResult } = await asking(() => this.#client.send(command, abort(signal)))
    if (!CopyPartResult?.ETag) throw new Fault('TransferFailed', 'the object store does not say what it has copied')
    return { number, etag: CopyPartResult.ETag }
  } // prettier-ignore

  /** Answers what is there then: some servers say nothing of it (Ceph: an empty ETag). */
  async completeUpload(key: string, upload: string, parts: readonly Part[]): Promise<ObjectHead> {
    const ordered = [...parts].sort((a, b) => a.number - b.number)
    const MultipartUpload = { Parts: ordered.map(({ number, etag }) => ({ PartNumber: number, ETag: etag })) }
    const input = { Bucket: this.name, Key: key, UploadId: upload, MultipartUpload }
    try {
      await asking(() => this.#client.send(new CompleteMultipartUploadCommand(input)))
    } catch (error) {
      // a request that was answered too late is not there any more when it is tried again, but the object is
      const found = await this.head(key)
      if (found === undefined) throw error
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
    let token: string | undefined
    do {
      const input: ListObjectsV2CommandInput = { Bucket: this.name, Prefix: prefix, EncodingType: 'url' }
      if (token !== undefined) input.ContinuationToken = token
      const page: ListObjectsV2CommandOutput = await asking(() =>
        this.#client.send(new ListObjectsV2Command(input), abort(signal)),
      )
      yield (page.Contents ?? []).map((found) => listed(found, page.EncodingType === 'url'))
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined
    } while (token !== undefined)
  }

  #source(key: string): string {
    return `${this.name}/${key.split('/').map(encodeURIComponent).join('/')}`
  }
}

/** Bytes from `start` to before `end` of that version of an object. */
export interface CopiedRange {
  readonly from: string
  readonly etag: string | null
  readonly start: number
  readonly end: number
}

// Not every server does what it is asked to: the answer says whether keys are encoded in it.
function listed({ Key = '', Size = 0, ETag = '', LastModified }: _Object, isEncoded: boolean): ListedObject {
  const key = isEncoded ? decodeURIComponent(Key.replaceAll('+', ' ')) : Key
  return { key, size: Size, etag: ETag, modified: LastModified?.getTime() ?? 0 }
}

const abort = (signal: AbortSignal | undefined) => (signal === undefined ? {} : { abortSignal: signal })
