/** Whatever a session is asked for that cannot be: one sentence on what is wrong and how to mend it, exit code 125, and nothing left of it. */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { isSupervised } from '../../mount/driver-place.ts'
import { createProxy } from '../../src/identity/mint.ts'
import { credentialText, readCredential } from '../../src/identity/pem.ts'
import { fuseSkip, needs } from '../parts.ts'
import { run, type Ended } from '../service/running.ts'
import { leftOver, Place, UID, until, type SessionWords } from './place.ts'

const skip = needs('root with CAP_SYS_ADMIN', 'setpriv', 'unshare', 'mknod', 'fusermount3') || (await fuseSkip())
const place = new Place()
// it may have to wait for its turn
t.setTimeout(10 * 60_000)
if (skip === false) {
  t.before(() => place.start())
  t.teardown(() => place.dispose())
}

const HOME = ['--partition', 'home']

/** What was said, in one sentence, by a session whose command never ran; nothing is left. */
function refused(t: Test, { code, stdout, stderr }: Ended, why: RegExp): void {
  t.equal(code, 125, stderr)
  t.equal(stdout, '')
  t.match(stderr, why)
  t.equal(stderr.trim().split('\n').length, 1, stderr)
  t.same(leftOver(), [])
}

const asked = (words: readonly string[], how: SessionWords = {}): Promise<Ended> =>
  place.session(words, 'echo ran', how)

function manifest(text: string): string[] {
  const file = join(place.karst.folder, 'manifest.yaml')
  writeFileSync(file, text)
  return ['--manifest', file]
}

/** A session in a mount namespace where `before` was done to the node. */
const where = (before: string, words: readonly string[] = HOME): Promise<Ended> =>
  run(
    'unshare',
    ['--mount', 'sh', '-euc', `${before}; exec "$@"`, 'sh', 'bin/karst', 'session', '--user', `${UID}`].concat(words, [
      '--',
      'echo',
      'ran',
    ]),
    { env: place.env() },
  )

/** A proxy of alice's that has ended. */
async function ended(): Promise<string> {
  const file = join(place.karst.folder, 'ended.pem')
  const credential = await readCredential(place.karst.report.users['alice']?.proxy ?? '')
  writeFileSync(file, credentialText(await createProxy(credential, { hours: 1 / 3600, newKey: 'ec' })), { mode: 0o600 })
  await sleep(1100)
  return file
}

t.test('a partition that is not there, is not theirs, or is no partition', { skip }, async (t) => {
  refused(
    t,
    await asked([...HOME, '--partition', 'scratch', '--id', 'bad', '--partition', 'dataset:none']),
    /NodeNotFound: the partition dataset:none: there is no partition dataset:none .*GET \/partitions lists/,
  )
  const isGone = async (): Promise<boolean> =>
    (await place.karst.ask('alice', '/nodes/scratch/alice~bad')).status === 404
  await until(isGone, () => 'the scratch that was made for it was not given back')
  await place.karst.curl(
    'alice',
    ...['/share', '-H', 'Content-Type: application/json'],
    ...['-d', JSON.stringify({ path: '/home/alice', remove: ['collaborators'] })],
  )
  refused(
    t,
    await asked(['--partition', 'vos://karst.local~karst/home/alice'], { user: 'bob' }),
    /PermissionDenied: the partition vos:\S+: bob may not list \/home\/alice: it is not shared with them: ask its owner to .*\n$/,
  )
  refused(
    t,
    await asked(['--partition', 'everything']),
    /InvalidArgument: a partition is home, scratch, .*"everything"/,
  )
  refused(t, await asked([...HOME, '--user', 'root']), /a session does not run as root: name another user \(--user\)/)
})

