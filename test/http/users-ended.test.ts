/** Accounts through the door: what suspension cuts off, how what is owned changes hands, and what is left of who is deleted. */
import t from 'tap'
import { nodePath } from '../../src/vospace/path.ts'
import { overlay } from './gateway.ts'
import { credentials } from './people.ts'
import { ask, ended, hanging, ownerOf, pause, put, rowOf, started } from './users-lab.ts'

t.setTimeout(180_000)

t.test('suspension', async (t) => {
  const gateway = await started(t)
  const big = Buffer.alloc(64 << 20, 'x')
  t.equal(await put(gateway, '/home/alice/big', 'alice', big), 201)
  const read =
    '/synctrans?TARGET=vos%3A%2F%2Fkarst.local~karst%2Fhome%2Falice%2Fbig&DIRECTION=pullFromVoSpace&PROTOCOL=ivo%3A%2F%2Fivoa.net%2Fvospace%2Fcore%23httpsget'
  const url = /<vos:endpoint>([^<]+)</.exec((await gateway.call(read, { as: 'alice' })).text)?.[1] ?? ''
  t.match(url, /preauth/)
  t.equal((await gateway.call(url, { method: 'HEAD' })).status, 200, 'a pre-authorised URL works')
  const under = [
    await hanging(gateway, 'GET', '/files/home/alice/big', 'alice'),
    await hanging(gateway, 'GET', url),
    await hanging(gateway, 'PUT', '/files/home/alice/new', 'alice'),
  ]
  t.equal((await ask(gateway, 'PATCH', '/users/alice', { suspended: true })).status, 200)

  await t.test('the next request is refused, on connections that are kept too', async (t) => {
    t.equal((await gateway.call('/nodes/home/alice', { as: 'alice' })).status, 403)
    t.equal((await gateway.call('/nodes/home/alice', { as: credentials.alice })).status, 403)
    t.equal((await gateway.call('/fs/v1', { as: 'alice' })).status, 403)
    t.match((await gateway.call('/files/home/alice/big', { as: 'alice' })).text, /alice is suspended/)
  })
  await t.test('and so are the URLs that were given out', async (t) => {
    t.equal((await gateway.call(url)).status, 403)
    t.equal((await gateway.call(url, { method: 'HEAD' })).status, 403)
  })
  await t.test('what is under way is cut within ten seconds', async (t) => {
    const told = (): number =>
      gateway.log.reduce((sum, { fields, text }) => {
        const { requests = 0 } = fields as { requests?: number }
        // whichever of the two looks comes first
        if (text === 'a stream was cut: it is not permitted any more') return sum + 1
        return text === 'requests of a suspended account were cut' ? sum + requests : sum
      }, 0)
    for (let waited = 0; told() < under.length && waited < 60_000; waited += 100) await pause(100)
    t.equal(told(), under.length)
    for (const one of under) t.ok((await one.rest()) < big.length)
    await pause(200)
    t.equal(await ownerOf(gateway, '/home/alice/new'), undefined, 'and leaves nothing')
  })
  await t.test('files stay, and all is as it was afterwards', async (t) => {
    t.equal(await ownerOf(gateway, '/home/alice/big'), 'alice')
    t.equal((await ask(gateway, 'PATCH', '/users/alice', { suspended: false })).status, 200)
    t.equal((await gateway.call(url, { method: 'HEAD' })).status, 200)
    t.equal((await gateway.call('/nodes/home/alice', { as: 'alice' })).status, 200)
  })
})

