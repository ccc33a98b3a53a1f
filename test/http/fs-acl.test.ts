/** POSIX ACLs over /fs/v1 as another view of sharing: what is shown, what can be said so, and what is refused. */
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { buildAcl, parseAcl, type Acl, type Named } from '../../src/vospace/posix-acl.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { type Gateway, GROUP, type Reply, startGateway } from './gateway.ts'
import { type Name } from './people.ts'

const FILE = '/home/alice/f'
const FOLDER = '/home/alice/d'

interface Asking {
  readonly as?: Name
  readonly kind?: 'access' | 'default'
  readonly value?: Buffer
  readonly method?: 'GET' | 'PUT' | 'DELETE'
}

async function start(t: Test) {
  const gateway = await startGateway(t)
  const { backend } = gateway.space
  const access = { owner: 'alice', isPublic: false, groupRead: [], groupWrite: [], inherit: false, locked: false }
  await backend.make(nodePath(FOLDER), { type: 'container', access, mode: 0o750 })
  await backend.put(nodePath(FILE), (async function* () {})(), { draft: { access, mode: 0o640 } })
  await backend.make(nodePath('/home/alice/l'), { type: 'link', access, mode: 0o777, text: Buffer.from('f') })
  const gid = gateway.store.ids().gidOf(GROUP) ?? -1
  const ask = (path: string, { as = 'alice', kind = 'access', value, method }: Asking = {}): Promise<Reply> =>
    gateway.call(`/fs/v1/xattr?path=${path}&name=system.posix_acl_${kind}`, {
      method: method ?? (value === undefined ? 'GET' : 'PUT'),
      as,
      headers: { 'operation-id': randomUUID() },
      ...(value !== undefined && { body: value }),
    })
  return { gateway, ask, gid }
}

const acl = (named: Named[], more: Partial<Acl> = {}): Buffer =>
  buildAcl({ owner: 6, group: 4, other: 0, mask: named.length === 0 ? undefined : 7, named, ...more })

const accessOf = async (gateway: Gateway, path: string) => {
  const { groupRead, groupWrite, isPublic, inherit } =
    (await gateway.space.backend.walk(nodePath(path))).at(-1)?.access ?? {}
  return { groupRead, groupWrite, isPublic, inherit }
}

t.test('an entry for a group is what it is shared with', async (t) => {
  const { gateway, ask, gid } = await start(t)
  t.match([(await ask(FILE)).status, (await ask(FILE)).text], [404, /ENODATA/], 'shared with nobody')
  for (const [perm, groupRead, groupWrite] of [
    [4, [GROUP], []],
    [6, [], [GROUP]],
    [7, [], [GROUP]],
    [0, [], []],
  ] as const) {
    const reply = await ask(FILE, { value: acl([{ kind: 'group', id: gid, perm }], { other: 4 }) })
    t.equal(reply.status, 204, reply.text)
    t.same(await accessOf(gateway, FILE), { groupRead, groupWrite, isPublic: true, inherit: false }, `perm ${perm}`)
    const shown = await ask(FILE)
    const named = perm === 0 ? undefined : [{ kind: 'group', id: gid, perm: perm & 6 }]
    t.same(shown.status === 200 ? parseAcl(shown.body)?.named : undefined, named)
  }
  await ask(FILE, { value: acl([{ kind: 'group', id: gid, perm: 6 }]) })
  t.equal((await ask(FILE, { method: 'DELETE' })).status, 204)
  t.same(await accessOf(gateway, FILE), { groupRead: [], groupWrite: [], isPublic: false, inherit: false })
})

t.test('what the mask takes away is not granted', async (t) => {
  const { gateway, ask, gid } = await start(t)
  t.equal((await ask(FILE, { value: acl([{ kind: 'group', id: gid, perm: 6 }], { mask: 4 }) })).status, 204)
  t.same((await accessOf(gateway, FILE)).groupRead, [GROUP])
  t.same((await accessOf(gateway, FILE)).groupWrite, [])
})

t.test('of a folder a group needs x, and the default ACL is inherit', async (t) => {
  const { gateway, ask, gid } = await start(t)
  const share = (perm: number) =>
    ask(FOLDER, { value: acl([{ kind: 'group', id: gid, perm }], { owner: 7, group: 0 }) })
  t.match([(await share(4)).status, (await share(4)).text], [400, /EOPNOTSUPP/], 'r alone lets nobody in')
  t.equal((await share(5)).status, 204)
  const byDefault = (perm: number) => ask(FOLDER, { kind: 'default', value: acl([{ kind: 'group', id: gid, perm }]) })
  t.match([(await byDefault(7)).text], [/EOPNOTSUPP/], 'other groups than its own')
  t.equal((await accessOf(gateway, FOLDER)).inherit, false)
  t.equal((await byDefault(5)).status, 204)
  t.equal((await accessOf(gateway, FOLDER)).inherit, true)
  t.same(parseAcl((await ask(FOLDER, { kind: 'default' })).body)?.named, [{ kind: 'group', id: gid, perm: 5 }])
  t.equal((await ask(FOLDER, { kind: 'default', method: 'DELETE' })).status, 204)
  t.equal((await accessOf(gateway, FOLDER)).inherit, false)
  t.match([(await ask(FILE, { kind: 'default', value: acl([]) })).text], [/EACCES/])
})

t.test('what sharing cannot say is refused, and nothing is changed', async (t) => {
  const { gateway, ask, gid } = await start(t)
  const before = await accessOf(gateway, FILE)
  const bad: [Buffer, RegExp][] = [
    [acl([{ kind: 'user', id: 20001, perm: 4 }]), /EOPNOTSUPP/],
    [acl([{ kind: 'group', id: gid, perm: 2 }]), /EOPNOTSUPP/],
    [acl([{ kind: 'group', id: 12345, perm: 4 }]), /EINVAL/],
    [Buffer.from('garbage'), /EINVAL/],
    [Buffer.alloc(0), /EINVAL/],
    [acl([]).subarray(0, 20), /EINVAL/],
  ]
  for (const [value, says] of bad) t.match((await ask(FILE, { value })).text, says)
  t.match((await ask('/home/alice/l')).text, /EOPNOTSUPP/)
  t.match((await ask('/home/alice/l', { value: acl([]) })).text, /EOPNOTSUPP/)
  t.same(await accessOf(gateway, FILE), before)
})

t.test('who may not see a file sees no ACL of it, and who may not change it sets none', async (t) => {
  const { ask, gid } = await start(t)
  const value = acl([{ kind: 'group', id: gid, perm: 4 }])
  t.match((await ask(FILE, { as: 'carol' })).text, /EACCES/)
  t.match((await ask(FILE, { as: 'carol', value })).text, /EACCES/)
  t.equal(
    (await ask('/home/alice', { value: acl([{ kind: 'group', id: gid, perm: 5 }], { owner: 7, group: 0 }) })).status,
    204,
  )
  await ask(FILE, { value })
  t.equal((await ask(FILE, { as: 'bob' })).status, 200, 'he is in the group')
  t.match((await ask(FILE, { as: 'bob', value: acl([]) })).text, /EPERM/, 'and may only read')
})
