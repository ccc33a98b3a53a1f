/** Hard links over /fs/v1 for callers who are not trusted: who may make them, and that they open nothing to anybody. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { PosixBackend } from '../../src/backend/posix/posix.ts'
import { type Access } from '../../src/vospace/node.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { ids } from '../conformance/posix-tree.ts'
import { type Gateway, GROUP, type Reply, startGateway } from './gateway.ts'
import { type Name } from './people.ts'

const ALLOCATIONS = [nodePath('/home')]
const NOBODY: Access = { owner: 'uid:0', isPublic: true, groupRead: [], groupWrite: [], inherit: false, locked: false }

interface Started {
  readonly gateway: Gateway
  readonly post: (call: string, as: Name, document: object) => Promise<Reply>
}

/** Homes of alice and bob; in alice's a folder that GROUP (alice, bob) writes to, with a file of hers for readers and one for writers. */
async function start(t: Test): Promise<Started> {
  const dir = mkdtempSync(join(tmpdir(), 'karst-links-'))
  const options = {
    root: dir,
    ids,
    mode: 'unprivileged',
    allocationParents: ALLOCATIONS,
    unlabelledOwner: 'carol',
  } as const
  const posix = new PosixBackend(options)
  await posix.start()
  t.teardown(async () => {
    await posix.stop()
    rmSync(dir, { recursive: true })
  })
  const folder = (path: string, access: Partial<Access>) =>
    posix.make(nodePath(path), { type: 'container', access: { ...NOBODY, ...access }, mode: 0o755 })
  const file = (path: string, access: Partial<Access>) =>
    posix.put(nodePath(path), (async function* () {})(), {
      draft: { access: { ...NOBODY, owner: 'alice', isPublic: false, ...access }, mode: 0o600 },
    })
  await posix.set({ path: nodePath('/') }, { access: { isPublic: true } })
  await folder('/home', {})
  for (const owner of ['alice', 'bob']) await folder(`/home/${owner}`, { owner })
  await folder('/home/alice/shared', { owner: 'alice', groupWrite: [GROUP] })
  await file('/home/alice/shared/read', { groupRead: [GROUP] })
  await file('/home/alice/shared/write', { groupWrite: [GROUP] })
  const gateway = await startGateway(t, { backend: () => posix, rules: { allocationParents: ALLOCATIONS } })
  const post: Started['post'] = (call, as, document) =>
    gateway.call(`/fs/v1/${call}`, {
      method: 'POST',
      as,
      headers: { 'operation-id': randomUUID() },
      body: JSON.stringify(document),
    })
  return { gateway, post }
}

const S = '/home/alice/shared'

t.test('who writes to a file and to a folder gives it a name there', async (t) => {
  const { post, gateway } = await start(t)
  const reply = await post('link', 'bob', { from: `${S}/write`, to: `${S}/again` })
  t.match([reply.status, JSON.parse(reply.text)], [201, { nlink: 2, path: `${S}/again`, owner: 'alice' }])
  const changes = [...gateway.store.changes.since(0).changes].map(({ kind, path }) => `${kind} ${path}`)
  t.ok(changes.includes(`made ${S}/again`), 'others hear of it')
  t.equal((await post('remove', 'bob', { path: `${S}/write`, type: 'leaf' })).status, 204)
  t.equal((await gateway.call(`/fs/v1/entry?path=${S}/again`, { as: 'alice' })).status, 200)
})

t.test('a lost reply is not a refusal', async (t) => {
  const { gateway } = await start(t)
  const headers = { 'operation-id': randomUUID() }
  const body = JSON.stringify({ from: `${S}/write`, to: `${S}/again` })
  const ask = () => gateway.call('/fs/v1/link', { method: 'POST', as: 'bob', headers, body })
  const [one, other] = [await ask(), await ask()]
  t.same([one.status, other.status, other.text], [201, 201, one.text])
})

t.test('nobody else does', async (t) => {
  const { post } = await start(t)
  const refused: [string, Name, object, RegExp][] = [
    ['who may only read it', 'bob', { from: `${S}/read`, to: `${S}/again` }, /EACCES/],
    ['who may not even read it', 'carol', { from: `${S}/write`, to: '/home/again' }, /EACCES/],
    ['where they may not write', 'bob', { from: `${S}/write`, to: '/home/alice/again' }, /EACCES/],
    ['in another allocation', 'bob', { from: `${S}/write`, to: '/home/bob/again' }, /EXDEV/],
    ['out of every allocation', 'alice', { from: `${S}/write`, to: '/again' }, /EACCES|EXDEV/],
    ['a folder', 'alice', { from: S, to: '/home/alice/again' }, /EPERM/],
    ['over what is there', 'alice', { from: `${S}/write`, to: `${S}/read` }, /EEXIST/],
    ['what is not there', 'alice', { from: `${S}/none`, to: `${S}/again` }, /ENOENT/],
    ['another node than was meant', 'alice', { from: `${S}/write`, id: 'other', to: `${S}/again` }, /ESTALE/],
    ['a reserved name', 'alice', { from: `${S}/write`, to: '/home/alice/.karst' }, /EACCES/],
    ['a name too long', 'alice', { from: `${S}/write`, to: `${S}/${'x'.repeat(256)}` }, /ENAMETOOLONG/],
  ]
  for (const [who, as, document, says] of refused) {
    const reply = await post('link', as, document)
    t.ok(reply.status >= 400 && reply.status < 500, `${who}: ${reply.status}`)
    t.match(reply.text, says, who)
  }
})

t.test(
  'a second name does not leave the allocation either, which would open the file to another owner for good',
  async (t) => {
    const { post } = await start(t)
    t.equal(
      (await post('rename', 'bob', { from: `${S}/read`, to: '/home/bob/read' })).status,
      200,
      'what has one name may',
    )
    t.equal((await post('link', 'bob', { from: `${S}/write`, to: `${S}/again` })).status, 201)
    t.match((await post('rename', 'bob', { from: `${S}/again`, to: '/home/bob/again' })).text, /EXDEV/)
    t.match((await post('rename', 'alice', { from: `${S}/again`, to: '/home/bob/again' })).text, /EACCES|EXDEV/)
    t.equal((await post('rename', 'bob', { from: `${S}/again`, to: `${S}/third` })).status, 200)
    t.equal((await post('remove', 'bob', { path: `${S}/third`, type: 'leaf' })).status, 204)
    t.equal((await post('rename', 'bob', { from: `${S}/write`, to: '/home/bob/write' })).status, 200)
  },
)

t.test('a locked file gets no name', async (t) => {
  const { post, gateway } = await start(t)
  await gateway.space.backend.set({ path: nodePath(`${S}/write`) }, { access: { locked: true } })
  t.match((await post('link', 'alice', { from: `${S}/write`, to: `${S}/again` })).text, /EPERM/)
})

t.test('where the store has none it is EPERM, which programs know', async (t) => {
  const gateway = await startGateway(t)
  const reply = await gateway.call('/fs/v1/link', {
    method: 'POST',
    as: 'alice',
    headers: { 'operation-id': randomUUID() },
    body: JSON.stringify({ from: '/home/alice', to: '/home/alice/x' }),
  })
  t.match(reply.text, /"fault":"OperationNotSupported","errno":"EPERM"/)
})
