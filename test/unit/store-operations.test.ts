import t from 'tap'
import { type Begun } from '../../src/store/operations.ts'
import { Database } from '../../src/store/database.ts'
import { ChangeOrigin } from '../../src/store/change-origin.ts'
import { openStore, type Store } from '../../src/store/store.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { outcome } from './space-world.ts'
import { kill, run, storeFile } from './store-process.ts'

const MINUTE = 60_000

const opened = (t: Tap, file = storeFile(t)): Store => {
  const store = openStore(file)
  t.teardown(() => store.close())
  return store
}
interface Tap {
  teardown(clean: () => void): void
}
const attemptOf = (begun: Begun) => {
  if (begun.state !== 'new') throw new Error(`it is ${begun.state}`)
  return begun.attempt
}

t.test('a repetition gets the first answer, by the same user for the same call only', async (t) => {
  const { operations } = opened(t)
  t.equal(operations.begin('alice', 'id', 'mkdir /a').state, 'new')
  t.equal(operations.begin('alice', 'id', 'mkdir /a').state, 'running')
  operations.finish('alice', 'id', { status: 201, body: '{"id":"é"}' })
  t.same(operations.begin('alice', 'id', 'mkdir /a'), { state: 'done', status: 201, body: '{"id":"é"}' })
  t.equal(await outcome((async () => operations.begin('alice', 'id', 'mkdir /b'))()), 'InvalidArgument EINVAL')
  t.equal(operations.begin('bob', 'id', 'mkdir /b').state, 'new', 'ids of others do not matter')
  t.equal(operations.begin(undefined, 'id', 'mkdir /b').state, 'new')
})

t.test('answers outlive the gateway, and are forgotten after ten minutes', async (t) => {
  const file = storeFile(t)
  const first = openStore(file)
  const now = Date.now()
  first.operations.begin('alice', 'id', 'x', now)
  first.operations.finish('alice', 'id', { status: 200, body: '' }, undefined, now)
  first.close()
  const { operations } = opened(t, file)
  t.equal(operations.begin('alice', 'id', 'x', now + 9 * MINUTE).state, 'done')
  const again = attemptOf(operations.begin('alice', 'id', 'x', now + 11 * MINUTE))
  t.equal(again.repeated, false)
})

t.test('what a killed gateway began is begun again as a repetition, with what it noted', async (t) => {
  const file = storeFile(t)
  const { operations } = opened(t, file)
  const child = await run(file, 'begin', 'id')
  t.equal(child.answer, 'new')
  t.equal(operations.begin('alice', 'id', 'mkdir /a').state, 'running', 'while it lives it is at it')
  await kill(child)
  const attempt = attemptOf(operations.begin('alice', 'id', 'mkdir /a'))
  t.match(attempt, { repeated: true, noted: 'node-1' })
  t.ok(attempt.began <= Date.now())
  t.equal(operations.begin('alice', 'id', 'mkdir /a').state, 'running', 'and now we are at it')
  operations.finish('alice', 'id', { status: 201, body: 'done' })
  t.match(operations.begin('alice', 'id', 'mkdir /a'), { state: 'done', body: 'done' })
})

t.test('an abandoned operation is begun again as a repetition', async (t) => {
  const { operations } = opened(t)
  attemptOf(operations.begin('alice', 'id', 'x')).note('node-9')
  operations.abandon('alice', 'id')
  t.match(attemptOf(operations.begin('alice', 'id', 'x')), { repeated: true, noted: 'node-9' })
  operations.finish('alice', 'id', { status: 200, body: '' })
  operations.abandon('alice', 'id')
  t.equal(operations.begin('alice', 'id', 'x').state, 'done', 'what is answered stays answered')
})

t.test('what an operation has changed is kept with its answer, in the order of the changes', (t) => {
  const { operations, changes } = opened(t)
  const mount = 'b9a5a1a2-6f0a-4c40-8a6c-0d2ad26a9a11'
  const change = (id: string) => ({ id, path: nodePath('/a'), kind: 'made' }) as const
  attemptOf(operations.begin('alice', 'id', 'x'))
  const origin = new ChangeOrigin(mount)
  origin.during(() => {
    changes.append(change('one'))
    changes.append(change('two'))
  })
  t.equal(changes.last(), 0, 'nobody has been answered yet')
  operations.finish('alice', 'id', { status: 200, body: '' }, origin)
  t.match(changes.since(0).changes, [
    { id: 'one', mount },
    { id: 'two', mount },
  ])
  origin.during(() => changes.append(change('late')))
  t.match(changes.since(2).changes, [{ id: 'late', mount }], 'what goes on afterwards is told at once')
  const broken = new ChangeOrigin(undefined)
  broken.during(() => changes.append(change('half')))
  attemptOf(operations.begin('alice', 'other', 'x'))
  operations.abandon('alice', 'other', broken)
  t.match(changes.since(3).changes, [{ id: 'half' }], 'an operation that failed may have changed something')
  t.end()
})

