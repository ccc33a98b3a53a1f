/**
 * Which catalog the objects of a bucket are of is written down in the bucket: a catalog that is new, or of another bucket, would take all of them
 * for garbage, or all of its nodes for lost.
 */
import { createHash } from 'node:crypto'
import { type Catalog } from '../../store/catalog.ts'
import { Fault } from '../../vospace/fault.ts'
import { type Bucket } from './bucket.ts'

export interface Claim {
  readonly bucket: Bucket
  readonly prefix: string
}

/** Key of the object that says so; no key of a node's object is as short. */
export const claimKey = (prefix: string): string => `${prefix}catalog`

/** What is written there: 32 hex digits. */
const LENGTH = 32

/** InternalFault: they are of another catalog, or nobody can say that they are of this one. */
export async function claim({ bucket, prefix }: Claim, catalog: Catalog): Promise<void> {
  const key = claimKey(prefix)
  const found = await bucket.head(key)
  if (found === undefined) return write(bucket, prefix, catalog)
  const said = found.size === LENGTH ? await read(bucket, key, found.etag) : ''
  if (said !== catalog.identity) {
    throw new Fault('InternalFault', `what is below ${prefix} of bucket ${bucket.name} is of another catalog`)
  }
}

async function write(bucket: Bucket, prefix: string, catalog: Catalog): Promise<void> {
  const known = catalog.firstKeyed()?.key
  const isOurs = typeof known === 'string' ? (await bucket.head(known)) !== undefined : await isEmpty(bucket, prefix)
  if (!isOurs) {
    const why =
      typeof known === 'string' ? 'has not the objects of this catalog' : 'has objects, and the catalog is new'
    throw new Fault('InternalFault', `bucket ${bucket.name} ${why}: the one does not belong to the other`)
  }
  const said = Buffer.from(catalog.identity)
  await bucket.put(claimKey(prefix), said, createHash('md5').update(said).digest())
}

async function read(bucket: Bucket, key: string, etag: string): Promise<string> {
  const pieces: Buffer[] = []
  for await (const piece of await bucket.get(key, etag, 0, LENGTH)) pieces.push(piece as Buffer)
  return Buffer.concat(pieces).toString('latin1')
}

async function isEmpty(bucket: Bucket, prefix: string): Promise<boolean> {
  for await (const page of bucket.list(prefix)) return page.length === 0
  return true
}
