/** Numbers of users and groups: one set for both, none given twice. */
import { type Database } from './database.ts'

/** Owners and groups as numbers; the same shape as the backend's. */
export interface Ids {
  readonly version: number
  uidOf(owner: string): number | undefined
  ownerOf(uid: number): string
  gidOfUser(owner: string): number | undefined
  gidOf(groupUri: string): number | undefined
  groupOf(gid: number): string | undefined
}

/** First numbers given out; those below are the system's. */
const FIRST = { uid: 20_000, gid: 90_000 } as const
/** The largest a Linux kernel takes; the next is "no id". */
export const LAST_ID = 0xfffffffe

export const IDENTITIES_1 = `
  CREATE TABLE users (name TEXT PRIMARY KEY, uid INTEGER NOT NULL UNIQUE, admin INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE identities (kind TEXT NOT NULL, value TEXT NOT NULL, user TEXT NOT NULL REFERENCES users(name),
    PRIMARY KEY (kind, value)) STRICT, WITHOUT ROWID;
  CREATE TABLE groups (uri TEXT PRIMARY KEY, gid INTEGER NOT NULL UNIQUE, owner TEXT NOT NULL REFERENCES users(name))
    STRICT, WITHOUT ROWID;
  CREATE TABLE members (user TEXT NOT NULL REFERENCES users(name), uri TEXT NOT NULL REFERENCES groups(uri),
    PRIMARY KEY (user, uri)) STRICT, WITHOUT ROWID;
  CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`

/** Grows with everything that is remembered of users, groups and numbers, whoever writes it: a gateway, a command, somebody with sqlite3. */
export const REMEMBERED = "SELECT value FROM counters WHERE name = 'remembered'"

const ONE_MORE = "INSERT INTO counters VALUES ('remembered', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1;"

/** What Users, Groups and StoredIds keep in memory is read from these. */
const KEPT = ['users', 'identities', 'former_users', 'groups', 'members', 'nested', 'group_numbers', 'mapped_numbers']

export const IDENTITIES_2 = KEPT.flatMap((table) =>
  ['INSERT', 'UPDATE', 'DELETE'].map(
    (act) => `CREATE TRIGGER remember_${table}_${act.toLowerCase()} AFTER ${act} ON ${table} BEGIN ${ONE_MORE} END;`,
  ),
).join('\n')

// A user's own group has the user's number: so users and groups draw from one set of numbers, and none is given twice.
export function allocate(database: Database, name: keyof typeof FIRST, first: number = FIRST[name]): number {
  let next = Math.max(first, counted(database, name))
  while (isTaken(database, next)) next++
  count(database, name, next + 1)
  return next
}

/** Grows with every user and group made or removed, by whatever process. */
export function identitiesVersion(database: Database): number {
  return counted(database, 'version')
}

const counted = (database: Database, name: string): number =>
  database.number('SELECT value FROM counters WHERE name = ?', name)

export function count(database: Database, name: string, value: number): void {
  database.run('INSERT INTO counters VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2', name, value)
}

/** `by`: by anybody else than the user or group of that name, to whom another service may have given it (mapped-numbers.ts). */
export function isTaken(database: Database, number: number, by = ''): boolean {
  const sql = `SELECT EXISTS (SELECT 1 FROM users WHERE uid = ?1) OR EXISTS (SELECT 1 FROM groups WHERE gid = ?1)
    OR EXISTS (SELECT 1 FROM group_numbers WHERE gid = ?1)
    OR EXISTS (SELECT 1 FROM former_users WHERE uid = ?1)
    OR EXISTS (SELECT 1 FROM mapped_numbers WHERE number = ?1 AND name <> ?2)`
  return database.number(sql, number, by) === 1
}
