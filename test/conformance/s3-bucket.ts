/** S3 backends to test: over a server's bucket, each with a catalog of its own and keys of its own. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type S3Client } from '@aws-sdk/client-s3'
import { Bucket } from '../../src/backend/s3/bucket.ts'
import { s3Client, type ClientOptions } from '../../src/backend/s3/client.ts'
import { Presigned } from '../../src/backend/s3/presigned.ts'
import { PushUrls } from '../../src/backend/s3/push-urls.ts'
import { type S3Options } from '../../src/backend/s3/opened.ts'
import { S3Backend } from '../../src/backend/s3/s3.ts'
// not inline: that would load the suite, and tap with it, in the bench too
import type { Harness } from './backend.ts'
import { ids } from './posix-tree.ts'

export interface S3Place {
  readonly endpoint: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly bucket: string
}

export const FAKE = { accessKeyId: 'key', secretAccessKey: 'secret', bucket: 'bucket' } as const

export function clientOf(place: S3Place, options: Partial<ClientOptions> = {}): S3Client {
  const { endpoint, accessKeyId, secretAccessKey } = place
  return s3Client({
    endpoint,
    region: 'us-east-1',
    credentials: { accessKeyId, secretAccessKey },
    pathStyle: true,
    checksums: 'when-required',
    signPayload: false,
    attempts: 3,
    timeout: 20,
    ...options,
  })
}

export const bucketOf = (place: S3Place, client: S3Client = clientOf(place)): Bucket =>
  new Bucket({ client, name: place.bucket, etagIsMd5: true })

export interface S3Scratch {
  readonly dir: string
  readonly prefix: string
  readonly backend: (options?: Partial<S3Options>) => S3Backend
  readonly dispose: () => void
}

let count = 0

/** A folder for a catalog, and a prefix for the keys; several backends may be made over them, one after the other. */
export function scratch(place: S3Place): S3Scratch {
  const dir = mkdtempSync(join(tmpdir(), 'karst-s3-'))
  const prefix = `t${process.pid}-${++count}/`
  const backend = (options: Partial<S3Options> = {}): S3Backend =>
    new S3Backend({ ...optionsOf(place, { dir, prefix }), ...options })
  return { dir, prefix, backend, dispose: () => rmSync(dir, { recursive: true, force: true }) }
}

/** Of a store with that folder and prefix. */
export function optionsOf(place: S3Place, { dir, prefix }: Pick<S3Scratch, 'dir' | 'prefix'>): S3Options {
  return {
    bucket: bucketOf(place),
    prefix,
    catalog: join(dir, 'catalog.db'),
    spool: join(dir, 'spool'),
    ids,
    allocationParents: [],
    settings: { partBytes: 5 * 2 ** 20, concurrency: 3, copyBytes: 10 * 2 ** 20 },
    graceSeconds: 0,
  }
}

/** Options for clients that put to the server themselves, at URLs that are good for so long. */
export function pushing(place: S3Place, seconds = 60, lateSeconds = 60): Pick<S3Options, 'pushes'> {
  return { pushes: { urls: new PushUrls({ client: clientOf(place), own: clientOf(place), seconds }), lateSeconds } }
}

export function harness(place: () => S3Place): () => Promise<Harness> {
  return async () => {
    const { backend, dispose } = scratch(place())
    const presigned = new Presigned({ client: clientOf(place()), seconds: 60 })
    return { backend: backend({ presigned }), ids, dispose: async () => dispose() }
  }
}
