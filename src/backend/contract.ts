/** What every backend decides alike: reserved names, wrong types, and how changes are laid over what is kept. */
import { Fault, isFault } from '../vospace/fault.ts'
import { agreeing, LINK_MODE } from '../vospace/mode.ts'
import { groupList, type Access, type NodeType } from '../vospace/node.ts'
import { nameOf, parentOf, type NodePath } from '../vospace/path.ts'
import { type ByteRange, type Changes, type Seen } from './backend.ts'

export { allocationOf } from '../vospace/allocation.ts'

/** The name reserved at the top of the store and of every allocation: staging, journal, sidecars. */
export const RESERVED = '.karst'

/** Children that are looked at, chosen and removed in one go: some milliseconds of a disk. */
export const PAGE = 256

/** Whether `.karst` in this container is ours. */
export function reservesIn(container: NodePath, allocationParents: readonly NodePath[]): boolean {
  return container === '/' || allocationParents.includes(parentOf(container))
}

/** Throws PermissionDenied for a path at or below a reserved name. */
export function refuseReserved(path: NodePath, allocationParents: readonly NodePath[]): void {
  if (!path.includes(`/${RESERVED}`)) return
  for (let at = path; at !== '/'; at = parentOf(at)) {
    if (nameOf(at) === RESERVED && reservesIn(parentOf(at), allocationParents)) {
      throw new Fault('PermissionDenied', `${RESERVED} is a reserved name`)
    }
  }
}

/** TypeNotSupported with the errno that POSIX has for it. */
export function wrongType(path: string, wanted: NodeType | 'leaf', found: NodeType): Fault {
  const errno =
    found === 'container' ? 'EISDIR' : wanted === 'container' ? 'ENOTDIR' : found === 'link' ? 'ELOOP' : 'EINVAL'
  return new Fault('TypeNotSupported', `${path} is a ${found} node`, { errno })
}

/** NodeNotFound (ESTALE) for another node than was seen, PreconditionFailed when it has changed since. */
export function refuseUnseen(
  node: { readonly id: string; readonly version: string },
  seen: Seen | undefined,
  path: NodePath,
): void {
  if (seen === undefined) return
  if (seen.id !== node.id) throw new Fault('NodeNotFound', path, { errno: 'ESTALE' })
  if (seen.version !== undefined && seen.version !== node.version) {
    throw new Fault('PreconditionFailed', `${path} has changed`)
  }
}

/** What changes are laid over. */
export interface Attributes {
  readonly access: Access
  /** base mode */
  readonly mode: number
  /** undefined: the owner's own group */
  readonly gid?: number | undefined
  readonly properties: ReadonlyMap<string, string>
}

/** Attributes with the changes: access wins over mode where they disagree, a mode alone says isPublic. */
export function changed(type: NodeType, kept: Attributes, changes: Changes = {}): Required<Attributes> {
  const asked = { ...kept.access, ...changes.access }
  const fromMode = changes.mode !== undefined && changes.access?.isPublic === undefined && type !== 'link'
  const access: Access = {
    owner: asked.owner,
    isPublic: fromMode ? ((changes.mode ?? 0) & 4) !== 0 : asked.isPublic,
    groupRead: groupList(asked.groupRead),
    groupWrite: groupList(asked.groupWrite),
    inherit: type === 'container' && asked.inherit,
    locked: asked.locked,
  }
  // the owner's own group follows the owner; any other group stays
  const gid = changes.gid ?? kept.gid
  const mode = type === 'link' ? LINK_MODE : agreeing(type, changes.mode ?? givenMode(type, kept, access, gid), access)
  return { access, mode, gid, properties: changedProperties(kept.properties, changes.properties) }
}

/** Set-user-ID and set-group-ID go when a file gets another owner or group, as chown(2) does it: it would run as the new one. */
function givenMode(type: NodeType, kept: Attributes, access: Access, gid: number | undefined): number {
  const isSame = access.owner === kept.access.owner && gid === kept.gid
  return isSame || type !== 'data' ? kept.mode : writtenMode(kept.mode)
}

function changedProperties(kept: ReadonlyMap<string, string>, changes: Changes['properties']): Map<string, string> {
  const properties = new Map(kept)
  for (const [uri, value] of changes ?? []) {
    if (value === null) properties.delete(uri)
    else properties.set(uri, value)
  }
  return properties
}

/** Set-user-ID and set-group-ID go when the bytes change, as write(2) does it: another's bytes must not run as the owner. */
export function writtenMode(mode: number): number {
  return mode & ~0o6000
}

/** First byte and count of a range. Throws RangeNotSatisfiable when it starts beyond the end. */
export function rangeOf(size: number, range: ByteRange | undefined): { start: number; count: number } {
  if (range === undefined) return { start: 0, count: size }
  if (range.start >= size) throw new Fault('RangeNotSatisfiable', `${range.start} of ${size} bytes`)
  return { start: range.start, count: Math.min(range.end ?? size - 1, size - 1) - range.start + 1 }
}

/** TransferFailed once the signal is aborted. */
export function refuseAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new Fault('TransferFailed', 'cancelled', { cause: signal.reason })
}

/** The pieces of a body; a failing or cancelled one is TransferFailed (a Fault of its own stays), at once even when it hangs. */
export async function* received<T>(body: AsyncIterable<T>, signal: AbortSignal | undefined): AsyncGenerator<T, void> {
  refuseAborted(signal)
  const iterator = body[Symbol.asyncIterator]()
  const end = new End(signal)
  let ended = false
  try {
    for (;;) {
      const next = await end.orElse(iterator.next())
      if (next.done === true) break
      yield next.value
    }
    ended = true
  } catch (error) {
    throw isFault(error) ? error : new Fault('TransferFailed', 'the body broke off', { cause: error })
  } finally {
    end.forget()
    // not awaited: a body that hangs would hang the refusal too
    if (!ended) iterator.return?.().then(undefined, () => undefined)
  }
}

/**
 * Refuses what is waited for when a signal is aborted. It listens once for a whole body. Not Promise.race with one promise: that one would
 * hold every part until the end.
 */
class End {
  readonly #signal: AbortSignal | undefined
  #refuse: (fault: Fault) => void = () => undefined

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal
    signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  orElse<T>(work: Promise<T>): Promise<T> {
    if (this.#signal === undefined) return work
    return new Promise<T>((resolve, reject) => {
      this.#refuse = reject
      work.then(resolve, reject)
      if (this.#signal?.aborted === true) this.#onAbort()
    })
  }

  forget(): void {
    this.#signal?.removeEventListener('abort', this.#onAbort)
  }

  readonly #onAbort = (): void => {
    this.#refuse(new Fault('TransferFailed', 'cancelled', { cause: this.#signal?.reason }))
  }
}
