/** What `karst doctor` says of a container: nothing is missing, or one thing at a time. */
import { closeSync, openSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { thisContainer } from '../../mount/session/container.ts'
import { examine, type Container, type Finding } from '../../mount/session/doctor.ts'
import { tryRecordLock } from '../../src/libc/record-lock.ts'
import { toldEnvironment } from '../../src/environment.ts'
import { Fault } from '../../src/vospace/fault.ts'

const URI = 'vos://karst.local~karst/home/alice'
const NOW = Date.parse('2030-01-01T12:00:00Z')
const GIB = 2n ** 30n
const ENVIRONMENT = {
  HOME: '/home/alice',
  SCRATCH: '/scratch',
  KARST_URL: 'https://karst.local/karst',
  X509_USER_PROXY: '/run/x509up',
  X509_CERT_DIR: '/certificates',
  KARST_HOME_PATH: '/home/alice',
  KARST_HOME_URI: URI,
  KARST_SAMPLE_PATH: '/datasets/sample',
}
const PROXY = {
  mode: 0o100600,
  identity: '/CN=alice',
  begins: new Date(NOW - 1),
  expires: new Date(NOW + 12 * 3_600_000 + 90_000),
}
const ROOM = { bsize: 4096n, blocks: (2n * GIB) / 4096n, bavail: GIB / 4096n, files: 0n, ffree: 0n }

const refusal = (code: string): Error => Object.assign(new Error(`${code}: refused`), { code })
const refuses = (code: string) => async () => Promise.reject(refusal(code))
/** As node's fs says EDQUOT, for which it has no name. */
const overQuota = async (): Promise<never> =>
  Promise.reject(Object.assign(refusal('Unknown system error -122'), { errno: -122, syscall: 'write' }))
const onHome =
  (error: Error) =>
  async (dir: string): Promise<void> =>
    dir === ENVIRONMENT.HOME ? Promise.reject(error) : undefined

/** One that has everything, but for what is said. */
function container(changes: Partial<Container> = {}, environment: Record<string, string> = {}): Container {
  return {
    uid: 1000,
    now: NOW,
    mountAt: async (dir) =>
      dir === '/datasets/sample'
        ? { type: 'ext4', source: '/dev/sda1', options: ['ro'] }
        : { type: 'fuse.karst', source: URI, options: ['rw'] },
    state: async () => 'answers',
    proxy: async () => PROXY,
    names: async () => ['karst-ca.pem'],
    look: async () => undefined,
    write: async () => 'hold',
    room: async () => ROOM,
    leftBehind: async () => 0,
    ...changes,
    environment: toldEnvironment({ ...ENVIRONMENT, ...environment }),
  }
}

const wrongOf = (findings: readonly Finding[]): Finding[] => findings.filter(({ ok }) => !ok)

t.test('a container that has everything is told so', async (t) => {
  const findings = await examine(container())
  t.same(wrongOf(findings), [])
  t.notOk(findings.some(({ fix }) => fix !== undefined))
  t.same(
    findings.map(({ name, says }) => [name, says]),
    [
      ['user', 'uid 1000'],
      ['KARST_URL', 'https://karst.local/karst'],
      ['X509_USER_PROXY', '/CN=alice, good for 12 h 1 min'],
      ['X509_CERT_DIR', '/certificates'],
      ['KARST_HOME_PATH', `/home/alice, ${URI}, write`],
      ['KARST_SAMPLE_PATH', '/datasets/sample, ext4, read'],
      ['HOME', '/home/alice can be written'],
      ['locks', 'fcntl locks hold in /home/alice'],
      ['space', '/home/alice has 1.0 GiB of 2.0 GiB left'],
    ],
  )
  t.equal(findings.find(({ name }) => name === 'X509_USER_PROXY')?.seconds, 12 * 3600 + 90)
})

type Case = [what: string, changes: Partial<Container>, environment: Record<string, string>, wrong: [string, RegExp][]]

const gone: Case[] = ['HOME', 'KARST_URL', 'X509_USER_PROXY', 'X509_CERT_DIR'].map((name) => [
  `${name} is not set`,
  {},
  { [name]: '' },
  [[name, /^is not set$/]],
])

const CASES: readonly Case[] = [
  ...gone,
  ['root', { uid: 0 }, {}, [['user', /root/]]],
  ['another kind of URL', {}, { KARST_URL: 'http://karst.local' }, [['KARST_URL', /no https URL/]]],
  ['no proxy', { proxy: refuses('ENOENT') }, {}, [['X509_USER_PROXY', /x509up is no credential: there is nothing/]]],
  [
    'a damaged proxy',
    { proxy: async () => Promise.reject(new Fault('InvalidData', 'no private key in it')) },
    {},
    [['X509_USER_PROXY', /no private key in it/]],
  ],
  [
    'a proxy that has ended',
    { proxy: async () => ({ ...PROXY, expires: new Date(NOW) }) },
    {},
    [['X509_USER_PROXY', /ended at 2030-01-01T12:00:00/]],
  ],
  [
    'a proxy that has not begun',
    { proxy: async () => ({ ...PROXY, begins: new Date(NOW + 1000) }) },
    {},
    [['X509_USER_PROXY', /good from 2030-01-01T12:00:01/]],
  ],
  [
    'a proxy that others may read',
    { proxy: async () => ({ ...PROXY, mode: 0o100640 }) },
    {},
    [['X509_USER_PROXY', /others may read/]],
  ],
  ['no CA', { names: async () => ['README'] }, {}, [['X509_CERT_DIR', /no certificate in it/]]],
  ['no folder of CAs', { names: refuses('ENOENT') }, {}, [['X509_CERT_DIR', /cannot be listed/]]],
  [
    'no partition that is named',
    {},
    { KARST_HOME_PATH: '', KARST_SAMPLE_PATH: '' },
    [['partitions', /no variable KARST_NAME_PATH/]],
  ],
  [
    'nothing mounted',
    { mountAt: async () => undefined },
    { KARST_SAMPLE_PATH: '' },
    [['KARST_HOME_PATH', /nothing is mounted at \/home\/alice/]],
  ],
  [
    'another partition mounted',
    {},
    { KARST_SAMPLE_PATH: '', KARST_HOME_URI: `${URI}2` },
    [['KARST_HOME_PATH', /alice is mounted at \/home\/alice, not .*alice2/]],
  ],
  [
    'a gateway that is away',
    { state: async (dir) => (dir === ENVIRONMENT.HOME ? 'silent' : 'answers') },
    {},
    [
      ['KARST_HOME_PATH', /does not answer/],
      ['HOME', /does not answer/],
    ],
  ],
  [
    'a driver that has ended',
    { state: async (dir) => (dir === ENVIRONMENT.HOME ? 'disconnected' : 'answers') },
    {},
    [
      ['KARST_HOME_PATH', /has ended/],
      ['HOME', /has ended/],
    ],
  ],
  [
    'a home that cannot be listed',
    { look: onHome(refusal('EACCES')) },
    {},
    [
      ['KARST_HOME_PATH', /permission denied/],
      ['HOME', /permission denied/],
    ],
  ],
  ['a home that is read-only', { write: refuses('EROFS') }, {}, [['HOME', /cannot be written: it is read-only/]]],
  ['a home over its quota', { write: overQuota }, {}, [['HOME', /its quota is used up/]]],
  ['locks that are refused', { write: async () => ({ code: 'ENOLCK' }) }, {}, [['locks', /refused \(ENOLCK\)/]]],
  ['locks that mean nothing', { write: async () => 'let others in' }, {}, [['locks', /keep nobody out/]]],
  ['no space', { room: async () => ({ ...ROOM, bavail: 4095n }) }, {}, [['space', /has 16.0 MiB left/]]],
  ['sessions left behind', { leftBehind: async () => 2 }, {}, [['sessions', /^2 of this user were killed/]]],
  ['no files', { room: async () => ({ ...ROOM, files: 9n }) }, {}, [['space', /takes no more files/]]],
]

for (const [what, changes, environment, expected] of CASES) {
  t.test(`${what}: said, with what to do`, async (t) => {
    const found = wrongOf(await examine(container(changes, environment)))
    t.same(
      found.map(({ name }) => name),
      expected.map(([name]) => name),
    )
    for (const [i, [, says]] of expected.entries()) {
      t.match(found[i]?.says, says)
      t.match(found[i]?.fix, /^[a-z].*[^.]$/, 'a sentence')
    }
  })
}

t.test('what the home of a whole node has bound from it is its partition', async (t) => {
  const findings = await examine(container({}, { KARST_HOME_URI: `${URI}/sub`, KARST_SAMPLE_PATH: '' }))
  t.same(wrongOf(findings), [])
})

t.test('where nothing answers nothing is touched', async (t) => {
  const touched = async (): Promise<never> => Promise.reject(new Error('touched'))
  const silent = container({ state: async () => 'silent', look: touched, write: touched, room: touched })
  t.same(
    wrongOf(await examine(silent)).map(({ name }) => name),
    ['KARST_HOME_PATH', 'KARST_SAMPLE_PATH', 'HOME'],
  )
})

t.test('of a quota that is used up it says what helps', async (t) => {
  const [found] = wrongOf(await examine(container({ write: overQuota })))
  t.match(found?.fix, /ask for a larger quota/)
})

t.test('a bug is no finding', async (t) => {
  await t.rejects(examine(container({ names: async () => Promise.reject(new TypeError('a bug')) })), /a bug/)
})

t.test('a place is tried by a file that goes away again', async (t) => {
  const dir = t.testdir({})
  const { write } = thisContainer({})
  t.equal(await write(dir), 'hold')
  t.same(readdirSync(dir), [])
  await t.rejects(write(join(dir, 'none')), { code: 'ENOENT' })
})

t.test('a lock of the process keeps another opening out, until it is given back', async (t) => {
  const file = join(t.testdir({}), 'locked')
  writeFileSync(file, '')
  const [first, second] = [openSync(file, 'r+'), openSync(file, 'r+')]
  t.equal(tryRecordLock(first, 'process'), true)
  t.equal(tryRecordLock(second, 'opening'), false)
  closeSync(first)
  t.equal(tryRecordLock(second, 'opening'), true)
  closeSync(second)
  t.throws(() => tryRecordLock(-1, 'process'), { code: 'EBADF' })
})
