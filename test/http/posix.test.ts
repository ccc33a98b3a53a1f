/** Names and numbers over HTTP (the posix-mapper contract): who may ask, what is answered, and that asking gives nobody a number. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { GroupRules } from '../../src/identity/groups.ts'
import { PosixMapping } from '../../src/identity/posix-mapping.ts'
import { Callers } from '../../src/identity/caller.ts'
import { pemCertificates } from '../../src/identity/pem.ts'
import { TrustStore } from '../../src/identity/trust.ts'
import { openStore } from '../../src/store/store.ts'
import { needs } from '../parts.ts'
import { type Gateway, GROUP, GROUP_SERVICES, startGateway } from './gateway.ts'
import { authority, chainPem, credentials, dnOf } from './people.ts'

const TABLE = { headers: { accept: 'text/tab-separated-values' } }
const REMOTE = 'ivo://remote.example/gms'

const table = async (gateway: Gateway, target: string) => gateway.call(target, { as: 'bob', ...TABLE })

t.test('whole maps as tables, and as lines of passwd and group', async (t) => {
  const gateway = await startGateway(t)
  const users = await table(gateway, '/posix/uid')
  t.equal(users.headers['content-type'], 'text/tab-separated-values')
  t.equal(users.text, 'alice\t20000\t20000\nbob\t20001\t20001\ncarol\t20002\t20002\n')
  t.equal((await table(gateway, '/posix/gid')).text, `${GROUP}\t90000\n`)
  const plain = await gateway.call('/posix/uid', { as: 'bob' })
  t.equal(plain.headers['content-type'], 'text/plain')
  t.equal(plain.text, 'alice:x:20000:20000:::\nbob:x:20001:20001:::\ncarol:x:20002:20002:::\n')
  t.equal((await gateway.call('/posix/gid', { as: 'bob' })).text, 'team:x:90000:\n')
  const accepts = async (accept: string) =>
    (await gateway.call('/posix/uid', { as: 'bob', headers: { accept } })).headers['content-type']
  t.equal(await accepts('text/plain, TEXT/Tab-Separated-Values;q=0.5'), 'text/tab-separated-values')
  t.equal(await accepts('text/tab-separated-values;q=0'), 'text/plain')
  const head = await gateway.call('/posix/uid', { as: 'bob', method: 'HEAD' })
  t.same([head.status, head.text], [200, ''])
  t.equal((await gateway.call('/posix/uid', { as: 'bob', method: 'POST' })).status, 405)
})

t.test('some of them, repeated, in any case of the parameter, group URIs as clients send them', async (t) => {
  const gateway = await startGateway(t)
  const answers = {
    '/posix/uid?user=alice': 'alice\t20000\t20000\n',
    '/posix/uid?USER=alice&Uid=20001&uid=20000': 'alice\t20000\t20000\nbob\t20001\t20001\n',
    '/posix/uid?user=alice&user=nobody-here': 'alice\t20000\t20000\n',
    '/posix/uid?own=true': 'bob\t20001\t20001\n',
    [`/posix/gid?group=${GROUP}`]: `${GROUP}\t90000\n`,
    [`/posix/gid?group=${encodeURIComponent(GROUP)}&gid=90000`]: `${GROUP}\t90000\n`,
    '/posix/gid?group=ivo://cadc.nrc.ca/gms?team': 'ivo://cadc.nrc.ca/gms?team\t90000\n',
    '/posix/gid?gid=90000': `${GROUP}\t90000\n`,
    '/posix/gid?own=true': `${GROUP}\t90000\n`,
  }
  for (const [target, text] of Object.entries(answers)) t.equal((await table(gateway, target)).text, text, target)
  const carol = await gateway.call('/posix/gid?own=true', { as: 'carol', ...TABLE })
  t.same([carol.status, carol.text], [200, ''], 'who is in no group')
})

t.test('anonymous callers, strangers and nonsense are refused', async (t) => {
  const gateway = await startGateway(t)
  const status = async (target: string, as?: 'bob' | 'dave') => (await gateway.call(target, as && { as })).status
  for (const target of ['/posix/uid', '/posix/gid', '/posix/uid?user=alice', '/posix/gid?gid=90000']) {
    t.equal(await status(target), 401, `${target} anonymous`)
    t.equal(await status(target, 'dave'), 403, `${target} a stranger`)
  }
  for (const target of ['/posix/uid?user=mallory', '/posix/uid?user=', '/posix/uid?uid=4711', '/posix/gid?gid=20000'])
    t.equal(await status(target, 'bob'), 404, target)
  t.equal(
    await status('/posix/gid?group=ivo://default-group-should-be-ignored.opencadc.org/default-group?bob', 'bob'),
    404,
  )
  for (const target of ['/posix/uid?uid=-1', '/posix/uid?uid=0x10', '/posix/uid?uid=', '/posix/gid?gid=99999999999'])
    t.equal(await status(target, 'bob'), 400, target)
})

t.test('asking gives nobody a number, but the groups of other services that the caller is in', async (t) => {
  const store = openStore(':memory:', { isForeignGroup: (uri) => uri.startsWith(`${REMOTE}?`) })
  t.teardown(() => store.close())
  for (const name of ['bob', 'carol'] as const) {
    store.users.create({ name })
    store.users.addIdentity(name, { kind: 'x509', value: dnOf(name) })
  }
  const gateway = await startGateway(t, {
    services: {
      mapping: new PosixMapping(store.ids(), GROUP_SERVICES),
      groups: new GroupRules({ store: store.groups, services: GROUP_SERVICES }),
      callers: new Callers({
        trust: [TrustStore.of(pemCertificates(authority.certificate))],
        users: store.users,
        groups: store.groups,
        remoteGroups: {
          of: ({ name }) => new Set(name === 'bob' ? [`${REMOTE}?far`, 'ivo://evil.example/gms?x'] : []),
        },
      }),
    },
  })
  const ask = async (target: string, as: 'bob' | 'carol') => (await gateway.call(target, { as, ...TABLE })).text
  for (let i = 0; i < 20; i++) await ask(`/posix/gid?group=${REMOTE}?squat${i}&user=x${i}`, 'bob')
  await ask(`/posix/gid?group=${REMOTE}?far`, 'carol')
  await ask('/posix/uid?user=newcomer', 'carol')
  await ask('/posix/gid?group=ivo://evil.example/gms?x', 'bob')
  t.equal(await ask('/posix/gid', 'bob'), '', 'nothing was given')
  t.equal(await ask('/posix/uid', 'bob'), 'bob\t20000\t20000\ncarol\t20001\t20001\n')
  t.equal(await ask(`/posix/gid?group=${REMOTE}?far`, 'bob'), `${REMOTE}?far\t90000\n`)
  t.equal(await ask(`/posix/gid?group=${REMOTE}?far`, 'carol'), `${REMOTE}?far\t90000\n`, 'there it is for others too')
  t.equal(await ask('/posix/gid?own=true', 'bob'), `${REMOTE}?far\t90000\n`)
})

t.test('capabilities and registry name it', async (t) => {
  const gateway = await startGateway(t)
  for (const target of ['/capabilities', '/posix/capabilities']) {
    const { text } = await gateway.call(target)
    t.match(text, 'http://www.opencadc.org/std/posix#user-mapping-0.1', target)
    t.match(text, 'http://www.opencadc.org/std/posix#group-mapping-0.1', target)
    t.match(text, `${gateway.url}/posix/uid<`)
    t.match(text, `${gateway.url}/posix/gid<`)
  }
  const { text } = await gateway.call('//reg/resource-caps')
  t.match(text, `ivo://karst.local/posix-mapper = ${gateway.url}/posix/capabilities\n`)
})

t.test(
  'a map of 100,000 comes whole by curl, and a reader who leaves harms nobody',
  { skip: needs('curl') },
  async (t) => {
    const gateway = await startGateway(t)
    const many = Array.from({ length: 1000 }, (_, page) =>
      Array.from(
        { length: 100 },
        (_, i) => ({ kind: 'user', name: `u${page}-${i}`, number: 100_000 + page * 100 + i }) as const,
      ),
    )
    t.same(
      many.flatMap((page) => gateway.store.mapped.learn(page)),
      [],
    )
    const folder = mkdtempSync(join(tmpdir(), 'karst-posix-'))
    t.teardown(() => rmSync(folder, { recursive: true }))
    writeFileSync(join(folder, 'ca.pem'), authority.certificate)
    writeFileSync(join(folder, 'bob.pem'), chainPem(credentials.bob) + credentials.bob.key)
    const words = [
      '-sS',
      '--cacert',
      join(folder, 'ca.pem'),
      '--cert',
      join(folder, 'bob.pem'),
      '-H',
      `Accept: ${TABLE.headers.accept}`,
    ]
    const { stdout } = await promisify(execFile)('curl', [...words, `${gateway.url}/posix/uid`], { maxBuffer: 1 << 26 })
    const lines = stdout.split('\n')
    t.equal(lines.length, 100_003 + 1)
    t.equal(new Set(lines).size, lines.length)
    t.equal(lines[100_002], 'u999-99\t199999\t199999')
    const cut = promisify(execFile)('sh', [
      '-c',
      'curl "$@" | head -c 100000 | wc -c',
      'sh',
      ...words,
      `${gateway.url}/posix/uid`,
    ])
    t.match((await cut).stdout, '100000')
    t.equal((await table(gateway, '/posix/uid?user=u5-5')).text, 'u5-5\t100505\t100505\n')
  },
)
