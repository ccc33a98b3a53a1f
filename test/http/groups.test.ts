/** Groups over HTTPS: made, filled, nested, told to other services; and what they open and close. */
import t from 'tap'
import { type Gateway, GROUP, node, property, startGateway } from './gateway.ts'
import { type Name } from './people.ts'

const GROUPREAD = 'ivo://ivoa.net/vospace/core#groupread'
const inOneHour = (): string => new Date(Date.now() + 3_600_000).toISOString()

async function ask(gateway: Gateway, as: Name | 'dave' | undefined, line: string, document?: object | string) {
  const [method = '', path = ''] = line.split(' ')
  const body = typeof document === 'object' ? JSON.stringify(document) : document
  const { status, text, headers } = await gateway.call(path, {
    method,
    ...(as !== undefined && { as }),
    ...(body !== undefined && { body }),
  })
  const isJson = headers['content-type'] === 'application/json'
  return { status, text, headers, json: isJson ? (JSON.parse(text) as Record<string, unknown>) : undefined }
}

await t.test('a group is made, described, filled and deleted', async (t) => {
  const gateway = await startGateway(t)
  const made = await ask(gateway, 'alice', 'POST /groups', { name: 'survey', description: 'the survey team' })
  t.equal(made.status, 201)
  t.equal(made.headers['location'], `${gateway.url}/groups/survey`)
  t.match(made.json, { uri: 'ivo://karst.local/gms?survey', name: 'survey', role: 'owner', owner: 'alice' })
  t.equal((await ask(gateway, 'bob', 'POST /groups', { name: 'survey' })).status, 409)
  t.equal((await ask(gateway, 'alice', 'PUT /groups/survey/members/bob')).status, 204)
  t.equal((await ask(gateway, 'alice', 'PUT /groups/survey/members/carol', { expires: inOneHour() })).status, 204)
  t.equal((await ask(gateway, 'alice', 'PUT /groups/survey/admins/carol')).status, 204)
  const shown = await ask(gateway, 'bob', 'GET /groups/survey')
  t.equal(shown.headers['content-type'], 'application/json')
  t.match(shown.json, {
    role: 'member',
    owner: 'alice',
    description: 'the survey team',
    admins: ['carol'],
    members: [{ name: 'bob' }, { name: 'carol', expires: /Z$/ }],
    groups: [],
  })
  t.match((await ask(gateway, 'bob', 'GET /groups')).json, { groups: [{ name: 'survey' }, { name: 'team' }] })
  t.match((await ask(gateway, 'alice', 'PATCH /groups/survey', { description: null })).json, { description: undefined })
  t.equal((await ask(gateway, 'alice', 'DELETE /groups/survey')).status, 204)
  t.equal((await ask(gateway, 'alice', 'GET /groups/survey')).status, 404)
  const again = await ask(gateway, 'alice', 'POST /groups', { name: 'survey' })
  t.match([again.status, again.text], [409, /was deleted/], 'a name is not given again')
})

