/** The AWS SDK's client as we set it: what S3 servers disagree about is settled here. */
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { S3Client } from '@aws-sdk/client-s3'

export interface ClientOptions {
  readonly endpoint: string
  readonly region: string
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string }
  /** PEM of the CAs that the server's certificate may be from; default those of Node */
  readonly ca?: string
  /** the bucket in the path, and not in the host name */
  readonly pathStyle: boolean
  /**
   * `when-required`: servers that know no trailing checksums (Ceph before 18) take everything, and what is sent is protected by Content-MD5.
   * `when-supported`: CRC32 besides, as AWS has it.
   */
  readonly checksums: 'when-required' | 'when-supported'
  /** SHA-256 of every body in its signature: against who may write into the connection, at some 2 s of processor a GiB */
  readonly signPayload: boolean
  /** how often a request is tried in all */
  readonly attempts: number
  /** seconds without a byte after which a request has failed */
  readonly timeout: number
}

/** Seconds that a connection may take to come up. */
const CONNECT_MS = 5000
/** Connections to the server at once; further requests wait. */
const SOCKETS = 64

export function s3Client(options: ClientOptions): S3Client {
  const { endpoint, region, credentials, ca, pathStyle, checksums, signPayload, attempts, timeout } = options
  const agent = { keepAlive: true, maxSockets: SOCKETS, noDelay: true }
  const client = new S3Client({
    endpoint,
    region,
    credentials,
    forcePathStyle: pathStyle,
    requestChecksumCalculation: checksums === 'when-required' ? 'WHEN_REQUIRED' : 'WHEN_SUPPORTED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    maxAttempts: attempts,
    retryMode: 'standard',
    followRegionRedirects: false,
    requestHandler: {
      connectionTimeout: CONNECT_MS,
      requestTimeout: timeout * 1000,
      socketTimeout: timeout * 1000,
      throwOnRequestTimeout: true,
      httpAgent: new HttpAgent(agent),
      httpsAgent: new HttpsAgent({ ...agent, ...(ca !== undefined && { ca }) }),
    },
  })
  if (!signPayload) leaveBodiesUnsigned(client)
  return client
}

// The signer takes the digest of the body from this header where it stands.
function leaveBodiesUnsigned(client: S3Client): void {
  client.middlewareStack.add(
    (next) => async (args) => {
      const request = args.request as { headers?: Record<string, string>; body?: unknown }
      if (request.headers !== undefined && request.body instanceof Uint8Array && request.body.length > 0) {
        request.headers['x-amz-content-sha256'] ??= 'UNSIGNED-PAYLOAD'
      }
      return next(args)
    },
    { step: 'build', name: 'karstUnsignedPayload', priority: 'low' },
  )
}
