/** What a storage of objects does about buckets that have objects already: they become nodes under their own keys. */
import { type NodePath } from '../vospace/path.ts'
import { type Cancel } from './backend.ts'

/** Which objects are brought into which container. */
export interface ImportSource {
  readonly container: NodePath
  readonly bucket: string
  /** what the keys begin with; the rest of each is a path below the container */
  readonly prefix: string
  /** what is written to the nodes, or deleted, is so in the bucket; else both are refused */
  readonly writable: boolean
}

/** Objects, as a run has met them so far. */
export interface ImportCounts {
  /** that the server has listed */
  readonly objects: number
  readonly added: number
  readonly changed: number
  /** nodes whose objects are gone */
  readonly removed: number
  /** that are no nodes: `leftOut` says which and why */
  readonly leftOut: number
}

export interface ImportPage {
  readonly counts: ImportCounts
  readonly changes: readonly { readonly id: string; readonly path: NodePath; readonly kind: 'made' | 'bytes' | 'removed' }[]
} // prettier-ignore

/**
 * Why an object is no node: `name` (a step of its key is empty, `.`, `..` or none of UTF-8), `long` (a step of more than 255 bytes, or a path of more
 * than 4096), `marker` (its key ends with a slash: a container stands for it), `taken` (another node stands there), `below` (what its key has above
 * it is a data node), `prefix` (it is an object, and what others have above them), `reserved`.
 */
export type LeftOutReason = 'name' | 'long' | 'marker' | 'taken' | 'below' | 'prefix' | 'reserved'

export interface LeftOut {
  /** as it is written in URIs where it is no UTF-8 */
  readonly key: string
  readonly reason: LeftOutReason
}

export interface ImportState extends ImportSource {
  /** the last run, and what it has met */
  readonly run: string
  readonly counts: ImportCounts
}

export interface Imports {
  /**
   * Makes the nodes below a container what the objects are: new, changed and deleted ones. A page at a time, each whole or not at all; the same `run`
   * called again goes on after the last page. New nodes have owner and sharing of the container that they come into. ContainerNotFound;
   * InvalidArgument: within another import, or around one; DuplicateNode: it has objects of elsewhere; NodeBusy: another run has begun meanwhile.
   */
  bring(source: ImportSource, run: string, options?: Cancel): AsyncGenerator<ImportPage>
  /** Undefined: the container has no objects of a bucket. */
  state(container: NodePath): ImportState | undefined
  /** In the order of keys, after one. */
  leftOut(container: NodePath, after: string, limit: number): LeftOut[]
  /** Takes the nodes away, some at a time, and leaves every object as it is. NodeNotFound: there is no import. */
  forget(container: NodePath, options?: Cancel): AsyncGenerator<ImportPage['changes']>
  /** Whether a path is in an import, or an import in what is there. */
  touches(path: NodePath): boolean
  /** Whether a path is below the container of an import. */
  covers(path: NodePath): boolean
}
