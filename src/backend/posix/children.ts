/**
 * The children of a container as a recursive delete looks at them and takes them away: one descriptor for all of them, and of each no more
 * than says whether it may go. A page is looked at, chosen from and removed in one synchronous stretch of a few milliseconds.
 */
import { closeSync, constants, openSync } from 'node:fs'
import { setImmediate as pause } from 'node:timers/promises'
import { type FileType, listXattrAt, readEntries, statAt, unlinkAt, type DirectoryEntry } from '../../libc/directory.ts'
import { openBeneath } from '../../libc/openat.ts'
import { getXattr } from '../../libc/xattr.ts'
import { isFault } from '../../vospace/fault.ts'
import { type NodeType } from '../../vospace/node.ts'
import { type NodePath } from '../../vospace/path.ts'
import { PROPERTY } from '../../vospace/property.ts'
import { type Cancel, type Child, type Choose, type IdentifiedChild, type Ref, type Removal } from '../backend.ts'
import { PAGE, refuseAborted, RESERVED, reservesIn, wrongType } from '../contract.ts'
import { type Inode, type Keeping, readInode, recordName } from './inode.ts'
import { type Unservable } from './names.ts'
import { propertyPrefix } from './properties.ts'
import { type NodeRecord, parseRecord, selfOf } from './record.ts'
import { refusal, refusing } from './refusal.ts'
import { dropSidecar } from './staging.ts'
import { missing, onNode, type Store } from './store.ts'
import { spot } from './tree.ts'

/** Backend.survey. */
export async function* survey(
  store: Store,
  container: NodePath,
  { signal }: Cancel,
  unservable: Unservable,
): AsyncGenerator<readonly Child[], void> {
  refuseAborted(signal)
  const { dir } = openContainer(store, { path: container })
  try {
    for (const names of pages(store, container, dir, unservable)) {
      yield refusing(container, () =>
        names.map((name) => seen(store, dir, name)).filter((child) => child !== undefined),
      )
      await pause()
      refuseAborted(signal)
    }
  } finally {
    closeSync(dir)
  }
}

/** Backend.removeChildren. */
export async function* removeChildren(
  store: Store,
  container: Ref,
  choose: Choose,
  { signal }: Cancel,
  unservable: Unservable,
): AsyncGenerator<readonly Removal[], void> {
  refuseAborted(signal)
  const { dir, id } = openContainer(store, container)
  try {
    for (const names of pages(store, container.path, dir, unservable)) {
      yield removePage(store, { path: container.path, id }, dir, names, choose)
      await pause()
      refuseAborted(signal)
    }
  } finally {
    closeSync(dir)
  }
}

function openContainer(store: Store, ref: Ref): { dir: number; id: string } {
  const { path, id } = ref
  return onNode(store, { path }, (at, inode) => {
    if (id !== undefined && inode.id !== id) throw missing(ref)
    if (inode.type !== 'container') throw wrongType(path, 'container', inode.type)
    const found = openBeneath(at.dir, at.name)
    try {
      return { dir: openSync(spot(found, '.').file, constants.O_RDONLY | constants.O_DIRECTORY), id: inode.id }
    } finally {
      closeSync(found)
    }
  })
}

/** Names that may be nodes. */
function* pages(
  store: Store,
  container: NodePath,
  dir: number,
  unservable: Unservable,
): Generator<readonly DirectoryEntry[]> {
  const hidden = reservesIn(container, store.allocationParents)
  for (;;) {
    const entries = refusing(container, () => readEntries(dir))
    if (entries === undefined) return
    const nodes = entries.filter(({ name, type }) => name !== undefined && type !== 'other')
    unservable.count += entries.length - nodes.length
    const shown = hidden ? nodes.filter(({ name }) => name !== RESERVED) : nodes
    for (let at = 0; at < shown.length; at += PAGE) yield shown.slice(at, at + PAGE)
  }
}

const TYPE_OF: Readonly<Record<FileType, NodeType | undefined>> = {
  file: 'data',
  directory: 'container',
  symlink: 'link',
  other: undefined,
  unknown: undefined,
}

