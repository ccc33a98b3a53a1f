/** What a store of objects is made of: its settings, and the parts that are there once its catalog is open. */
import { Catalog, type NodeRow } from '../../store/catalog.ts'
import { type NodePath } from '../../vospace/path.ts'
import { type Ids } from '../backend.ts'
import { type ComposeSettings } from './amend.ts'
import { type Bucket } from './bucket.ts'
import { rootRow } from './entry.ts'
import { Garbage, type GarbageLog } from './garbage.ts'
import { NamedObjects } from './named.ts'
import { type Presigned } from './presigned.ts'
import { type PushUrls } from './push-urls.ts'
import { Tree } from './tree.ts'
import { Writes } from './writes.ts'

export interface S3Options {
  readonly bucket: Bucket
  /** of the keys that are ours; ends with a slash unless it is empty */
  readonly prefix: string
  /** file of the catalog */
  readonly catalog: string
  /** folder for what amends bring; made when it is missing */
  readonly spool: string
  readonly ids: Ids
  readonly allocationParents: readonly NodePath[]
  readonly settings: ComposeSettings
  /** ranges of one object, `partBytes` each, that a reader fetches at once; default 1: one connection, to the end */
  readonly parallelReads?: number
  /** seconds that a replaced or removed object stays in the bucket */
  readonly graceSeconds: number
  /** bytes that the bucket may hold; undefined: nobody knows an end */
  readonly capacity?: number
  /** absent: all bytes that are read go through the gateway */
  readonly presigned?: Presigned
  /** absent: all that are written do; seconds that a put which was begun in time may take */
  readonly pushes?: { readonly urls: PushUrls; readonly lateSeconds: number }
  readonly logger?: GarbageLog
}

export interface Opened {
  readonly tree: Tree
  readonly garbage: Garbage
  readonly named: NamedObjects
  readonly writes: Writes
}

/** Catalog, rules and garbage of a store; nothing is under way yet. InternalFault: the catalog cannot be used. */
export function openStore(options: S3Options): Opened {
  const catalog = new Catalog(options.catalog)
  const { ids, allocationParents, capacity, bucket, graceSeconds, logger, prefix } = options
  const named = new NamedObjects(bucket, catalog)
  const garbage = new Garbage({ catalog, bucket, graceSeconds, named, log: logger })
  const drop = (row: NodeRow): void => garbage.drop(row)
  const tree = new Tree({ catalog, ids, allocationParents, drop, ...(capacity !== undefined && { capacity }) })
  catalog.plantRoot(rootRow(catalog.now(), ids))
  const writes = new Writes({ tree, garbage, named, prefix })
  return { tree, garbage, named, writes }
}
