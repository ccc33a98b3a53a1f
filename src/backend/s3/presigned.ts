/** URLs at which whoever holds one reads an object from the server itself, for a while: nothing can take one back before. */
import { GetObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'

export interface PresignedOptions {
  /** as clients reach the server */
  readonly client: S3Client
  /** that a URL is good for */
  readonly seconds: number
}

export class Presigned {
  readonly #options: PresignedOptions

  constructor(options: PresignedOptions) {
    this.#options = options
  }

  /** `type`: media type; `name`: under which a client saves it. */
  async read(object: { readonly bucket: string; readonly key: string }, type: string, name: string): Promise<URL> {
    const { client, seconds } = this.#options
    const command = new GetObjectCommand({
      Bucket: object.bucket,
      Key: object.key,
      ResponseContentType: type,
      // what users have written is saved, and not run in the name of the server
      ResponseContentDisposition: `attachment; filename*=UTF-8''${encoded(name)}`,
    })
    return new URL(await getSignedUrl(client, command, { expiresIn: seconds }))
  }

  close(): void {
    this.#options.client.destroy()
  }
}

// RFC 8187: what encodeURIComponent leaves, and the header may not have
const encoded = (name: string): string =>
  encodeURIComponent(name).replace(/['()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`)