/** undefined: gone this instant, or no node. */
function seen(store: Store, dir: number, { name, type }: DirectoryEntry): Child | undefined {
  if (name === undefined) return undefined
  const { keeping } = store
  const known = TYPE_OF[type]
  const said = known === undefined ? undefined : saidOf(dir, name, known, keeping)
  return said === undefined || known === undefined
    ? whole(dir, name, keeping)?.child
    : childOf(name, known, said.record)
}

function removePage(
  store: Store,
  container: Ref,
  dir: number,
  names: readonly DirectoryEntry[],
  choose: Choose,
): readonly Removal[] {
  refusing(container.path, () => refuseMoved(store, container, dir))
  const found = new Map<IdentifiedChild, Found>()
  for (const entry of names) {
    const one = refusing(entry.name ?? '', () => identified(store, dir, entry))
    if (one !== undefined) found.set(one.child, one)
  }
  return choose([...found.keys()]).map((child) => {
    const one = found.get(child)
    if (one === undefined) throw new Error('chosen must be what was shown')
    return removed(store, dir, one)
  })
}

/** The descriptor goes where its directory is moved to: what is taken out of the tree must be out of reach. */
function refuseMoved(store: Store, { path, id }: Ref, dir: number): void {
  const open = statAt(dir, '.')
  const there = store.tree.at(path, (at) => statAt(at.dir, at.name))
  if (open === undefined || there?.ino !== open.ino || there.birthtimeNs !== open.birthtimeNs) {
    throw missing({ path, ...(id !== undefined && { id }) })
  }
}

interface Found {
  readonly child: IdentifiedChild
  /** of a node that may have a sidecar */
  readonly inode?: Inode
}

function identified(store: Store, dir: number, { name }: DirectoryEntry): Found | undefined {
  if (name === undefined) return undefined
  const stat = statAt(dir, name)
  const type = stat === undefined ? undefined : TYPE_OF[stat.type]
  if (stat === undefined || type === undefined) return undefined
  const said = saidOf(dir, name, type, store.keeping)
  if (said === undefined) return whole(dir, name, store.keeping)
  const self = selfOf(stat)
  const { record } = said
  const id = record.self === self && record.id !== undefined ? record.id : self
  return { child: { ...childOf(name, type, record), id } }
}

function childOf(name: string, type: NodeType, { locked }: NodeRecord): Child {
  return { name, type, locked: locked === true, immutable: false }
}

/** As every other call reads it; undefined: gone this instant, or no node. */
function whole(dir: number, name: string, keeping: Keeping): Found | undefined {
  const inode = readInode(spot(dir, name).file, keeping)
  if (inode === undefined) return undefined
  const { type, id, access, properties } = inode
  const immutable = properties.get(PROPERTY.immutable) === 'true'
  return { child: { name, type, id, locked: access.locked, immutable }, inode }
}

/** What an ordinary node says in its attributes; undefined: it takes more to know (a sidecar, the property immutable), or it is gone. */
function saidOf(dir: number, name: string, type: NodeType, keeping: Keeping): { record: NodeRecord } | undefined {
  if (type === 'link' && !keeping.root) return undefined
  const names = listXattrAt(dir, name)
  if (names === undefined || names.includes(`${propertyPrefix(type, keeping.root)}${PROPERTY.immutable}`)) {
    return undefined
  }
  if (!names.includes(recordName(keeping))) return { record: {} }
  const record = parseRecord(getXattr(spot(dir, name).file, recordName(keeping)))
  return record.side === true ? undefined : { record }
}

function removed(store: Store, dir: number, { child, inode }: Found): Removal {
  try {
    if (child.type === 'container') throw wrongType(child.name, 'leaf', 'container')
    unlinkAt(dir, child.name)
    if (inode !== undefined) dropSidecar(store, inode)
    return { child }
  } catch (error) {
    const fault = refusal(error, child.name)
    if (!isFault(fault)) throw fault
    return { child, fault }
  }
}
