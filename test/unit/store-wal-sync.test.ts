import t from 'tap'
import { rmSync } from 'node:fs'
import { Database } from '../../src/store/database.ts'
import { openStore } from '../../src/store/store.ts'
import { WalSync } from '../../src/store/wal-sync.ts'
import { outcome } from './space-world.ts'
import { storeFile } from './store-process.ts'

t.test('an intent is durable for any number who wait at once', async (t) => {
  const store = openStore(storeFile(t))
  const attempts = Array.from({ length: 50 }, (_, i) => {
    const begun = store.operations.begin('alice', `id-${i}`, 'x')
    if (begun.state !== 'new') throw new Error(begun.state)
    return begun.attempt
  })
  await Promise.all(attempts.map((attempt) => attempt.durable()))
  await attempts[0]?.durable()
  store.close()
})

t.test('what comes while a sync is under way waits for the next one, not for that', async (t) => {
  const file = storeFile(t)
  const database = new Database(file, { full: false })
  t.teardown(() => database.close())
  database.useWal()
  database.exec('CREATE TABLE some (thing TEXT)')
  const sync = new WalSync(file)
  const [first, second, third] = [sync.now(), sync.now(), sync.now()]
  t.not(first, second)
  t.equal(second, third, 'one for both')
  const ended: string[] = []
  await Promise.all([first.then(() => ended.push('first')), second.then(() => ended.push('second'))])
  t.same(ended, ['first', 'second'])
  const under = sync.now()
  await sync.close()
  await under
})

t.test('a disk that refuses is told to who waits, also of what nobody waited for', async (t) => {
  const file = storeFile(t)
  const sync = new WalSync(file)
  t.match(await outcome(sync.now()), /^InternalFault EIO/)
  sync.soon()
  await new Promise((resolve) => setTimeout(resolve, 100))
  const database = new Database(file, { full: false })
  database.useWal()
  database.exec('CREATE TABLE some (thing TEXT)')
  t.match(await outcome(sync.now()), /^InternalFault EIO/)
  database.close()
  rmSync(file)
  await sync.close()
})

t.test('a store in memory has nothing to sync', async (t) => {
  await new WalSync(':memory:').now()
  t.pass()
})
