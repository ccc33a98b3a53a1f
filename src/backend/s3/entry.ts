/** A row of the catalog as an entry, and attributes for a row. */
import {
  accessColumns,
  accessOf,
  propertiesColumn,
  propertiesOf,
  type Attributes as Columns,
  type FreshRow,
  type NodeRow,
} from '../../store/catalog.ts'
import { shownMode } from '../../vospace/mode.ts'
import { type Entry, type NodeType } from '../../vospace/node.ts'
import { type NodePath } from '../../vospace/path.ts'
import { PROPERTY } from '../../vospace/property.ts'
import { type Changes, type Ids, type IdentifiedChild } from '../backend.ts'
import { changed, type Attributes } from '../contract.ts'

/** What the kernel calls an owner that it has no number for. */
const NOBODY = 65534

const ID = /^n([1-9]\d{0,15})$/

export const idOf = ({ id }: { readonly id: number }): string => `n${id}`

/** Row id; undefined for what no row can have. */
export function rowIdOf(id: string): number | undefined {
  const digits = ID.exec(id)?.[1]
  return digits === undefined ? undefined : Number(digits)
}

/** A container's size is what its whole tree holds. */
export function entryOf(row: NodeRow, path: NodePath, ids: Ids): Entry {
  const { type, size, text, md5, gid, owner } = row
  const access = accessOf(row)
  return {
    id: idOf(row),
    path,
    type,
    size: text === null ? size : text.length,
    mode: shownMode(type, row.mode, access),
    uid: ids.uidOf(owner) ?? NOBODY,
    gid: gid ?? ids.gidOfUser(owner) ?? NOBODY,
    nlink: type === 'container' ? 2 + row.folders : 1,
    mtime: BigInt(row.mtime),
    ctime: BigInt(row.ctime),
    contentVersion: row.content ?? '',
    version: String(row.version),
    access,
    properties: propertiesOf(row),
    ...(md5 !== null && { md5 }),
    ...(text !== null && { text: Buffer.from(text) }),
  }
}

export function childOf(row: NodeRow): IdentifiedChild {
  const { name, type, flags, properties } = row
  const immutable = properties !== null && propertiesOf(row).get(PROPERTY.immutable) === 'true'
  return { name, type, id: idOf(row), locked: (flags & 4) !== 0, immutable }
}

/** What a node's own property says; free text that cannot stand in a header says nothing. */
export function mediaType(row: NodeRow): string {
  const type = propertiesOf(row).get(PROPERTY.type) ?? ''
  return /^[\x21-\x7e][\x20-\x7e]{0,255}$/.test(type) ? type : 'application/octet-stream'
}

/** What a draft says, with changes to it in the same step. */
export function freshColumns(type: NodeType, draft: Attributes, changes: Changes | undefined, ids: Ids): Columns {
  const own = ids.gidOfUser(draft.access.owner)
  return columnsOf(changedColumns(type, changed(type, { ...draft, gid: draft.gid ?? own }), changes, ids), ids)
}

/** The attributes of a row with changes. `written`: its bytes are new, which takes setuid and setgid away. */
export function nextColumns(row: NodeRow, changes: Changes, ids: Ids, mode: number = row.mode): Columns {
  const kept = { access: accessOf(row), mode, gid: row.gid ?? ids.gidOfUser(row.owner), properties: propertiesOf(row) }
  return columnsOf(changedColumns(row.type, kept, changes, ids), ids)
}

// the owner's own group follows the owner
function changedColumns(
  type: NodeType,
  kept: Attributes,
  changes: Changes | undefined,
  ids: Ids,
): Required<Attributes> {
  const next = changed(type, kept, changes)
  const follows = kept.gid === ids.gidOfUser(kept.access.owner) && changes?.gid === undefined
  return follows ? { ...next, gid: ids.gidOfUser(next.access.owner) } : next
}

function columnsOf({ access, mode, gid, properties }: Required<Attributes>, ids: Ids): Columns {
  const own = gid === undefined || gid === ids.gidOfUser(access.owner)
  return { ...accessColumns(access), mode, gid: own ? null : gid, properties: propertiesColumn(properties) }
}

/** The root of a new catalog: the system's, for everybody to look into. */
export function rootRow(now: bigint, ids: Ids): FreshRow {
  const access = { owner: 'uid:0', isPublic: true, groupRead: [], groupWrite: [], inherit: false, locked: false }
  const columns = freshColumns('container', { access, mode: 0o755, properties: new Map() }, undefined, ids)
  return { ...columns, type: 'container', mtime: String(now), ctime: String(now) }
}
