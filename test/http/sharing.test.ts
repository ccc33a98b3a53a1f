/** `/share`: one group more or less, on a node or a tree, and what it never does: take from others what they have. */
import t from 'tap'
import { type AuditEvent } from '../../src/identity/audit.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { GROUP, node, property, startGateway, type Gateway, type Reply } from './gateway.ts'

const OTHER = 'ivo://karst.local/gms?other'
const CORE = 'ivo://ivoa.net/vospace/core#'
t.setTimeout(120_000)

async function site(test: Parameters<typeof startGateway>[0]) {
  const audit: AuditEvent[] = []
  const note = (event: AuditEvent): void => void audit.push(event)
  const gateway = await startGateway(test, { services: { audit: { note } }, audit: { note } })
  gateway.store.groups.create(OTHER, { owner: 'alice' })
  await gateway.call('/nodes/home/alice/d', { as: 'alice', method: 'PUT', body: node('/home/alice/d') })
  for (const name of ['a', 'b'])
    await gateway.call(`/files/home/alice/d/${name}`, { as: 'alice', method: 'PUT', body: name })
  return { gateway, audit }
}

const share = (gateway: Gateway, document: object, as: 'alice' | 'bob' | null = 'alice', type = 'application/json') =>
  gateway.call('/share', {
    ...(as !== null && { as }),
    method: 'POST',
    headers: { 'Content-Type': type },
    body: JSON.stringify(document),
  })

const read = (reply: Reply): Record<string, unknown> => JSON.parse(reply.text) as Record<string, unknown>

async function ended(gateway: Gateway, reply: Reply): Promise<Record<string, unknown>> {
  t.equal(reply.status, 202, reply.text)
  const { job } = read(reply)
  for (;;) {
    const row = read(await gateway.call(`/share/${String(job)}?wait=5`, { as: 'alice' }))
    if (!['PENDING', 'QUEUED', 'EXECUTING'].includes(String(row['phase']))) return row
  }
}

const groupsOf = async (gateway: Gateway, path: string) => {
  const { access } = (await gateway.space.backend.walk(nodePath(path))).at(-1) ?? {}
  return [access?.groupRead, access?.groupWrite, access?.isPublic]
}

t.test('groups are added and taken out one by one', async (t) => {
  const { gateway, audit } = await site(t)
  const path = '/home/alice/d/a'
  t.match(read(await share(gateway, { path, read: ['team'] })), {
    groupRead: [GROUP],
    changed: true,
    closed: [{ group: GROUP, paths: ['/home/alice', '/home/alice/d'] }],
  })
  await share(gateway, { path, write: [OTHER], public: true })
  t.same(await groupsOf(gateway, path), [[GROUP], [OTHER], true])
  t.match(read(await share(gateway, { path, read: ['other'] })), { changed: false }, 'who may write may read')
  t.match(read(await share(gateway, { path, remove: ['other', 'team'], public: false })), { changed: true })
  t.same(await groupsOf(gateway, path), [[], [], false])
  t.match(
    audit.filter(({ act }) => act === 'node.share').map(({ by, on, detail }) => [by, on, detail]),
    [
      ['alice', path, { granted: `read=${GROUP}` }],
      ['alice', path, { granted: `write=${OTHER} public` }],
      ['alice', path, { withdrawn: `read=${GROUP} write=${OTHER} public` }],
    ],
  )
})

t.test('a group that is gone, or that nobody knows, can still be taken out, and cannot be let in', async (t) => {
  const { gateway } = await site(t)
  const path = nodePath('/home/alice/d/a')
  const foreign = 'ivo://elsewhere.example/gms?x'
  await gateway.space.backend.set({ path }, { access: { groupRead: [foreign, OTHER] } })
  gateway.store.groups.delete(OTHER)
  for (const name of ['other', foreign, 'none', ' ', 'a b'])
    t.equal((await share(gateway, { path, read: [name] })).status, 400, name)
  t.equal((await share(gateway, { path, remove: [foreign, 'other'] })).status, 200)
  t.same(await groupsOf(gateway, path), [[], [], false])
})