t.test('a running job of who is suspended stops with an error', async (t) => {
  const gate = { wait: false, listed: 0 }
  const gateway = await started(t, {
    backend: (memory) =>
      overlay(memory, {
        remove: async (path, ...rest) => {
          gate.listed++
          if (gate.wait) await pause(150)
          return memory.remove(path, ...rest)
        },
      }),
  })
  for (let i = 0; i < 50; i++) await put(gateway, `/home/alice/f${i}`, 'alice')
  gate.wait = true
  const body = `target=${encodeURIComponent('vos://karst.local~karst/home/alice')}&phase=RUN`
  const made = await gateway.call('/async-delete', { method: 'POST', as: 'alice', body })
  t.equal(made.status, 303)
  const id = String(made.headers['location']).split('/').at(-1) ?? ''
  t.equal((await ask(gateway, 'PATCH', '/users/alice', { suspended: true })).status, 200)
  const job = await gateway.runner.wait(id, 60_000, 'EXECUTING')
  t.match(job, { phase: 'ERROR', error: 'PermissionDenied' })
  t.ok(gate.listed < 50, `${gate.listed} removed`)
})

t.test('what is owned changes hands', async (t) => {
  const gateway = await started(t)
  const { backend } = gateway.space
  const folder = { type: 'container', mode: 0o700 } as const
  const access = { isPublic: false, groupRead: [], groupWrite: [], inherit: false, locked: true }
  await backend.make(nodePath('/home/alice/sub'), { ...folder, access: { ...access, owner: 'alice' } })
  await backend.make(nodePath('/home/bob/alices'), { ...folder, access: { ...access, owner: 'alice' } })
  const counted = 300
  for (let i = 0; i < counted; i++) t.equal(await put(gateway, `/home/alice/f${i}`, 'alice'), 201)
  await t.test('below one node', async (t) => {
    const begun = await ask(gateway, 'POST', '/users/alice/hand-over', { to: 'bob', path: '/home/alice/sub' })
    t.equal(begun.status, 202)
    t.match(await ended(gateway, begun), { phase: 'COMPLETED', handed: 1 })
    t.equal(await ownerOf(gateway, '/home/alice/sub'), 'bob')
    t.equal(await ownerOf(gateway, '/home/alice/f1'), 'alice')
    t.equal(gateway.store.groups.list()[0]?.owner, 'alice', 'groups stay')
  })
  await t.test('whole, locked and private or not, counted, groups too', async (t) => {
    t.match(await ended(gateway, await ask(gateway, 'POST', '/users/alice/hand-over', { to: 'bob' })), {
      phase: 'COMPLETED',
      // files, home, /home/bob/alices, /pub
      handed: counted + 3,
    })
    t.equal(await ownerOf(gateway, '/home/alice'), 'bob')
    t.equal(await ownerOf(gateway, '/home/bob/alices'), 'bob')
    t.equal((await backend.walk(nodePath('/home/bob/alices'))).at(-1)?.access.locked, true, 'the rest is as it was')
    t.equal(gateway.store.groups.list()[0]?.owner, 'bob')
    t.match(gateway.audit.at(-1), { act: 'user.handed-over', on: 'alice', detail: { nodes: counted + 3, groups: 1 } })
    t.equal((await gateway.call('/files/home/alice/f1', { as: 'alice' })).status, 403)
  })
  await t.test('to nobody who is not there, or suspended, or has it', async (t) => {
    t.equal((await ask(gateway, 'POST', '/users/bob/hand-over', { to: 'nobody' })).status, 404)
    t.equal((await ask(gateway, 'POST', '/users/bob/hand-over', { to: 'bob' })).status, 400)
    t.equal((await ask(gateway, 'POST', '/users/bob/hand-over', {})).status, 400)
    gateway.store.users.suspend('alice')
    t.equal((await ask(gateway, 'POST', '/users/bob/hand-over', { to: 'alice' })).status, 403)
    const nowhere = await ask(gateway, 'POST', '/users/bob/hand-over', { to: 'carol', path: '/home/nobody' })
    t.match(await ended(gateway, nowhere), { phase: 'ERROR', error: /^NodeNotFound/ })
  })
  await t.test('the job is for administrators to see', async (t) => {
    const begun = await ask(gateway, 'POST', '/users/bob/hand-over', { to: 'carol', path: '/pub' })
    t.equal((await gateway.call(String(begun.headers['location']), { as: 'bob' })).status, 403)
    await ended(gateway, begun)
    const elsewhere = String(begun.headers['location']).replace('/bob/', '/alice/')
    t.equal((await gateway.call(elsewhere, { as: 'carol' })).status, 404)
  })
})