await t.test('owner, administrators, members and others: what each may', async (t) => {
  const gateway = await startGateway(t)
  await ask(gateway, 'alice', 'POST /groups', { name: 'g' })
  t.same(
    (await ask(gateway, 'bob', 'GET /groups/g')).json,
    { uri: 'ivo://karst.local/gms?g', name: 'g' },
    'others see that it is there, and nothing else',
  )
  for (const line of [
    'PUT /groups/g/members/bob',
    'PUT /groups/g/admins/bob',
    'DELETE /groups/g',
    'PUT /groups/g/groups/team',
  ])
    t.equal((await ask(gateway, 'bob', line)).status, 403, `a stranger: ${line}`)
  t.equal((await ask(gateway, 'bob', 'PATCH /groups/g', { owner: 'bob' })).status, 403)
  await ask(gateway, 'alice', 'PUT /groups/g/members/bob')
  t.equal((await ask(gateway, 'bob', 'PUT /groups/g/members/carol')).status, 403, 'a member lets nobody in')
  await ask(gateway, 'alice', 'PUT /groups/g/admins/bob')
  t.equal((await ask(gateway, 'bob', 'PUT /groups/g/members/carol')).status, 204, 'an administrator does')
  for (const line of ['PUT /groups/g/admins/carol', 'DELETE /groups/g', 'DELETE /groups/g/admins/alice'])
    t.equal((await ask(gateway, 'bob', line)).status, 403, `an administrator: ${line}`)
  t.equal((await ask(gateway, 'bob', 'PATCH /groups/g', { owner: 'bob' })).status, 403)
  t.equal((await ask(gateway, 'carol', 'DELETE /groups/g/members/carol')).status, 204, 'who wants to leaves')
  t.equal((await ask(gateway, 'bob', 'DELETE /groups/g/admins/bob')).status, 204, 'and gives up administering')
  t.equal((await ask(gateway, 'bob', 'PUT /groups/g/members/carol')).status, 403)
  t.match((await ask(gateway, 'alice', 'PATCH /groups/g', { owner: 'carol' })).json, { uri: /g$/ })
  t.equal((await ask(gateway, 'alice', 'DELETE /groups/g')).status, 403, 'who gave it away has it no more')
  t.equal((await ask(gateway, 'carol', 'DELETE /groups/g')).status, 204)
  t.equal((await ask(gateway, undefined, 'GET /groups')).status, 401)
  t.equal((await ask(gateway, undefined, 'GET /groups/team')).status, 401)
  t.equal((await ask(gateway, 'alice', 'GET /groups?all=true')).status, 403)
})

await t.test('a revocation closes the next request, through nested groups too', async (t) => {
  const gateway = await startGateway(t)
  for (const name of ['inner', 'outer']) await ask(gateway, 'alice', 'POST /groups', { name })
  await ask(gateway, 'alice', 'PUT /groups/outer/groups/inner')
  const share = property(GROUPREAD, 'ivo://karst.local/gms?outer')
  const body = node('/pub/d', 'ContainerNode', share)
  t.equal((await ask(gateway, 'alice', 'PUT /nodes/pub/d', body)).status, 201)
  const nested = node('/pub/d/n', 'ContainerNode', share)
  t.equal((await ask(gateway, 'alice', 'PUT /nodes/pub/d/n', nested)).status, 201)
  const open = async () => (await ask(gateway, 'carol', 'GET /nodes/pub/d/n')).status === 200
  t.notOk(await open())
  await ask(gateway, 'alice', 'PUT /groups/inner/members/carol')
  t.ok(await open())
  await ask(gateway, 'alice', 'DELETE /groups/inner/members/carol')
  t.notOk(await open())
  await ask(gateway, 'alice', 'PUT /groups/inner/members/carol')
  t.ok(await open())
  await ask(gateway, 'alice', 'DELETE /groups/outer/groups/inner')
  t.notOk(await open())
  const loop = await ask(gateway, 'alice', 'PUT /groups/inner/groups/outer')
  t.equal(loop.status, 204, 'no loop any more')
  t.match(await ask(gateway, 'alice', 'PUT /groups/outer/groups/inner'), { status: 400, text: /cannot contain/ })
  t.equal((await ask(gateway, 'alice', 'PUT /groups/outer/groups/outer')).status, 400)
})

