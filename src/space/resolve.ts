/** From a path as asked for to what stands there: links followed within the space, each container on the way readable to the caller. */
import { type Caller } from '../vospace/caller.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { textPath } from '../vospace/link.ts'
import { type Entry } from '../vospace/node.ts'
import { nodePath, stepsOf, type NodePath } from '../vospace/path.ts'
import { parseVosUri, type Service } from '../vospace/uri.ts'
import { authorize, confine, type Chain } from './authorize.ts'
import { namesFor, type Space } from './space.ts'

/** Where a path leads. */
export interface Place {
  /** with no link in it */
  readonly path: NodePath
  /** The containers above, root first; none for the root. */
  readonly parents: Chain
  /** undefined: nothing there, though its container exists */
  readonly node: Entry | undefined
  /** the link at the end of the path, when it was followed */
  readonly link?: Entry
}

/** A place with a node. */
export interface Found extends Place {
  readonly node: Entry
}

export interface ResolveOptions {
  /** What a link at the end stands for. */
  readonly leaf: 'itself' | 'target'
  /** Links on the way: followed, or refused with LinkFound (ELOOP). */
  readonly way: 'follow' | 'refuse'
  readonly signal?: AbortSignal | undefined
}

/**
 * Refuses with PermissionDenied (a container on the way, or a link, is not readable), ContainerNotFound (a gap on the way, or ENOTDIR: a data node),
 * LinkFound, UnreadableLinkTarget (nothing where a link leads, a cycle, too many), InvalidArgument (a link at the end that leaves the space).
 */
export async function resolve(space: Space, caller: Caller, path: NodePath, options: ResolveOptions): Promise<Place> {
  const trail = new Trail(space, path)
  for (;;) {
    // of what is asked for, and of where links lead: before anything is told of it
    confine(caller, trail.path)
    const entries = await namesFor(space, caller).walk(trail.path, options.signal && { signal: options.signal })
    const last = entries.at(-1)
    if (last === undefined) throw new Fault('InternalFault', 'the storage has no root')
    const isWhole = last.path === trail.path
    const containers = last.type === 'container' && !isWhole ? entries : entries.slice(0, -1)
    authorize(caller, 'reach', containers, space.rules)
    const link = trail.link && { link: trail.link }
    if (isWhole && (last.type !== 'link' || options.leaf === 'itself')) {
      return { path: trail.path, parents: containers, node: last, ...link }
    }
    if (last.type === 'link') {
      if (!isWhole && options.way === 'refuse') throw new Fault('LinkFound', `${last.path} is a link`)
      authorize(caller, 'follow', entries, space.rules)
      trail.follow(last, isWhole)
    } else if (last.type === 'data') {
      throw new Fault('ContainerNotFound', `${last.path} is a data node, not a container`, { errno: 'ENOTDIR' })
    } else {
      trail.checkGap(entries.length)
      return { path: trail.path, parents: containers, node: undefined, ...link }
    }
  }
}

/** As `resolve`; NodeNotFound when there is nothing, a gap on the way included. */
export async function find(space: Space, caller: Caller, path: NodePath, options: ResolveOptions): Promise<Found> {
  let place: Place
  try {
    place = await resolve(space, caller, path, options)
  } catch (error) {
    if (isFault(error, 'ContainerNotFound')) {
      throw new Fault('NodeNotFound', error.detail, { errno: error.errno, cause: error })
    }
    throw error
  }
  return present(place)
}

/** NodeNotFound unless there is a node. */
export function present(place: Place): Found {
  const { node } = place
  if (node === undefined) throw new Fault('NodeNotFound', place.path)
  return { ...place, node }
}

/** What stands at the very path, whoever may see it. */
export async function entryAt({ backend }: Space, path: NodePath): Promise<Entry | undefined> {
  const last = (await backend.walk(path)).at(-1)
  return last?.path === path ? last : undefined
}

/** What the decisions of authorize.ts are made from. */
export const chainOf = ({ parents, node }: Found): Chain => [...parents, node]

/** The node a link leads to; undefined: out of the space. */
export function targetPath(link: Entry, of: Service): NodePath | undefined {
  const text = link.text ?? Buffer.alloc(0)
  const inside = textPath(text, link.path)
  if (inside !== undefined || !/^vos:/i.test(text.toString('latin1'))) return inside
  try {
    const uri = parseVosUri(text.toString('utf8'))
    return uri.authority === of.authority ? uri.path : undefined
  } catch (error) {
    if (isFault(error)) return undefined
    throw error
  }
}

// How far a resolution has come.
class Trail {
  path: NodePath
  link: Entry | undefined
  readonly #space: Space
  readonly #asked: NodePath
  readonly #been: Set<string>
  #targetDepth = -1

  constructor(space: Space, path: NodePath) {
    this.#space = space
    this.#asked = path
    this.path = path
    this.#been = new Set([path])
  }

  follow(link: Entry, isLeaf: boolean): void {
    const target = targetPath(link, this.#space.service)
    if (target === undefined) {
      throw new Fault(
        isLeaf ? 'InvalidArgument' : 'UnreadableLinkTarget',
        `the link ${link.path} leads out of the space`,
      )
    }
    const rest = stepsOf(this.path).slice(stepsOf(link.path).length)
    const steps = stepsOf(target)
    this.path = joined([...steps, ...rest], link)
    this.#targetDepth = steps.length
    if (isLeaf) this.link ??= link
    if (this.#been.has(this.path) || this.#been.size > this.#space.rules.maxHops) {
      throw new Fault('UnreadableLinkTarget', `too many links, or a cycle of them, from ${this.#asked}`)
    }
    this.#been.add(this.path)
  }

  /** The step at `depth` (1 below the root) is not there: fine at the end of the path, unless a link promised it. */
  checkGap(depth: number): void {
    const steps = stepsOf(this.path)
    const missing = `/${steps.slice(0, depth).join('/')}`
    if (depth <= this.#targetDepth)
      throw new Fault('UnreadableLinkTarget', `a link leads to ${missing}, which does not exist`)
    if (depth < steps.length) throw new Fault('ContainerNotFound', missing)
  }
}

function joined(steps: readonly string[], link: Entry): NodePath {
  try {
    return nodePath(`/${steps.join('/')}`)
  } catch (error) {
    if (!isFault(error)) throw error
    throw new Fault('UnreadableLinkTarget', `the link ${link.path} leads to no path: ${error.detail}`, { cause: error })
  }
}