t.test('of a tree each node keeps what it had besides, and what is made there is shared too', async (t) => {
  const { gateway, audit } = await site(t)
  await share(gateway, { path: '/home/alice/d/b', read: ['other'] })
  const done = await ended(
    gateway,
    await share(gateway, { path: '/home/alice/d', write: ['team'], inherit: true, recursive: true }),
  )
  t.match(done, { phase: 'COMPLETED', done: 3, refused: 0 })
  t.same(await groupsOf(gateway, '/home/alice/d/b'), [[OTHER], [GROUP], false])
  await gateway.call('/files/home/alice/d/new', { as: 'alice', method: 'PUT', body: 'x' })
  t.same(await groupsOf(gateway, '/home/alice/d/new'), [[], [GROUP], false])
  t.match(await ended(gateway, await share(gateway, { path: '/home/alice/d', remove: ['team'], recursive: true })), {
    phase: 'COMPLETED',
    done: 4,
  })
  t.same(await groupsOf(gateway, '/home/alice/d/b'), [[OTHER], [], false])
  t.match(
    audit.filter(({ act }) => act === 'tree.share').map(({ detail }) => detail?.['nodes']),
    [3, 4],
  )
})

t.test('what cannot be set is counted', async (t) => {
  const { gateway } = await site(t)
  await gateway.space.backend.set({ path: nodePath('/home/alice/d/b') }, { access: { owner: 'carol' } })
  const done = await ended(gateway, await share(gateway, { path: '/home/alice/d', read: ['team'], recursive: true }))
  t.match(done, { phase: 'ABORTED', done: 2, refused: 1 })
})

t.test('who may not share does not, and a page of somebody else cannot make them', async (t) => {
  const { gateway } = await site(t)
  const document = { path: '/home/alice/d', read: ['team'] }
  for (const more of [{}, { recursive: true }]) {
    t.equal((await share(gateway, { ...document, ...more }, 'bob')).status, 403)
    t.equal((await share(gateway, { ...document, ...more }, null)).status, 403)
    t.equal((await share(gateway, { ...document, ...more }, 'alice', 'text/plain')).status, 400)
  }
  t.same(await groupsOf(gateway, '/home/alice/d'), [[], [], false])
  const begun = read(await share(gateway, { ...document, recursive: true }))
  t.equal((await gateway.call(`/share/${String(begun['job'])}`, { as: 'bob' })).status, 404, "jobs are their owner's")
})

t.test('documents that make no sense are refused', async (t) => {
  const { gateway } = await site(t)
  const path = '/home/alice/d'
  for (const document of [
    {},
    { path: 'home' },
    { path, read: 'team' },
    { path, read: [1] },
    { path, read: [null] },
    { path, public: 'yes' },
    { path, read: ['team'], remove: ['team'] },
    { path, read: Array.from({ length: 101 }, () => 'team') },
    { path, all: true },
    [],
  ])
    t.equal((await share(gateway, document)).status, 400, JSON.stringify(document).slice(0, 60))
  t.equal((await share(gateway, { path: '/home/alice/none', read: ['team'] })).status, 404)
  t.equal((await gateway.call('/access', { as: 'alice' })).status, 400)
})

t.test('chmod, and a node document, are told to the audit as what they grant', async (t) => {
  const { gateway, audit } = await site(t)
  const body = node('/home/alice/d/a', 'DataNode', property(`${CORE}groupread`, GROUP))
  await gateway.call('/nodes/home/alice/d/a', { as: 'alice', method: 'POST', body })
  const { setattr } = await import('../../src/space/filesystem.ts')
  const caller = { user: 'alice', groups: new Set<string>(), admin: false, uid: 1, gid: 1 }
  await setattr(gateway.space, caller, { path: nodePath('/home/alice/d/a') }, { mode: 0o604 })
  await setattr(gateway.space, caller, { path: nodePath('/home/alice/d/a') }, { mtime: 5n })
  t.match(
    audit.filter(({ act }) => act === 'node.share').map(({ detail }) => detail),
    [{ granted: `read=${GROUP}` }, { granted: 'public', withdrawn: `read=${GROUP}` }],
  )
  t.equal(audit.filter(({ act }) => act === 'node.share').length, 2)
})