t.test('of changes and answer each is kept where the other cannot be', (t) => {
  const file = storeFile(t)
  const { operations, changes } = opened(t, file)
  const raw = new Database(file, { full: false })
  t.teardown(() => raw.close())
  const done = (id: string): number => {
    attemptOf(operations.begin('alice', id, 'x'))
    const origin = new ChangeOrigin(undefined)
    origin.during(() => changes.append({ id, path: nodePath('/a'), kind: 'made' }))
    const since = changes.last()
    operations.finish('alice', id, { status: 200, body: '' }, origin)
    return since
  }
  raw.exec("CREATE TRIGGER full BEFORE INSERT ON changes BEGIN SELECT raise(ABORT, 'full'); END")
  const since = done('one')
  t.equal(operations.begin('alice', 'one', 'x').state, 'done')
  t.equal(changes.since(since).resync, true)
  raw.exec('DROP TRIGGER full')
  raw.exec("CREATE TRIGGER full BEFORE UPDATE ON operations BEGIN SELECT raise(ABORT, 'full'); END")
  t.throws(() => done('two'))
  t.equal(changes.since(changes.last() - 1).changes.at(-1)?.id, 'two')
  t.end()
})

t.test('of several processes exactly one begins each operation', async (t) => {
  const file = storeFile(t)
  opened(t, file)
  const racing = await Promise.all([run(file, 'race', '200'), run(file, 'race', '200'), run(file, 'race', '200')])
  const won = racing.flatMap(({ answer }) => answer as number[])
  t.same(
    won.sort((a, b) => a - b),
    Array.from({ length: 200 }, (_, i) => i),
  )
})

t.test('a hundred thousand old answers are swept, a few at a time, and what runs is kept', async (t) => {
  const file = storeFile(t)
  const { operations } = opened(t, file)
  const raw = new Database(file, { full: false })
  t.teardown(() => raw.close())
  const count = () => raw.number('SELECT count(*) FROM operations')
  const start = Date.now()
  const old = start - 20 * MINUTE
  operations.begin('alice', 'running', 'x', old)
  // by the table, since a hundred thousand commits with an fsync each would take minutes
  const many = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
    INSERT INTO operations SELECT 'alice', 'old-' || i, 'x', '', ?1, NULL, ?1, 200, '' FROM n`
  raw.run(many, old)
  t.equal(count(), 100_001)
  let most = 0
  for (let i = 0; i < 60; i++) {
    const before = count()
    operations.begin('carol', `c${i}`, 'x', start + MINUTE)
    most = Math.max(most, before - count())
  }
  t.equal(count(), 60 + 1)
  t.ok(most <= 2000, 'nobody waits for all of it')
  t.equal(operations.begin('alice', 'running', 'x', start + MINUTE).state, 'running')
  operations.begin('dave', 'later', 'x', start + 2 * 24 * 60 * MINUTE)
  t.equal(count(), 1, 'an intent of two days ago goes too')
})

t.test('old answers are swept from behind thousands of intents that are kept', (t) => {
  const file = storeFile(t)
  const { operations } = opened(t, file)
  const raw = new Database(file, { full: false })
  t.teardown(() => raw.close())
  const start = Date.now()
  const many = (name: string, finished: number | null) =>
    raw.run(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
        INSERT INTO operations SELECT 'alice', ?1 || i, 'x', '', ?2, NULL, ?3, 200, '' FROM n`,
      ...[name, start - 20 * MINUTE, finished],
    )
  many('cut-short-', null)
  many('old-', start - 20 * MINUTE)
  many('late-', start)
  const left = (name: string) => raw.number('SELECT count(*) FROM operations WHERE id LIKE ?', `${name}-%`)
  for (let i = 0; i < 12; i++) operations.begin('carol', `new-${i}`, 'x', start)
  t.same(['cut-short', 'old', 'late', 'new'].map(left), [5000, 0, 5000, 12])
  for (let i = 0; i < 24; i++) operations.begin('carol', `again-${i}`, 'x', start + 11 * MINUTE)
  t.same(['cut-short', 'late'].map(left), [5000, 0], 'what was answered late is found from the beginning again')
  t.end()
})