t.test('an account is deleted', async (t) => {
  const gateway = await started(t)
  const { uid = 0 } = gateway.store.users.byName('alice') ?? {}
  await t.test('only when it is suspended', async (t) => {
    t.equal((await ask(gateway, 'DELETE', '/users/alice')).status, 412)
    t.equal((await ask(gateway, 'PATCH', '/users/alice', { suspended: true })).status, 200)
  })
  await t.test('only when nothing is theirs', async (t) => {
    t.equal((await ask(gateway, 'DELETE', '/users/alice')).status, 409, 'a group')
    gateway.store.users.handGroups('alice', 'bob')
    const refused = await ended(gateway, await ask(gateway, 'DELETE', '/users/alice'))
    t.match(refused, { phase: 'ERROR', error: /^ContainerNotEmpty: alice owns \/home\/alice/ })
    t.ok(gateway.store.users.byName('alice'))
  })
  await t.test('or with an heir', async (t) => {
    t.equal((await ask(gateway, 'DELETE', '/users/alice?to=nobody')).status, 404)
    const done = await ended(gateway, await ask(gateway, 'DELETE', '/users/alice?to=bob'))
    t.match(done, { phase: 'COMPLETED', handed: 2 })
    t.equal(gateway.store.users.byName('alice'), undefined)
    t.match(gateway.audit.at(-1), { act: 'user.deleted', on: 'alice', by: 'carol' })
    t.match((await gateway.call('/users/me', { as: 'alice' })).text, /no user here/)
  })
  await t.test('and neither name nor number are anybody’s again', async (t) => {
    t.equal((await ask(gateway, 'POST', '/users', { name: 'alice', home: false })).status, 409)
    t.equal((await ask(gateway, 'POST', '/users', { name: 'erin', uid, home: false })).status, 409)
    const forced = await ask(gateway, 'POST', '/users', { name: 'alice', home: false, reuseName: true })
    t.equal(forced.status, 201)
    t.not(rowOf(forced).uid, uid)
  })
})

t.test('who is given the name of somebody deleted gets nothing of what was handed out under it', async (t) => {
  const gateway = await started(t)
  const offer = (direction: string, name: string): string =>
    `/synctrans?TARGET=vos%3A%2F%2Fkarst.local~karst%2Fhome%2Falice%2F${name}&DIRECTION=${direction}`
  t.equal(await put(gateway, '/home/alice/kept', 'alice', Buffer.from('x')), 201)
  const urls = [
    ['PUT', offer('pushToVoSpace', 'new') + '&PROTOCOL=ivo%3A%2F%2Fivoa.net%2Fvospace%2Fcore%23httpsput'],
    ['GET', offer('pullFromVoSpace', 'kept') + '&PROTOCOL=ivo%3A%2F%2Fivoa.net%2Fvospace%2Fcore%23httpsget'],
  ] as const
  const given = await Promise.all(
    urls.map(async ([method, target]) => {
      const { text } = await gateway.call(target, { as: 'alice' })
      return { method, url: /<vos:endpoint>([^<]*preauth[^<]+)</.exec(text)?.[1] ?? '' }
    }),
  )
  const use = () => Promise.all(given.map(async ({ method, url }) => (await gateway.call(url, { method })).status))
  t.same(await use(), [201, 200])
  await ask(gateway, 'PATCH', '/users/alice', { suspended: true })
  t.match(await ended(gateway, await ask(gateway, 'DELETE', '/users/alice?to=bob')), { phase: 'COMPLETED' })
  t.same(await use(), [403, 403])
  const reused = await ask(gateway, 'POST', '/users', { name: 'alice', home: false, reuseName: true })
  t.equal(reused.status, 201)
  t.same(await use(), [403, 403], 'the URLs are not of this alice')
})
