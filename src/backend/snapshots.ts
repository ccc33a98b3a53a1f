/** What every backend with snapshots decides alike: their names, and how a tree of the past is looked at. */
import { type Readable } from 'node:stream'
import { Fault } from '../vospace/fault.ts'
import { type Entry } from '../vospace/node.ts'
import { isWithin, type NodePath } from '../vospace/path.ts'
import {
  type Backend,
  type Cancel,
  type Capabilities,
  type ListOptions,
  type PosixCalls,
  type ReadOptions,
  type Ref,
} from './backend.ts'

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/** InvalidArgument for what is no name of a snapshot. */
export function checkSnapshotName(name: string): void {
  if (!NAME.test(name)) throw new Fault('InvalidArgument', 'a snapshot is named by 1 to 64 letters, digits, ".", "_" and "-", the first of them a letter or digit') // prettier-ignore
}

/** What a tree of the past is asked for, by the paths that its nodes had. */
export interface Past extends Pick<Backend, 'walk' | 'list' | 'read'> {
  readonly posix?: Pick<PosixCalls, 'acl'>
}

/** The whole namespace with one allocation as it was: what leads to it is of today. Whatever would change it is refused (EROFS). */
export class PastTree implements Backend {
  readonly #now: Backend
  readonly #past: Past
  readonly #allocation: NodePath
  readonly posix?: PosixCalls

  constructor(now: Backend, past: Past, allocation: NodePath) {
    this.#now = now
    this.#past = past
    this.#allocation = allocation
    const { posix } = past
    if (posix !== undefined) this.posix = pastCalls(this, posix)
  }

  get capabilities(): Capabilities {
    return { ...(this.#now.capabilitiesAt?.(this.#allocation) ?? this.#now.capabilities), quota: false }
  }

  async walk(path: NodePath, options?: Cancel): Promise<Entry[]> {
    this.#checkInside(path)
    const leading = (await this.#now.walk(this.#allocation, options)).filter((one) => one.path !== this.#allocation)
    return [...leading, ...(await this.#past.walk(path, options))]
  }

  async *list(container: NodePath, options?: ListOptions): AsyncGenerator<Entry> {
    this.#checkInside(container)
    yield* this.#past.list(container, options)
  }

  async read(ref: Ref, options?: ReadOptions): Promise<{ entry: Entry; body: Readable }> {
    this.#checkInside(ref.path)
    return this.#past.read(ref, options)
  }

  #checkInside(path: NodePath): void {
    if (!isWithin(path, this.#allocation)) throw new Fault('NodeNotFound', `${path} is not in that snapshot`)
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}

  probe = async (): Promise<void> => this.#now.probe()
  make = changeless
  put = changeless
  amend = changeless
  set = changeless
  move = changeless
  copy = changeless
  remove = changeless
  link = changeless
  setQuota = changeless
  usage = changeless
  directUrl = changeless

  async *survey(): AsyncGenerator<never> {
    await changeless()
  }

  async *removeChildren(): AsyncGenerator<never> {
    await changeless()
  }
}

async function changeless(): Promise<never> {
  throw new Fault('PermissionDenied', 'what is in a snapshot does not change', { errno: 'EROFS' })
}

function pastCalls(tree: PastTree, { acl }: Pick<PosixCalls, 'acl'>): PosixCalls {
  const { make, set, move, remove, link } = tree
  return {
    walk: async (path, options) => tree.walk(path, options),
    list: (container, options) => tree.list(container, options),
    acl,
    ...{ make, set, move, remove, link, setAcl: changeless },
  }
}
