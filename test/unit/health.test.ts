/** What availability finds: a real database and a real tree, on disks that are full, read-only or gone. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type Backend } from '../../src/backend/backend.ts'
import { MemoryBackend } from '../../src/backend/memory.ts'
import { healthOf, type Probed } from '../../src/health.ts'
import { openStore, type Store } from '../../src/store/store.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { notRoot, tmpfs, unavailable } from '../conformance/posix-tree.ts'
import { countedIds } from '../../src/backend/counted-ids.ts'
import { storeFile } from './store-process.ts'

const upSince = 1_700_000_000_000
const USAGE = { used: 5, quota: null, total: 10, free: 5, files: 1, filesFree: null }
const fine: Storage = new MemoryBackend({ ids: countedIds() })

type Storage = Pick<Backend, 'probe' | 'usage'>

function looking({ storage = fine, ...parts }: Partial<Probed> & { readonly storage?: Storage }) {
  const warned: string[] = []
  const log = { warn: (_fields: object, text: string) => void warned.push(text) }
  const look = healthOf({
    database: () => undefined,
    storages: new Map([['main', storage]]),
    folders: [],
    upSince,
    log,
    ...parts,
  })
  return { look, warned }
}
const opened = (t: { teardown(end: () => void): void }): Store => {
  const store = openStore(storeFile(t))
  t.teardown(() => store.close())
  return store
}

t.test('it is available without a word when everything takes a write', async (t) => {
  const store = opened(t)
  store.users.create({ name: 'alice' })
  const { look, warned } = looking({ database: store.probe, folders: ['/tmp'] })
  t.same(await look(), { available: true, upSince, notes: [] })
  t.same(warned, [])
  t.ok(store.users.byName('alice'), 'and what is in the database stays')
})

t.test('it is not available without its database', async (t) => {
  const store = openStore(storeFile(t))
  store.close()
  const { look, warned } = looking({ database: store.probe })
  t.match(await look(), { available: false, notes: [/^the database cannot be written: E?\w+$/] })
  t.same(warned, ['the database cannot be written'])
})

t.test('it is not available while the storage does not answer, and says nothing of where it is', async (t) => {
  const gone = () => Promise.reject(new Fault('InternalFault', '/secret/tree is gone', { errno: 'ENOENT' }))
  const { look } = looking({ storage: { probe: gone, usage: gone } })
  t.same(await look(), { available: false, upSince, notes: ['the storage does not answer: ENOENT'] })
})

t.test('of several storages the one is named that does not answer, or is full', async (t) => {
  const gone = () => Promise.reject(new Fault('InternalFault', '/secret/tree is gone', { errno: 'ENOTCONN' }))
  const lost = { probe: gone, usage: gone }
  const down = await looking({ storages: new Map<string, Storage>([['main', fine], ['ceph', lost]]) }).look() // prettier-ignore
  t.same(down, { available: false, upSince, notes: ['the storage ceph does not answer: ENOTCONN'] })
  const full = { probe: async () => undefined, usage: async () => ({ ...USAGE, free: 0 }) }
  const { notes } = await looking({ storages: new Map<string, Storage>([['main', fine], ['fast', full]]) }).look() // prettier-ignore
  t.same(notes, ['the storage fast is full: there is no room for bytes'])
})

t.test('full storage can be read: it is available, with a note', async (t) => {
  const having = (room: object) => ({ probe: async () => undefined, usage: async () => ({ ...USAGE, ...room }) })
  const full = await looking({ storage: having({ free: 0 }) }).look()
  t.match(full, { available: true, notes: ['the storage is full: there is no room for bytes'] })
  const crowded = await looking({ storage: having({ filesFree: 0 }) }).look()
  t.match(crowded, { available: true, notes: ['the storage is full: there is no room for nodes'] })
  t.same((await looking({ storage: having({}) }).look()).notes, [])
})

t.test('a hundred who ask at once cause one look, and a look that hangs no second one', async (t) => {
  let looks = 0
  const { promise, resolve } = Promise.withResolvers<undefined>()
  const storage = { ...USAGE, probe: async () => (looks++, promise), usage: async () => USAGE }
  const { look } = looking({ storage })
  const asking = Array.from({ length: 100 }, look)
  await new Promise((done) => setTimeout(done, 1200))
  asking.push(look())
  resolve(undefined)
  t.equal(new Set((await Promise.all(asking)).map(({ available }) => available)).size, 1)
  t.equal(looks, 1)
})

t.test('real disks', { skip: notRoot || unavailable(() => tmpfs('4m')) }, async (t) => {
  const { dir, dispose } = tmpfs('4m')
  t.teardown(dispose)
  await t.test('read-only', async (t) => {
    execFileSync('mount', ['-o', 'remount,ro', dir])
    t.teardown(() => execFileSync('mount', ['-o', 'remount,rw', dir]))
    const { look } = looking({ folders: [dir] })
    t.match(await look(), { available: true, notes: ['the storage cannot be written: EROFS'] })
  })
  await t.test('full', async (t) => {
    const store = openStore(join(dir, 'karst.db'))
    t.teardown(() => store.close())
    t.match(await looking({ database: store.probe, folders: [dir] }).look(), { available: true, notes: [] })
    try {
      writeFileSync(join(dir, 'fill'), Buffer.alloc(8 << 20))
    } catch (error) {
      t.equal((error as NodeJS.ErrnoException).code, 'ENOSPC')
    }
    for (let n = 0; n < 50; n++) {
      const found = await looking({ database: store.probe }).look()
      if (found.available) continue // what the file has room for itself
      t.match(found.notes, [/^the database cannot be written: (ENOSPC|EIO)$/])
      return
    }
    t.fail('a full disk was never noticed')
  })
})
