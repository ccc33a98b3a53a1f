import t from 'tap'
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Database } from '../../src/store/database.ts'
import { migrate, MIGRATIONS, STORE } from '../../src/store/migrations.ts'
import { openStore } from '../../src/store/store.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { needs } from '../parts.ts'
import { refusal, STAFF } from './space-world.ts'
import { run, storeFile } from './store-process.ts'

const refused = (work: () => unknown) => refusal((async () => work())())

t.test('a store of every older version is brought up to date with what is in it', async (t) => {
  for (let version = 0; version <= MIGRATIONS.length; version++) {
    const file = storeFile(t)
    const older = new Database(file, { full: true })
    migrate(older, file, { ...STORE, steps: MIGRATIONS.slice(0, version) })
    if (version >= 1) older.exec("INSERT INTO users (name, uid, admin) VALUES ('alice', 20000, 0)")
    if (version >= 2)
      older.exec(
        "INSERT INTO operations VALUES ('alice', 'id', 'x', '', 0, NULL, 9e12, 200, 'kept')".replace(
          '9e12',
          String(Date.now()),
        ),
      )
    if (version >= 3)
      older.exec("INSERT INTO changes (seq, node, path, kind, origin) VALUES (7, 'n', '/n', 'made', NULL)")
    older.close()
    const store = openStore(file)
    t.equal(store.users.byName('alice')?.uid, version >= 1 ? 20_000 : undefined, `from version ${version}`)
    t.match(
      store.operations.begin('alice', 'id', 'x'),
      version >= 2 ? { state: 'done', body: 'kept' } : { state: 'new' },
    )
    store.users.create({ name: 'bob', uid: 5 })
    store.groups.create(STAFF, { owner: 'bob' })
    t.ok((store.changes.append({ id: 'm', path: nodePath('/m'), kind: 'made' }) ?? 0) > (version >= 3 ? 7 : 0))
    store.jobs.create('bob', { kind: 'transfers' })
    store.close()
    openStore(file).close()
  }
})

t.test('a file that is no store of ours is refused by name, and left as it was', async (t) => {
  const check = async (what: string, write: (file: string) => void, detail: RegExp) => {
    const file = storeFile(t)
    write(file)
    const before = readFileSync(file)
    const fault = await refused(() => openStore(file))
    t.match(fault, { fault: 'InternalFault', detail }, what)
    t.ok(fault.detail.includes(file), 'it says which file')
    t.ok(readFileSync(file).equals(before), 'it is left as it was')
  }
  const sql = (text: string) => (file: string) => {
    const database = new DatabaseSync(file)
    database.exec(text)
    database.close()
  }
  await check(
    'text',
    (file) => writeFileSync(file, 'not a database at all, but longer than a header would be'.repeat(40)),
    /not a database/,
  )
  await check('another program’s', sql('CREATE TABLE theirs (x)'), /another program/)
  const newer = (file: string) => {
    openStore(file).close()
    sql(`PRAGMA user_version = ${MIGRATIONS.length + 1}`)(file)
  }
  await check('a newer karst’s', newer, /newer karst/)
})

t.test('a corrupt store is refused when it is opened or used, never read wrongly', async (t) => {
  const file = storeFile(t)
  const store = openStore(file)
  for (let i = 0; i < 50; i++) store.users.create({ name: `user${i}` })
  store.close()
  const descriptor = openSync(file, 'r+')
  for (let page = 1; page < 20; page++) writeSync(descriptor, Buffer.alloc(2000, 0xa5), 0, 2000, page * 4096 + 8)
  closeSync(descriptor)
  const fault = await refused(() => openStore(file).users.list())
  t.match(fault, { fault: 'InternalFault', detail: /malformed/ })
})

t.test('a store that cannot be written is refused at the start', async (t) => {
  const file = storeFile(t)
  t.match(await refused(() => openStore(`${dirname(file)}/none/karst.db`)), {
    fault: 'InternalFault',
    detail: /cannot be opened for writing.*ENOENT/,
  })
  mkdirSync(file)
  t.match(await refused(() => openStore(file)), { fault: 'InternalFault', detail: /EISDIR/ })
  rmSync(file, { recursive: true })
})

t.test('a store that is read-only is refused at the start', { skip: needs('an ordinary user') }, async (t) => {
  const file = storeFile(t)
  openStore(file).close()
  chmodSync(file, 0o400)
  t.match(await refused(() => openStore(file)), { fault: 'InternalFault', detail: /EACCES/ })
})

t.test('the store is readable by nobody else', async (t) => {
  const file = storeFile(t)
  const store = openStore(file)
  store.users.create({ name: 'alice' })
  for (const name of [file, `${file}-wal`, `${file}-shm`]) t.equal(statSync(name).mode & 0o777, 0o600, name)
  store.close()
})

t.test('several processes that open a new file at once all get a whole store', async (t) => {
  const file = storeFile(t)
  const made = await Promise.all(['a', 'b', 'c', 'd'].map((name) => run(file, 'users', name, '1')))
  t.equal(new Set(made.flatMap(({ answer }) => answer as number[])).size, 4)
})

t.test('a writer that is not let in in time is told that the store is busy', async (t) => {
  const file = storeFile(t)
  openStore(file).close()
  const holder = new DatabaseSync(file)
  holder.exec('BEGIN IMMEDIATE')
  const database = new Database(file, { full: false })
  database.exec('PRAGMA busy_timeout = 50')
  const fault = await refused(() => database.transaction(() => undefined))
  t.equal(fault.fault, 'ServiceBusy')
  holder.exec('ROLLBACK')
  holder.close()
  t.equal(
    database.transaction(() => 1),
    1,
  )
  database.close()
})
