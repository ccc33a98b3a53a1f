/** `karst groups` as users call it, against a quickstart: sharing, and the end of it. */
import t from 'tap'
import { nodeDocument, Quickstart, run, type Ended } from './running.ts'

const karst = new Quickstart(['--no-mount'])
t.before(() => karst.start())
t.teardown(() => karst.dispose())
t.setTimeout(180_000)

const PLACE = 'vos://karst.local~karst/home/alice/shared'
const GROUPREAD = 'ivo://ivoa.net/vospace/core#groupread'

async function groups(user: string, ...words: string[]): Promise<Ended> {
  const { url, ca, users } = karst.report
  const service = ['--url', url, '--ca', ca, '--certificate', users[user]?.proxy ?? '']
  return run('bin/karst', ['groups', ...words, ...service])
}

const sharedWith = async (group: string, service = 'ivo://cadc.nrc.ca/gms'): Promise<number> =>
  (
    await karst.ask('alice', '/nodes/home/alice/shared', {
      method: 'POST',
      body: nodeDocument(PLACE, 'ContainerNode', { [GROUPREAD]: `${service}?${group}` }),
    })
  ).status
const bobReads = async (): Promise<number> => (await karst.ask('bob', '/files/home/alice/shared/f')).status

t.test('alice makes a group, lets bob in, shares with it, and lets him out', async (t) => {
  const body = nodeDocument(PLACE, 'ContainerNode', { 'ivo://cadc.nrc.ca/vospace/core#inheritPermissions': 'true' })
  t.equal((await karst.ask('alice', '/nodes/home/alice/shared', { method: 'PUT', body })).status, 201)
  t.match(await groups('alice', 'create', 'survey', '--description', 'the survey', '--expires', '90d'), {
    code: 0,
    stdout: 'ivo://karst.local/gms?survey\n',
  })
  t.equal(await sharedWith('survey'), 200)
  t.equal((await karst.ask('alice', '/files/home/alice/shared/f', { method: 'PUT', body: 'x' })).status, 201)
  t.equal(await bobReads(), 403)
  t.match(await groups('alice', 'add', 'survey', 'bob', '--expires', '12h'), { code: 0, stdout: /^$/ })
  t.equal(await bobReads(), 200)
  t.match((await groups('bob', 'list')).stdout, /^survey +member +alice +until \S+Z {2}the survey$/m)
  const shown =
    /^ivo:\S+\?survey\n {2}the survey\n {2}ends {5}until \S+Z\n {2}owner {4}alice\n {2}member {3}bob {2}until \S+Z\n$/
  t.match((await groups('bob', 'show', 'survey')).stdout, shown)
  t.match(await groups('bob', 'add', 'survey', 'bob'), {
    code: 1,
    stderr: /^karst groups: PermissionDenied: [^\n]+\n$/,
  })
  t.match(await groups('alice', 'remove', 'survey', 'bob'), { code: 0 })
  t.equal(await bobReads(), 403, 'at his next request')
})

t.test('a group in a group lets its members in', async (t) => {
  for (const name of ['deep/er', 'all']) t.equal((await groups('bob', 'create', name)).code, 0)
  t.equal((await groups('bob', 'add', 'deep/er', 'bob')).code, 0)
  t.match(await groups('alice', 'nest', 'survey', 'all'), { code: 0 })
  t.match(await groups('bob', 'nest', 'all', 'deep/er'), { code: 0 })
  t.equal(await bobReads(), 200)
  t.match(await groups('bob', 'nest', 'deep/er', 'survey'), { code: 1, stderr: /PermissionDenied|cannot contain/ })
  t.match(await groups('alice', 'unnest', 'survey', 'all'), { code: 0 })
  t.equal(await bobReads(), 403)
})

t.test('who was let out of a group of the configuration stays out when the gateway starts again', async (t) => {
  t.match((await groups('alice', 'show', 'collaborators')).stdout, /member {3}bob/)
  t.equal((await groups('alice', 'remove', 'collaborators', 'bob')).code, 0)
  t.equal((await groups('alice', 'delete', 'survey')).code, 0)
  t.equal(await karst.stop(), 0)
  await karst.start()
  t.notMatch((await groups('alice', 'show', 'collaborators')).stdout, 'bob')
  t.match(await groups('alice', 'create', 'survey'), { code: 1, stderr: /DuplicateNode.*deleted/ })
  t.equal(await sharedWith('survey'), 400, 'nothing is shared with it anew')
  t.equal(await sharedWith('survey', 'ivo://karst.local/gms'), 200, 'it stands on the node still, and can be sent back')
})

t.test('karst groups says in a sentence what it cannot do', async (t) => {
  for (const words of [
    ['burn', 'x'],
    ['show'],
    ['list', 'x'],
    ['add', 'x'],
    ['change', 'collaborators'],
    ['create', 'x', '--expires', 'soon'],
    ['remove', 'x', 'bob', '--expires', '1d'],
  ])
    t.match(
      await groups('alice', ...words),
      { code: 2, stderr: /^karst groups: [^\n]+\nusage: karst groups/ },
      words.join(' '),
    )
  t.match(await groups('alice', 'show', 'none'), { code: 1, stderr: /^karst groups: NodeNotFound: [^\n]+\n$/ })
  t.match(await groups('alice', 'list', '--all'), { code: 1, stderr: /PermissionDenied/ })
  t.match(await run('bin/karst', ['groups', 'list', '--certificate', 'x'], { env: { KARST_URL: '' } }), { code: 2 })
})

t.test('where the gateway is and who asks may be in the environment, and the answer may be JSON', async (t) => {
  const { url, ca, users } = karst.report
  const env = { KARST_URL: url, KARST_CA: ca, X509_USER_PROXY: users['alice']?.proxy ?? '' }
  const list = await run('bin/karst', ['groups', 'list', '--json'], { env })
  t.match(list, { code: 0 }, list.stderr)
  t.match(JSON.parse(list.stdout), [{ name: 'collaborators', role: 'owner', owner: 'alice' }])
  const shown = await run('bin/karst', ['groups', 'show', 'collaborators', '--json'], { env })
  t.match(JSON.parse(shown.stdout), { uri: 'ivo://karst.local/gms?collaborators', members: Array })
  t.match(await run('bin/karst', ['groups', 'list'], { env: { ...env, KARST_CA: '' } }), {
    code: 1,
    stderr: /name its CA by --ca PEM or KARST_CA/,
  })
})
