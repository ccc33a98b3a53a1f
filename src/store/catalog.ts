/**
 * The node tree as rows of an SQLite file, for storage that has objects and no tree. What a call of a backend may do is decided by who uses
 * this; here are the steps that such a call is made of, each within its `transaction`.
 */
import { type Access, groupList, type NodeType } from '../vospace/node.ts'
import { type Database, type Row, textOf } from './database.ts'
import { ArrivalRows } from './catalog-arrivals.ts'
import { CATALOG } from './catalog-schema.ts'
import { Imports } from './catalog-imports.ts'
import { Intents } from './catalog-intents.ts'
import { openFile } from './open-file.ts'
import { TrashNotes } from './catalog-trash.ts'

/** A node as it stands in its row. Times are nanoseconds since 1970 as decimal text, which SQLite's and JavaScript's numbers both cannot hold. */
export interface NodeRow {
  readonly id: number
  /** null: the root; negative: it waits in the trash of that container */
  readonly parent: number | null
  readonly name: string
  readonly type: NodeType
  readonly owner: string
  /** 1 public, 2 inherit, 4 locked */
  readonly flags: number
  /** JSON `[groupRead, groupWrite]`; null: none of both */
  readonly shares: string | null
  readonly mode: number
  /** null: the owner's own */
  readonly gid: number | null
  readonly mtime: string
  readonly ctime: string
  readonly version: number
  /** JSON, an object; null: none */
  readonly properties: string | null
  readonly size: number
  readonly nodes: number
  /** containers right in it */
  readonly folders: number
  readonly quota: number | null
  /** content version of a data node */
  readonly content: string | null
  readonly md5: string | null
  readonly etag: string | null
  /** of the object; null: no bytes, so none */
  readonly key: string | null
  readonly text: Uint8Array | null
  /** number of the import that it is of; null: none, and its object has a key of ours */
  readonly import: number | null
  /** of an imported object, milliseconds since 1970 as its server lists it; null: not known */
  readonly modified: number | null
}

/** What the row of a new node says; the rest is as the schema has it. */
export type FreshRow = Pick<NodeRow, (typeof ATTRIBUTES)[number] | 'type' | 'mtime' | 'ctime'> &
  Partial<Pick<NodeRow, (typeof BYTES)[number] | 'text'>>
export type Attributes = Pick<NodeRow, (typeof ATTRIBUTES)[number]>
export type Bytes = Pick<NodeRow, (typeof BYTES)[number]>

const ATTRIBUTES = ['owner', 'flags', 'shares', 'mode', 'gid', 'properties'] as const
const BYTES = ['size', 'content', 'md5', 'etag', 'key', 'import', 'modified'] as const

const FRESH = [...ATTRIBUTES, 'type', 'mtime', 'ctime', ...BYTES, 'text'] as const
const INSERT = `INSERT INTO nodes (parent, name, ${FRESH.join(', ')}) VALUES (?, ?${', ?'.repeat(FRESH.length)})`
const INSERT_FREE = `${INSERT} ON CONFLICT (parent, name) DO NOTHING`
const SET_ATTRIBUTES = ATTRIBUTES.map((column) => `${column} = ?`).join(', ')
const SET_BYTES = BYTES.map((column) => `${column} = ?`).join(', ')

/** The way up from a node, itself included, what waits in the trash of a container being below it. */
const UP = `WITH RECURSIVE up (id) AS (SELECT ?1 UNION ALL
  SELECT abs(nodes.parent) FROM nodes JOIN up ON nodes.id = up.id WHERE nodes.parent IS NOT NULL)`
export const ROOT_ID = 1

/** What containers have more than before. */
export class Growth {
  readonly sums = new Map<number, { readonly bytes: number; readonly nodes: number; readonly folders: number }>()

  add(container: number, more: { readonly bytes: number; readonly nodes: number; readonly folders: number }): void {
    const { bytes, nodes, folders } = this.sums.get(container) ?? { bytes: 0, nodes: 0, folders: 0 }
    this.sums.set(container, { bytes: bytes + more.bytes, nodes: nodes + more.nodes, folders: folders + more.folders })
  }
}