await t.test('nodes are shared with groups that are there, by any name they have', async (t) => {
  const gateway = await startGateway(t)
  const { groups } = gateway.store
  const share = async (uris: string, as: Name = 'alice', path = '/pub/s') =>
    ask(gateway, as, `POST /nodes${path}`, node(path, 'ContainerNode', property(GROUPREAD, uris)))
  const shown = async (): Promise<string | undefined> =>
    /groupread"[^>]*>([^<]*)</.exec((await ask(gateway, 'alice', 'GET /nodes/pub/s')).text)?.[1]
  await ask(gateway, 'alice', 'PUT /nodes/pub/s', node('/pub/s'))
  t.equal((await share('ivo://cadc.nrc.ca/gms?team')).status, 200)
  t.equal(await shown(), GROUP, 'as vchmod of the Python client writes it')
  t.equal((await share('ivo://KARST.local/GMS?team,ivo://Remote.example/gms?theirs')).status, 200)
  t.equal(await shown(), `${GROUP} ivo://remote.example/gms?theirs`)
  for (const uri of [
    'ivo://karst.local/gms?none',
    'ivo://karst.local/gms?Team',
    'ivo://cadc.nrc.ca/gms?none',
    'ivo://evil.example/gms?team',
    'ivo://remote.example/other?team',
  ])
    t.match(await share(uri), { status: 400, text: /InvalidArgument/ }, uri)
  t.equal(await shown(), `${GROUP} ivo://remote.example/gms?theirs`, 'nothing of it was done')
  groups.create('ivo://karst.local/gms?short', { owner: 'alice' })
  await share('ivo://karst.local/gms?short')
  groups.delete('ivo://karst.local/gms?short')
  t.equal((await share(`ivo://karst.local/gms?short ${GROUP}`)).status, 200, 'what it has already is no matter')
  t.equal((await share(GROUP)).status, 200)
  t.equal((await share('ivo://karst.local/gms?short')).status, 400, 'a group that was deleted')
  t.match(await share('ivo://karst.local/gms?none', 'carol'), { status: 403 }, 'who may not learns nothing of it')
  const anonymous = { method: 'PUT', body: node('/pub/x', 'ContainerNode', property(GROUPREAD, GROUP)) }
  t.equal((await gateway.call('/nodes/pub/x', anonymous)).status, 403)
  const none = { method: 'PUT', body: node('/pub/x', 'ContainerNode', property(GROUPREAD, `${GROUP}x`)) }
  t.equal((await gateway.call('/nodes/pub/x', none)).status, 403)
})

await t.test('names of all allowed characters', async (t) => {
  const gateway = await startGateway(t)
  for (const name of ['a/b', 'A,b-c.d_e~f', '-', '~', '...', '0', 'members', 'a/../b', 'x'.repeat(256)]) {
    const step = encodeURIComponent(name)
    t.equal((await ask(gateway, 'alice', 'POST /groups', { name })).status, 201, name)
    t.equal((await ask(gateway, 'alice', `PUT /groups/${step}/members/bob`)).status, 204)
    t.match((await ask(gateway, 'bob', `GET /groups/${step}`)).json, { name, members: [{ name: 'bob' }] })
    const whole = encodeURIComponent(`ivo://Karst.Local/gms?${name}`)
    t.match((await ask(gateway, 'bob', `GET /groups/${whole}`)).json, { name }, 'the URI in any case')
    const found = await ask(gateway, 'bob', `GET /gms/search?group=${step}`)
    t.equal(found.text, `${name}\r\n`)
    const body = node('/pub/n', 'ContainerNode', property(GROUPREAD, `ivo://karst.local/gms?${name}`))
    await gateway.call('/nodes/pub/n', { method: 'DELETE', as: 'alice' })
    t.equal((await ask(gateway, 'alice', 'PUT /nodes/pub/n', body)).status, 201)
    t.match((await ask(gateway, 'alice', 'GET /nodes/pub/n')).text, `ivo://karst.local/gms?${name}<`)
  }
  t.match((await ask(gateway, 'bob', 'GET /groups')).json?.['groups'], { length: 10 })
})

