/** `karst trash` as users call it, against a quickstart: a deleted tree comes back, with all that belongs to it. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { nodeDocument, Quickstart, run, type Ended } from './running.ts'

const karst = new Quickstart(['--no-mount'])
t.before(() => karst.start())
t.teardown(() => karst.dispose())
t.setTimeout(120_000)

const VOS = 'vos://karst.local~karst'

async function trash(user: string, ...words: string[]): Promise<Ended> {
  const { url, ca, users } = karst.report
  const [what = '', ...rest] = words
  return run('bin/karst', [
    'trash',
    what,
    `${VOS}/home/alice`,
    ...rest,
    '--url',
    url,
    '--ca',
    ca,
    '--certificate',
    users[user]?.proxy ?? '',
  ])
}

async function planted(): Promise<void> {
  const properties = { 'urn:x:y': 'kept', 'ivo://ivoa.net/vospace/core#ispublic': 'true' }
  const body = nodeDocument(`${VOS}/home/alice/tree`, 'ContainerNode', properties)
  t.equal((await karst.ask('alice', '/nodes/home/alice/tree', { method: 'PUT', body })).status, 201)
  t.equal((await karst.ask('alice', '/files/home/alice/tree/f', { method: 'PUT', body: 'bytes' })).status, 201)
}

t.test('karst trash lists, restores and empties', async (t) => {
  await planted()
  t.equal((await karst.ask('alice', '/nodes/home/alice/tree', { method: 'DELETE' })).status, 200)
  t.notOk(existsSync(join(karst.state, 'tree/home/alice/tree')))
  const listed = await trash('alice', 'list')
  t.match(listed, { code: 0, stdout: /^\w+ {2}\S+Z {2}alice {2}2 {2}container {2}\/home\/alice\/tree\n$/ })
  const [id = ''] = listed.stdout.split(' ')
  t.match(await trash('alice', 'restore', id), { code: 0, stdout: '/home/alice/tree\n' })
  t.equal((await karst.ask('alice', '/files/home/alice/tree/f')).body.toString(), 'bytes')
  t.match((await karst.ask('alice', '/nodes/home/alice/tree')).body.toString(), /urn:x:y">kept</)
  t.match(await trash('alice', 'list'), { code: 0, stdout: /^$/ })
  await karst.ask('alice', '/nodes/home/alice/tree/f', { method: 'DELETE' })
  t.match(await trash('alice', 'empty'), { code: 0, stdout: '1 removed for good\n' })
  t.match(await trash('alice', 'empty'), { code: 0, stdout: '0 removed for good\n' })
})

t.test('karst trash says in a sentence what it cannot do', async (t) => {
  t.match(await trash('alice', 'restore', 'nothing'), { code: 1, stderr: /^karst trash: NodeNotFound: [^\n]*\n$/ })
  t.match(await trash('alice', 'restore'), { code: 2, stderr: /restore needs the ID/ })
  t.match(await trash('alice', 'burn', 'x'), { code: 2, stderr: /list, restore or empty/ })
  t.match(await run('bin/karst', ['trash', 'list', 'home', '--certificate', 'x', '--url', 'https://localhost:1']), {
    code: 1,
  })
})

t.test('the keeping time is the site’s, and what is over goes by itself', async (t) => {
  // the tree that the first test has left
  await karst.ask('alice', '/nodes/home/alice/tree', { method: 'DELETE' })
  t.match((await trash('alice', 'list')).stdout, '/home/alice/tree')
  t.equal(await karst.stop(), 0)
  const file = join(karst.state, 'config.json')
  const written = JSON.parse(readFileSync(file, 'utf8')) as object
  t.notMatch(written, { trash: {} }, 'on by default')
  writeFileSync(file, JSON.stringify({ ...written, trash: { days: 0.000001 } }))
  const serving = run('bin/karst', ['serve', '--config', file], { limit: 6000 })
  const kept = join(karst.state, 'tree/home/alice/.karst/trash')
  for (let waited = 0; existsSync(kept) && waited < 5000; waited += 50)
    await new Promise((done) => setTimeout(done, 50))
  await serving
  await karst.start()
  t.match(await trash('alice', 'list'), { code: 0, stdout: /^$/ })
})