export class Catalog {
  /** Objects that may have no node. */
  readonly intents: Intents
  readonly trash: TrashNotes
  readonly imports: Imports
  readonly arrivals: ArrivalRows
  readonly close: () => void
  readonly #database: Database
  #clock = 0n

  /** Makes the file when it is missing. InternalFault: it is not ours, or cannot be written. */
  constructor(file: string) {
    const { durable, quick, close } = openFile(file, CATALOG)
    this.#database = durable
    this.intents = new Intents(durable, quick)
    this.trash = new TrashNotes(durable)
    this.imports = new Imports(durable)
    this.arrivals = new ArrivalRows(durable)
    this.close = close
  }

  /** All of `work` or nothing; no other process writes meanwhile. What is within one already belongs to it. */
  transaction<T>(work: () => T): T {
    return this.#database.isChanging ? work() : this.#database.transaction(work)
  }

  /** A transaction of what would be done again after a power cut: it waits for no disk. */
  step<T>(work: () => T): T {
    return this.#database.inHaste(() => this.transaction(work))
  }

  /** 32 hex digits that no other catalog has. */
  get identity(): string {
    return textOf(this.#database.get('SELECT id FROM identity')?.['id']) ?? ''
  }

  /** Makes the root when there is none. */
  plantRoot(fresh: FreshRow): void {
    this.transaction(() => {
      if (this.byId(ROOT_ID) === undefined) this.#insert(null, '', fresh)
    })
  }

  /** Nanoseconds, never the same twice in this process. */
  now(): bigint {
    const now = BigInt(Date.now()) * 1_000_000n
    return (this.#clock = now > this.#clock ? now : this.#clock + 1n)
  }

  byId(id: number): NodeRow | undefined {
    return rowOf(this.#database.get('SELECT * FROM nodes WHERE id = ?', id))
  }

  child(parent: number, name: string): NodeRow | undefined {
    return rowOf(this.#database.get('SELECT * FROM nodes WHERE parent = ? AND name = ?', parent, name))
  }

  hasChildren(parent: number): boolean {
    return this.#database.get('SELECT 1 FROM nodes WHERE parent IN (?1, -?1) LIMIT 1', parent) !== undefined
  }

  /** In the order of names. `from` is inclusive. */
  page(parent: number, from: string, limit: number): NodeRow[] {
    const sql = 'SELECT * FROM nodes WHERE parent = ? AND name >= ? ORDER BY name LIMIT ?'
    return rowsOf(this.#database.all(sql, parent, from, limit))
  }

  /** As `page`, without `from` itself. */
  pageAfter(parent: number, from: string, limit: number): NodeRow[] {
    const sql = 'SELECT * FROM nodes WHERE parent = ? AND name > ? ORDER BY name LIMIT ?'
    return rowsOf(this.#database.all(sql, parent, from, limit))
  }

  /** A node and what it stands in, root first. */
  chain(id: number): NodeRow[] {
    const found: NodeRow[] = []
    for (let at = this.byId(id); at !== undefined; at = at.parent === null ? undefined : this.byId(Math.abs(at.parent))) {
      found.unshift(at)
    }
    return found
  } // prettier-ignore

  /** A node of that name in a container that has none, counted all the way up. */
  add(parent: number, name: string, fresh: FreshRow): NodeRow {
    const id = this.#insert(parent, name, fresh)
    this.#grow(parent, fresh.size ?? 0, 1)
    this.#touch(parent, fresh.type === 'container' ? 1 : 0)
    return this.#again(id)
  }

  /**
   * As `add`, of many: `grown` sums what is to be counted, which `count` does once for each container. The answer is undefined where the name is
   * taken; the caller knows that a name of that type can be there.
   */
  plant(parent: number, name: string, fresh: FreshRow, grown: Growth): number | undefined {
    const values = FRESH.map((column) => fresh[column] ?? (column === 'size' ? 0 : null))
    const id = this.#database.insertFree(INSERT_FREE, parent, name, ...values)
    if (id === undefined) return undefined
    grown.add(parent, { bytes: fresh.size ?? 0, nodes: 1, folders: fresh.type === 'container' ? 1 : 0 })
    return id
  }

  count(grown: Growth): void {
    for (const [parent, { bytes, nodes, folders }] of grown.sums) {
      this.#grow(parent, bytes, nodes)
      this.#touch(parent, folders)
    }
  }

  setAttributes(row: NodeRow, attributes: Attributes, mtime: bigint): NodeRow {
    const values = ATTRIBUTES.map((column) => attributes[column])
    const sql = `UPDATE nodes SET ${SET_ATTRIBUTES}, mtime = ?, ctime = ?, version = version + 1 WHERE id = ?`
    this.#database.run(sql, ...values, String(mtime), String(this.now()), row.id)
    return this.#again(row.id)
  }

  setBytes(row: NodeRow, bytes: Bytes): NodeRow {
    const values = BYTES.map((column) => bytes[column])
    this.#database.run(`UPDATE nodes SET ${SET_BYTES}, version = version + 1 WHERE id = ?`, ...values, row.id)
    if (row.parent !== null) this.#grow(Math.abs(row.parent), bytes.size - row.size, 0)
    return this.#again(row.id)
  }

  setQuota(id: number, bytes: number | null): void {
    this.#database.run('UPDATE nodes SET quota = ?, version = version + 1 WHERE id = ?', bytes, id)
  }

  /** Another place for a node with everything below it, which is not looked at; a negative parent is the trash of that container. */
  rename(row: NodeRow, parent: number, name: string): NodeRow {
    const folder = row.type === 'container' ? 1 : 0
    this.#leave(row)
    const sql = 'UPDATE nodes SET parent = ?, name = ?, ctime = ?, version = version + 1 WHERE id = ?'
    this.#database.run(sql, parent, name, String(this.now()), row.id)
    this.#grow(Math.abs(parent), row.size, row.nodes)
    if (parent > 0) this.#touch(parent, folder)
    return this.#again(row.id)
  }

  /** Two nodes take each other's place. */
  exchange(a: NodeRow, b: NodeRow): NodeRow {
    // under a name that no node has: both places must be free for a moment
    this.rename(a, a.parent ?? ROOT_ID, '/')
    this.rename(this.#again(b.id), a.parent ?? ROOT_ID, a.name)
    return this.rename(this.#again(a.id), b.parent ?? ROOT_ID, b.name)
  }

  /** Takes away a node that has nothing below it. */
  remove(row: NodeRow): void {
    this.#leave(row)
    this.#database.run('DELETE FROM nodes WHERE id = ?', row.id)
    this.#database.run('DELETE FROM trash WHERE node = ?', row.id)
  }

  /**
   * Takes away at most `limit` nodes from below a node, each when it has nothing below it, and answers them; none: nothing is left below it.
   * A tree goes in many such steps, none of them longer for the size of the tree.
   */
  prune(row: NodeRow, limit: number): NodeRow[] {
    for (let at: NodeRow | undefined = row; at !== undefined;) {
      const sql = 'SELECT * FROM nodes WHERE parent IN (?1, -?1) LIMIT ?2'
      const children: NodeRow[] = rowsOf(this.#database.all(sql, at.id, limit))
      const leaves = children.filter(({ nodes }) => nodes === 1)
      for (const leaf of leaves) this.remove(leaf)
      if (leaves.length > 0) return leaves
      at = children[0]
    }
    return []
  }

  /** Trees in the trash of a container that nothing is written down of: removed for good, not all of it yet. */
  doomed(keeper: number): NodeRow[] {
    const sql = 'SELECT * FROM nodes WHERE parent = ? AND id NOT IN (SELECT node FROM trash)'
    return rowsOf(this.#database.all(sql, -keeper))
  }

  /** Data nodes by the object of ours that they have. */
  withKey(key: string): NodeRow | undefined {
    return rowOf(this.#database.get('SELECT * FROM nodes WHERE key = ? AND import IS NULL', key))
  }

  /** A data node that has an object of ours. */
  firstKeyed(): NodeRow | undefined {
    return rowOf(
      this.#database.get('SELECT * FROM nodes WHERE key IS NOT NULL AND import IS NULL ORDER BY key LIMIT 1'),
    )
  }

  /** Data nodes whose objects of ours have keys after one and up to another, in the order of keys. */
  keyed(after: string, until: string, limit: number): NodeRow[] {
    const sql = 'SELECT * FROM nodes WHERE key > ? AND key <= ? AND import IS NULL ORDER BY key LIMIT ?'
    return rowsOf(this.#database.all(sql, after, until, limit))
  }

  /** Throws InternalFault or ServiceBusy when nothing can be written now. */
  probe(): void {
    this.#database.transaction(() =>
      this.#database.exec(`PRAGMA user_version = ${this.#database.number('PRAGMA user_version')}`),
    )
  }

  #insert(parent: number | null, name: string, fresh: FreshRow): number {
    const values = FRESH.map((column) => fresh[column] ?? (column === 'size' ? 0 : null))
    return this.#database.insert(INSERT, parent, name, ...values)
  }

  #again(id: number): NodeRow {
    const row = this.byId(id)
    if (row === undefined) throw new Error(`node ${id} is gone within a transaction`)
    return row
  }

  #leave(row: NodeRow): void {
    if (row.parent === null) return
    this.#grow(Math.abs(row.parent), -row.size, -row.nodes)
    if (row.parent > 0) this.#touch(row.parent, row.type === 'container' ? -1 : 0)
  }

  #grow(id: number, bytes: number, nodes: number): void {
    if (bytes === 0 && nodes === 0) return
    const sql = `${UP} UPDATE nodes SET size = size + ?2, nodes = nodes + ?3 WHERE id IN (SELECT id FROM up)`
    this.#database.run(sql, id, bytes, nodes)
  }

  /** A container whose children are others now. */
  #touch(id: number, folders: number): void {
    const now = String(this.now())
    const sql = 'UPDATE nodes SET folders = folders + ?, mtime = ?, ctime = ?, version = version + 1 WHERE id = ?'
    this.#database.run(sql, folders, now, now, id)
  }
}

const PUBLIC = 1
const INHERIT = 2
const LOCKED = 4

/** Access as it stands in a row. */
export function accessOf({ owner, flags, shares }: NodeRow): Access {
  const [groupRead, groupWrite] = (shares === null ? [[], []] : JSON.parse(shares)) as [string[], string[]]
  return {
    owner,
    isPublic: (flags & PUBLIC) !== 0,
    groupRead,
    groupWrite,
    inherit: (flags & INHERIT) !== 0,
    locked: (flags & LOCKED) !== 0,
  }
}

/** Access for a row. */
export function accessColumns(access: Access): Pick<NodeRow, 'owner' | 'flags' | 'shares'> {
  const { owner, isPublic, inherit, locked, groupRead, groupWrite } = access
  const flags = (isPublic ? PUBLIC : 0) | (inherit ? INHERIT : 0) | (locked ? LOCKED : 0)
  const none = groupRead.length === 0 && groupWrite.length === 0
  return { owner, flags, shares: none ? null : JSON.stringify([groupList(groupRead), groupList(groupWrite)]) }
}

/** Properties as they stand in a row. */
export function propertiesOf({ properties }: NodeRow): Map<string, string> {
  if (properties === null) return new Map()
  return new Map(Object.entries(JSON.parse(properties) as Record<string, string>))
}

/** Properties for a row. */
export function propertiesColumn(properties: ReadonlyMap<string, string>): string | null {
  return properties.size === 0 ? null : JSON.stringify(Object.fromEntries(properties))
}

// The schema is STRICT, so the types are those of its columns.
const rowOf = (row: Row | undefined): NodeRow | undefined => row as NodeRow | undefined
const rowsOf = (rows: Row[]): NodeRow[] => rows as unknown as NodeRow[]