await t.test('what is no name, no time, no user or no place is refused', async (t) => {
  const gateway = await startGateway(t)
  for (const name of [
    '',
    '.',
    '..',
    'a b',
    'é',
    'a?b',
    'a#b',
    'x,',
    'a\n',
    'x'.repeat(257),
    'ivo://else.where/gms?x',
    5,
    null,
  ])
    t.equal((await ask(gateway, 'alice', 'POST /groups', { name })).status, 400, JSON.stringify(name))
  const bad: [string, object | string | undefined, number][] = [
    ['POST /groups', {}, 400],
    ['POST /groups', { name: 'n', more: 1 }, 400],
    ['POST /groups', '[]', 400],
    ['POST /groups', '{', 400],
    ['POST /groups', { name: 'n', owner: 'bob' }, 403],
    ['POST /groups', { name: 'n', description: 'x'.repeat(1001) }, 400],
    ['POST /groups', { name: 'n', description: 'a\u0000b' }, 400],
    ['POST /groups', { name: 'n', expires: 'tomorrow' }, 400],
    ['POST /groups', { name: 'n', expires: '2030-13-45T00:00:00Z' }, 400],
    ['POST /groups', { name: 'n', expires: '2001-01-01T00:00:00Z' }, 400],
    ['PUT /groups/team/members/mallory', undefined, 400],
    ['PUT /groups/team/members/bob', { expires: 5 }, 400],
    ['PUT /groups/team/members/bob/x', undefined, 404],
    ['PUT /groups/team/members', undefined, 404],
    ['PUT /groups/team/constructor/bob', undefined, 404],
    ['PUT /groups/team/__proto__/bob', undefined, 404],
    ['DELETE /groups/team/members/carol', undefined, 404],
    ['DELETE /groups/team/groups/none', undefined, 404],
    ['PUT /groups/team/groups/none', undefined, 404],
    ['GET /groups/team/members/bob', undefined, 405],
    ['PUT /groups/team', undefined, 405],
    ['DELETE /groups', undefined, 405],
    ['GET /groups/none', undefined, 404],
    ['GET /groups/%E0%A4%A', undefined, 400],
    ['GET /groups/%FF', undefined, 400],
    ['GET /groups//x', undefined, 400],
    ['GET /groups/team%2F..', undefined, 404],
    ['GET /groupsx', undefined, 404],
  ]
  for (const [line, document, status] of bad)
    t.equal(
      (await ask(gateway, 'alice', line, document)).status,
      status,
      `${line} ${JSON.stringify(document)?.slice(0, 60)}`,
    )
  t.same(gateway.store.groups.members(GROUP), ['alice', 'bob'])
})

await t.test('GMS search tells the caller’s own groups, and nobody else’s', async (t) => {
  const gateway = await startGateway(t)
  const { groups } = gateway.store
  for (const name of ['b', 'a/x', 'outer']) groups.create(`ivo://karst.local/gms?${name}`, { owner: 'alice' })
  groups.create('ivo://cadc.nrc.ca/gms?theirs', { owner: 'alice' })
  groups.add('ivo://karst.local/gms?b', 'bob')
  groups.add('ivo://karst.local/gms?a/x', 'bob', Date.now() + 3_600_000)
  groups.add('ivo://cadc.nrc.ca/gms?theirs', 'bob')
  groups.nest('ivo://karst.local/gms?outer', GROUP)
  const found = await ask(gateway, 'bob', 'GET /gms/search')
  t.same([found.status, found.text], [200, 'a/x\r\nb\r\nouter\r\nteam\r\n'])
  t.equal(found.headers['content-type'], 'text/plain')
  t.ok(Date.parse(String(found.headers['expires'])) <= Date.now() + 61_000)
  t.equal((await ask(gateway, 'bob', 'GET /gms/search?group=b&group=none&group=team')).text, 'b\r\nteam\r\n')
  t.same([(await ask(gateway, 'bob', 'GET /gms/search?group=B')).text], [''], 'case counts')
  t.same((await ask(gateway, 'carol', 'GET /gms/search')).text, '')
  t.equal((await ask(gateway, undefined, 'GET /gms/search')).status, 401)
  t.equal((await ask(gateway, 'dave', 'GET /gms/search')).status, 403)
  t.equal((await ask(gateway, 'bob', 'POST /gms/search')).status, 405)
})

await t.test('the service of groups is found in the registry', async (t) => {
  const gateway = await startGateway(t)
  const { text } = await gateway.call('//reg/resource-caps')
  const lines = new Map(
    text
      .trim()
      .split('\n')
      .map((line) => line.split(' = ') as [string, string]),
  )
  t.equal(lines.get('ivo://karst.local/karst'), `${gateway.url}/capabilities`)
  const capabilities = lines.get('ivo://karst.local/gms') ?? ''
  for (const place of [capabilities, `${gateway.url}/capabilities`]) {
    const document = (await gateway.call(place)).text
    t.match(document, /standardID="ivo:\/\/ivoa.net\/std\/GMS#search-1.0"/)
    t.match(document, `>${gateway.url}/gms/search</accessURL>`)
  }
})
