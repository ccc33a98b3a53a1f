/**
 * Objects in a bucket that may have no node: those that are being written, and those that nothing refers to any more. Each is written down
 * before it can be there, and crossed out by the very transaction that gives it a node, or once it is gone from the bucket.
 */
import { type Database, type Row, textOf } from './database.ts'
import { Fault } from '../vospace/fault.ts'
import { mayLive, thisProcess } from './holder.ts'

/** `writing`: by a process that says what becomes of it. `garbage`: to be deleted. `late`: deleted, and once more, since it may have come after that. */
export type IntentState = 'writing' | 'garbage' | 'late'

export interface Intent {
  readonly key: string
  readonly state: IntentState
  /** milliseconds since 1970: who writes it was heard of then, garbage from then on */
  readonly since: number
  /** of a multipart upload, where it is known */
  readonly upload: string | undefined
  /** another process has begun it */
  readonly foreign: boolean
  /** of an object that others know by its name; undefined: it is one of ours, and `key` is its key */
  readonly named: NamedObject | undefined
}

/** An object in a bucket that is not ours alone; `etag`: of the version that is meant, null: whichever. */
export interface NamedObject {
  readonly bucket: string
  readonly key: string
  readonly etag: string | null
}

export class Intents {
  readonly #durable: Database
  readonly #quick: Database
  readonly #self = thisProcess()

  constructor(durable: Database, quick: Database) {
    this.#durable = durable
    this.#quick = quick
  }

  /** Before the object is there. */
  begin(key: string, since: number = Date.now()): void {
    // survives the death of this process, which is what it is for; after a power cut `karst check` finds what it lacks
    const sql = `INSERT INTO intents (key, state, holder, since) VALUES (?, 'writing', ?, ?)`
    this.#quick.run(sql, key, this.#self, since)
  }

  /** An upload to an object that others know, of which nothing but its parts is ever taken away. Answers the key of what is written down. */
  beginNamed({ bucket, key }: NamedObject, upload: string): string {
    const label = `${labelOf({ bucket, key })}#${upload}`
    const sql = `INSERT OR REPLACE INTO intents (key, state, holder, since, upload, bucket, object) VALUES (?, 'writing', ?, ?, ?, ?, ?)`
    this.#quick.run(sql, label, this.#self, Date.now(), upload, bucket, key)
    return label
  }

  /** Within the transaction that takes the node of such an object: it goes, if it is still that version. */
  discardNamed({ bucket, key, etag }: NamedObject): void {
    const sql = `INSERT INTO intents (key, state, holder, since, bucket, object, etag) VALUES (?1, 'garbage', ?2, ?3, ?4, ?5, ?6)
      ON CONFLICT (key) DO UPDATE SET etag = ?6, since = ?3`
    this.#durable.run(sql, labelOf({ bucket, key }), this.#self, Date.now(), bucket, key, etag)
  }

  /** What is to become of such an object; undefined: it stays. */
  discarded(object: Omit<NamedObject, 'etag'>): Intent | undefined {
    return this.get(labelOf(object))
  }

  /** Whatever it was, it is over. */
  end(key: string): void {
    this.#quick.run('DELETE FROM intents WHERE key = ?', key)
  }

  /** Its multipart upload, to be aborted if nobody ends it. */
  upload(key: string, upload: string): void {
    this.#quick.run('UPDATE intents SET upload = ? WHERE key = ?', upload, key)
  }

  /** Within the transaction that gives the object a node. ServiceBusy: another process has taken it for left behind, and deletes it. */
  settle(key: string): void {
    const isOurs = this.#durable.run(`DELETE FROM intents WHERE key = ? AND state = 'writing'`, key) === 1
    if (!isOurs) throw new Fault('ServiceBusy', 'the write has stood still for too long, and was given up: try again')
  }

  /** Says that this process is still at what it writes: others cannot always look whether it lives. */
  keep(now: number): void {
    this.#quick.run(`UPDATE intents SET since = ? WHERE state = 'writing' AND holder = ?`, now, this.#self)
  }

  /** Within the transaction that takes the node from it: it goes from `since` on. */
  discard(key: string, since: number): void {
    const sql = `INSERT INTO intents (key, state, holder, since) VALUES (?1, 'garbage', ?2, ?3)
      ON CONFLICT (key) DO UPDATE SET state = 'garbage', since = ?3`
    this.#durable.run(sql, key, this.#self, since)
  }

  /** Of a write that has failed: nobody knows whether the server still carries it out. */
  fail(key: string, now: number): void {
    const sql = `INSERT INTO intents (key, state, holder, since) VALUES (?1, 'garbage', '', ?2)
      ON CONFLICT (key) DO UPDATE SET state = 'garbage', since = ?2, holder = ''`
    this.#quick.run(sql, key, now)
  }

  /** It could not be deleted: others come first. */
  postpone(key: string, since: number): void {
    this.#quick.run(`UPDATE intents SET since = ? WHERE key = ? AND state <> 'writing'`, since, key)
  }

  /** It is gone, or not there yet. */
  later(key: string, since: number): void {
    this.#quick.run(`UPDATE intents SET state = 'late', since = ? WHERE key = ? AND state <> 'writing'`, since, key)
  }

  /** It is gone from the bucket. */
  forget(key: string): void {
    this.#quick.run(`DELETE FROM intents WHERE key = ? AND state <> 'writing'`, key)
  }

  has(key: string): boolean {
    return this.#durable.get('SELECT 1 FROM intents WHERE key = ?', key) !== undefined
  }

  get(key: string): Intent | undefined {
    const row = this.#durable.get('SELECT * FROM intents WHERE key = ?', key)
    return row && this.#intent(row)
  }

  /** What goes now: garbage whose time has come. */
  due(now: number, limit: number): Intent[] {
    const sql = `SELECT * FROM intents WHERE state IN ('garbage', 'late') AND since <= ? ORDER BY since LIMIT ?`
    return this.#durable.all(sql, now, limit).map((row) => this.#intent(row))
  }

  /** What a process that is no more was writing becomes garbage; answers how much of it there is. */
  bury(now: number): number {
    const left = this.#durable
      .all(`SELECT key, holder, since FROM intents WHERE state = 'writing'`)
      .filter(({ holder, since }) => !mayLive(String(holder), this.#self, Number(since), now))
    // whoever has ended it or been heard of since the look keeps it
    const sql = `UPDATE intents SET state = 'garbage', since = ? WHERE key = ? AND state = 'writing' AND since = ?`
    return left.filter(({ key, since }) => this.#durable.run(sql, now, String(key), Number(since)) === 1).length
  }

  count(): number {
    return this.#durable.number('SELECT count(*) FROM intents')
  }

  #intent(row: Row): Intent {
    return {
      key: String(row['key']),
      state: row['state'] as IntentState,
      since: Number(row['since']),
      upload: textOf(row['upload']),
      foreign: row['holder'] !== this.#self,
      named: namedIn(row),
    }
  }
}

/** No key of ours begins so: prefixes have no colon. */
const labelOf = ({ bucket, key }: Omit<NamedObject, 'etag'>): string => `s3://${bucket}/${key}`

function namedIn(row: Row): NamedObject | undefined {
  const bucket = textOf(row['bucket'])
  return bucket === undefined ? undefined : { bucket, key: String(row['object']), etag: textOf(row['etag']) ?? null }
}