t.test('a credential that has ended, is none, or is not there', { skip }, async (t) => {
  const proxy = await ended()
  const mend = /make a proxy \(karst proxy init\), or name a certificate that is good/
  for (const [file, why] of [
    [proxy, /NotAuthenticated: \S+ended.pem ended at 20\d\d-/],
    ['/dev/null', /NotAuthenticated: \/dev\/null cannot be used \(no certificate in it\): /],
    ['/nowhere', /NotAuthenticated: \/nowhere cannot be used \(ENOENT\): /],
  ] as const) {
    // of which the gateway would have to be told the end, had it been asked
    for (const words of [HOME, [...HOME, '--partition', 'scratch']]) {
      const said = await asked(words, { env: { X509_USER_PROXY: file } })
      refused(t, said, why)
      t.match(said.stderr, mend)
    }
  }
  const file = join(place.karst.folder, 'token')
  writeFileSync(file, 'x.y.z')
  const tokens = ['--token-file', file]
  refused(
    t,
    await asked([...HOME, ...tokens]),
    /NotAuthenticated: the partition home: .*come with a certificate or token/,
  )
})

t.test('a gateway that is away, is not known, or is none', { skip }, async (t) => {
  for (const url of ['https://localhost:9/karst', 'https://nowhere.invalid/karst'])
    refused(
      t,
      await asked(HOME, { env: { KARST_URL: url } }),
      /ServiceBusy: the partition home: https:\S+: \S.*: is a gateway running there\? \(--url, KARST_URL\)/,
    )
  refused(t, await asked(HOME, { env: { KARST_CA: '/nowhere' } }), /the CA \/nowhere cannot be read \(ENOENT\)/)
  const other = join(place.karst.folder, 'other-ca.pem')
  const made = await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=other'],
    ...['-keyout', '/dev/null', '-out', other],
  ])
  t.equal(made.code, 0, made.stderr)
  refused(t, await asked(HOME, { env: { KARST_CA: other } }), /no CA known here has issued its certificate.*--ca PEM/)
})

t.test('a manifest with a path outside, an unknown key, or two partitions at one place', { skip }, async (t) => {
  const cases: [string, RegExp][] = [
    [
      'partitions: [{partition: home, at: /home/../etc}]',
      /home cannot be mounted at \/home\/..\/etc: a place is an abs/,
    ],
    [
      'partitions: [{partition: home, at: /etc/x}]',
      /home cannot be mounted at \/etc\/x: \/etc is the system's; choose/,
    ],
    [
      'partitions: [{partition: home, colour: red}]',
      /additional properties \("colour"\): schemas\/session.schema.json/,
    ],
    ['partitions: [{partition: home', /manifest.yaml: /],
    [
      'partitions: [{partition: home, at: /x}, {partition: scratch, at: /x}]',
      /home and scratch would be both at \/x: give one of them another place \(at\)/,
    ],
  ]
  for (const [text, why] of cases) refused(t, await asked(manifest(text)), why)
  refused(t, await asked(['--manifest', '/nowhere']), /the manifest \/nowhere cannot be read \(ENOENT\)/)
})

t.test('a place that is taken, is a file, or is missing where the user writes', { skip }, async (t) => {
  const busy = 'mount -t tmpfs none /home; mkdir /home/alice; mount -t tmpfs none /home/alice'
  refused(
    t,
    await where(busy),
    /home cannot be mounted at \/home\/alice: something is already; name another place \(at\)/,
  )
  refused(
    t,
    await where('mount -t tmpfs none /home; touch /home/alice'),
    /cannot mount at \/home\/alice: \/home\/alice is not a directory; name another place \(at\)/,
  )
  const open = join(place.karst.folder, 'open')
  mkdirSync(open)
  chmodSync(open, 0o777)
  refused(
    t,
    await asked(manifest(`partitions: [{partition: home, at: ${open}/x}]`)),
    /it is not there, and \S+open is where the user may write; make the directory before the session/,
  )
  t.notOk(existsSync(join(open, 'x')))
  const left = await asked(manifest(`partitions: [{partition: home, at: ${open}/x, optional: true}]`))
  t.match(left, { code: 0, stdout: 'ran\n', stderr: /left out: cannot mount at .*make the directory before/ })
  mkdirSync(join(open, 'full'))
  writeFileSync(join(open, 'full/mine'), '')
  const full = await place.session(manifest(`partitions: [{partition: home, at: ${open}/full}]`), `ls ${open}/full`)
  t.match(full, { code: 0, stderr: '' })
  t.notMatch(full.stdout, /mine/, 'what is in a directory is hidden while a partition is on it')
  t.ok(existsSync(join(open, 'full/mine')))
  t.notOk(existsSync('/home/alice'), 'nothing was made on this machine')
})

