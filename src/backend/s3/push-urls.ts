/** URLs at which whoever holds one puts an object to the server itself, and nothing else can be done with them. */
import { createHash, createHmac } from 'node:crypto'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { PutObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { Fault } from '../../vospace/fault.ts'
import { type Bucket } from './bucket.ts'

export interface PushUrlsOptions {
  /** as clients reach the server; must add no checksum, which would be that of no bytes */
  readonly client: S3Client
  /** as the gateway does */
  readonly own: S3Client
  /** PEM of the CAs that its certificate may be from; default those of Node */
  readonly ca?: string
  /** that a URL is good for */
  readonly seconds: number
}

/**
 * With this header a PUT copies another object, one that the gateway may read and the holder of the URL may not. Servers refuse it where it is not
 * signed, as AWS does; Ceph does not, up to 16.2 at least. There it is signed as a header that is not sent, which Ceph passes over, and which no
 * request with it agrees with (`sealed`).
 */
const COPY_SOURCE = 'x-amz-copy-source'

type Form = 'plain' | 'sealed'

export class PushUrls {
  readonly #options: PushUrlsOptions
  #form: Form = 'plain'

  constructor(options: PushUrlsOptions) {
    this.#options = options
  }

  get seconds(): number {
    return this.#options.seconds
  }

  /**
   * Finds out how URLs are made that copy nothing on this server: by trying to. `victim`: an object that is there; `key`: of one that may come and
   * go. InternalFault: there is no such way.
   */
  async start(bucket: Bucket, victim: string, key: string): Promise<void> {
    const { own } = this.#options
    for (const form of ['plain', 'sealed'] as const) {
      const url = await this.#sign(own, form, { bucket: bucket.name, key })
      const copied = await this.#put(url, { [COPY_SOURCE]: `/${bucket.name}/${victim}` })
      const isGood = copied >= 400 && (await this.#put(url, {})) < 300
      await bucket.remove(key)
      if (!isGood) continue
      this.#form = form
      return
    }
    throw new Fault('InternalFault', 'whoever holds a URL to put an object could read others with it on this server: presigned.push is not for it')
  } // prettier-ignore

  async url(object: { readonly bucket: string; readonly key: string }): Promise<URL> {
    return this.#sign(this.#options.client, this.#form, object)
  }

  close(): void {
    this.#options.client.destroy()
    this.#options.own.destroy()
  }

  async #sign(client: S3Client, form: Form, { bucket, key }: { bucket: string; key: string }): Promise<URL> {
    const command = new PutObjectCommand({ Bucket: bucket, Key: key })
    const url = new URL(await getSignedUrl(client, command, { expiresIn: this.#options.seconds }))
    return form === 'plain' ? url : sealed(url, (await client.config.credentials()).secretAccessKey)
  }

  /** The status of the answer. ServiceBusy: there is none. */
  async #put(url: URL, headers: Record<string, string>): Promise<number> {
    const { ca } = this.#options
    const status = await new Promise<number>((resolve, reject) => {
      const asked = (url.protocol === 'https:' ? httpsRequest : httpRequest)(
        url,
        { method: 'PUT', headers: { ...headers, 'content-length': 0 }, ...(ca !== undefined && { ca }) },
        (answer) => {
          answer.resume()
          answer.once('close', () => resolve(answer.statusCode ?? 500))
        },
      )
      asked.once('error', reject).end()
    }).catch((error: unknown) => {
      throw new Fault('ServiceBusy', 'the object store does not answer', { cause: error, errno: 'EIO' })
    })
    if (status >= 500) throw new Fault('ServiceBusy', `the object store fails with ${status}`, { errno: 'EIO' })
    return status
  }
}

/** Signature Version 4 of the same request in its query, with one more header that is signed and not sent (AWS General Reference, "Signing requests"). */
function sealed(url: URL, secret: string): URL {
  const query = new Map(url.searchParams)
  query.delete('X-Amz-Signature')
  const names = `host;${COPY_SOURCE}`
  query.set('X-Amz-SignedHeaders', names)
  const text = [...query].map(([name, value]) => `${encoded(name)}=${encoded(value)}`).sort().join('&')
  const scope = (query.get('X-Amz-Credential') ?? '').split('/').slice(1)
  const canonical = ['PUT', url.pathname, text, `host:${url.host}`, '', names, 'UNSIGNED-PAYLOAD'].join('\n')
  const hashed = createHash('sha256').update(canonical).digest('hex')
  const toSign = ['AWS4-HMAC-SHA256', query.get('X-Amz-Date'), scope.join('/'), hashed].join('\n')
  const key = scope.reduce<Buffer | string>((at, part) => hmac(at, part), `AWS4${secret}`)
  return new URL(`${url.origin}${url.pathname}?${text}&X-Amz-Signature=${hmac(key, toSign).toString('hex')}`)
} // prettier-ignore

const hmac = (key: Buffer | string, text: string): Buffer => createHmac('sha256', key).update(text).digest()

// RFC 3986: what encodeURIComponent leaves, and a signature may not have
const encoded = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`)