t.test('who may ask about whom', async (t) => {
  const { gateway } = await site(t)
  await share(gateway, { path: '/home/alice', read: ['team'] })
  await share(gateway, { path: '/home/alice/d', read: ['team'] })
  const ask = async (as: 'alice' | 'bob' | 'carol', about: string) =>
    (await gateway.call(`/access?path=/home/alice/d&as=${about}`, { as })).status
  t.equal(await ask('alice', 'bob'), 200)
  t.equal(await ask('bob', 'bob'), 200)
  t.equal(await ask('bob', 'carol'), 403)
  t.equal(await ask('carol', 'carol'), 403, 'what they cannot reach they are told nothing of')
  gateway.store.users.suspend('bob')
  const told = read(await gateway.call('/access?path=/home/alice/d&as=bob', { as: 'alice' }))
  t.match(told['verdict'], { user: 'bob', read: { allowed: false, reason: /suspended/ } })
  gateway.store.users.setAdmin('carol', true)
  t.equal(await ask('carol', 'alice'), 403, 'nor is an administrator')
})

t.test('through which groups somebody is in', async (t) => {
  const { gateway } = await site(t)
  gateway.store.groups.nest(OTHER, GROUP)
  await share(gateway, { path: '/home/alice', read: ['other'] })
  await share(gateway, { path: '/home/alice/d', read: ['other'] })
  for (const as of ['alice', 'bob'] as const) {
    const told = read(await gateway.call('/access?path=/home/alice/d&as=bob', { as }))
    t.match(told['verdict'], { read: { allowed: true, rule: 'groupRead', group: OTHER, way: [OTHER, GROUP] } })
  }
  const { granted } = read(await gateway.call('/access?path=/home/alice/d', { as: 'alice' }))
  t.match(granted, [
    { rule: 'owner', user: 'alice' },
    { rule: 'groupRead', group: OTHER, read: true, write: false, closed: [] },
  ])
  const team = read(await share(gateway, { path: '/home/alice/d', read: ['team'] }))
  t.same(team['closed'], [], 'a group within one that may pass gets there')
})

t.test('administrative acts on nodes are told to the audit', async (t) => {
  const audit: AuditEvent[] = []
  const note = (event: AuditEvent): void => void audit.push(event)
  const rules = { trashDays: 7, allocationParents: [nodePath('/home')] }
  const gateway = await startGateway(t, { audit: { note }, services: { audit: { note } }, rules })
  gateway.store.users.setAdmin('carol', true)
  const owner = node('/home/bob', 'ContainerNode', property(`${CORE}creator`, 'alice'))
  t.equal((await gateway.call('/nodes/home/bob', { as: 'carol', method: 'POST', body: owner })).status, 200)
  await gateway.call('/files/home/alice/x', { as: 'alice', method: 'PUT', body: 'x' })
  await gateway.call('/nodes/home/alice/x', { as: 'alice', method: 'DELETE' })
  const headers = { 'Content-Type': 'application/json' }
  const body = JSON.stringify({ path: '/home/alice' })
  t.equal((await gateway.call('/trash/empty', { as: 'alice', method: 'POST', headers, body })).status, 200)
  await gateway.call('/files/home/alice/none', { as: 'bob', headers: { Authorization: 'Bearer secret-token' } })
  t.match(
    audit.map(({ act, by, on, result, detail }) => ({ act, by, on, result, detail })),
    [
      { act: 'node.share', by: 'carol', on: '/home/bob', detail: { owner: 'alice', ownerBefore: 'bob' } },
      { act: 'trash.empty', by: 'alice', on: '/home/alice', detail: { removed: 1 } },
      { act: 'request', by: null, result: 'refused', detail: { status: 401, fault: 'NotAuthenticated' } },
    ],
  )
  t.notMatch(JSON.stringify(audit), /secret-token/)
})