t.test('a node without /dev/fuse, or with another device there', { skip }, async (t) => {
  const bare = 'mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; mknod -m 666 /dev/urandom c 1 9'
  refused(
    t,
    await where(bare),
    /There is no \/dev\/fuse here: the fuse module is not loaded, or the container was not given/,
  )
  refused(
    t,
    await where('mount --bind /dev/null /dev/fuse'),
    /\/dev\/fuse is another device here: the container is to be given .*--device \/dev\/fuse/,
  )
})

t.test('who may not mount, nor make a user namespace', { skip }, async (t) => {
  const inside = 'echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all --inh-caps=-all "$@"'
  const bound = (...words: string[]): Promise<Ended> =>
    run(
      'unshare',
      ['--user', '--map-root-user', '--mount', 'sh', '-euc', inside, 'sh', 'bin/karst', 'session', ...HOME].concat(
        words,
        ['--', 'echo', 'ran'],
      ),
      { env: place.env() },
    )
  const mend = /: start it as root with CAP_SYS_ADMIN, or where sysctl user.max_user_namespaces is above 0\n$/
  const said = await bound()
  refused(
    t,
    said,
    /nothing can be mounted here: fusermount3 cannot gain the right .*, and no user namespace can be made/,
  )
  t.match(said.stderr, mend)
  refused(t, await bound('--way', 'userns'), mend)
  refused(t, await bound('--way', 'root'), /--way root needs root with CAP_SYS_ADMIN: leave --way out/)
})

t.test('a umask of 077 keeps the user from nothing', { skip }, async (t) => {
  const script = `umask; id -un; head -c 27 "$KARST_CA"; ls "$X509_CERT_DIR" | grep karst; head -c 27 "$X509_USER_PROXY"; cd /scratch
    stat -c %a /datasets; ls /datasets/sample; stat -c %a "$X509_USER_PROXY"`
  const words = ['session', '--user', `${UID}`, ...HOME, '--partition', 'scratch', '--partition', 'dataset:sample']
  const line = `umask 077; exec bin/karst "$@" -- sh -euc '${script}'`
  const said = await run('sh', ['-c', line, 'sh', ...words], { env: place.env() })
  const pem = '-----BEGIN CERTIFICATE-----'
  t.match(said, { code: 0, stderr: '' })
  t.match(said.stdout, new RegExp(`^0077\\n\\w+\\n${pem}karst-ca.pem\\n${pem}755\\nREADME.txt\\nstars.fits\\n600\\n$`))
  t.same(leftOver(), [])
})

t.test('a command that is not there, and no home to begin in', { skip }, async (t) => {
  const words = ['session', '--user', `${UID}`, '--partition', 'dataset:sample', '--']
  const none = await run('bin/karst', [...words, '/no/such/program'], { env: place.env() })
  t.match(none, { code: 127, stderr: /\/no\/such\/program: not found/ })
  const homeless = await run('bin/karst', [...words, 'pwd'], { env: place.env({ env: { HOME: '/root' } }) })
  t.match(homeless, { code: 0, stdout: '/\n', stderr: '' }, 'a HOME that the launcher has and the user has not')
  t.same(leftOver(), [])
})

t.test('no driver is left, and no token in what it kept', { skip }, async (t) => {
  await until(
    () => !isSupervised(place.driver),
    () => 'the driver goes on',
  )
  t.notMatch(readFileSync(join(place.driver, 'driver.log'), 'utf8'), /karst-partition\./)
})
