/** `karst proxy` as people, cron and scripts use it; and a quickstart that takes what it makes. */
import { spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createProxy, issueUserCertificate, mintDevelopmentCa } from '../../src/identity/mint.ts'
import { type Credential, credentialText, pemCertificates, readCredential } from '../../src/identity/pem.ts'
import { TrustStore } from '../../src/identity/trust.ts'
import { type VerifiedChain, verifyChain } from '../../src/identity/verify.ts'
import { needs } from '../parts.ts'
import { CliProcess, type CommandEnded } from './cli-process.ts'
import { Quickstart, run } from './running.ts'

const folder = mkdtempSync(join(tmpdir(), 'karst-proxy-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const place = (name: string): string => join(folder, name)
const file = (name: string, text: string, mode = 0o600): string => {
  writeFileSync(place(name), text)
  chmodSync(place(name), mode)
  return place(name)
}

const NAME = (name: string) =>
  [
    ['C', 'CA'],
    ['O', 'Lab'],
    ['CN', name],
  ] as const
const ca = await mintDevelopmentCa('lab')
const alice = await issueUserCertificate(ca, NAME('Alice'), 2, 'ec')
const bob = await issueUserCertificate(ca, NAME('Bob'), 2, 'ec')
const trust = TrustStore.of(pemCertificates(ca.certificate))
const certificate = file('alice.pem', credentialText(alice))
const out = place('proxy')

const cli = new CliProcess()
t.teardown(() => cli.end())

/** With nothing of this machine's own credentials. */
const karst = (words: string[], env: Record<string, string> = {}): Promise<CommandEnded> =>
  cli.run(['proxy', ...words], { HOME: folder, X509_USER_PROXY: out, X509_USER_CERT: '', X509_USER_KEY: '', ...env })

async function judged(where = out): Promise<VerifiedChain> {
  const { certificate, chain } = await readCredential(where)
  return verifyChain(pemCertificates([certificate, ...chain].join('')), trust)
}
const hoursLeft = async (where = out): Promise<number> =>
  ((await judged(where)).expires.getTime() - Date.now()) / 3_600_000

t.test('init makes what was asked for, in the form that the verifier and programs take', async (t) => {
  const cases: [string[], object][] = [
    [[], { depth: 1, limited: false }],
    [['--key', 'ec:P-256'], { depth: 1, limited: false }],
    [['--limited', '--key', 'ec:P-256', '--hours', '0.5'], { depth: 1, limited: true }],
    [['--path-length', '0', '--key', 'ec:P-256'], { depth: 1 }],
  ]
  for (const [words, expected] of cases) {
    const ended = await karst(['init', '--certificate', certificate, ...words])
    t.match(ended, { code: 0, stdout: /proxy of \/C=CA\/O=Lab\/CN=Alice\nin .*proxy, good until / }, words.join(' '))
    t.match(await judged(), { dn: 'cn=alice,o=lab,c=ca', ...expected })
    t.equal(statSync(out).mode & 0o777, 0o600)
  }
  t.match(await karst(['init', '--certificate', out]), { code: 1, stderr: /allows no proxy below it/ })
  const text = readFileSync(out, 'utf8')
  t.same(
    [...text.matchAll(/BEGIN (.*)-----/g)].map((match) => match[1]),
    ['CERTIFICATE', 'EC PRIVATE KEY', 'CERTIFICATE'],
  )
  t.same(
    readdirSync(folder).filter((name) => name.includes('.tmp')),
    [],
  )
})

t.test('a proxy of a proxy of a proxy, and never longer than the certificate, which it says', async (t) => {
  const words = ['init', '--key', 'ec:P-256', '--hours', '1000']
  t.match(await karst([...words, '--certificate', certificate, '--out', place('one')]), {
    code: 0,
    stderr: /not 1000 hours: .* ends at /,
  })
  await karst(['init', '--key', 'ec:P-256', '--certificate', place('one'), '--limited', '--out', place('two')])
  await karst(['init', '--key', 'ec:P-256', '--certificate', place('two'), '--out', place('three')])
  t.match(await judged(place('three')), { depth: 3, limited: true })
  t.ok((await hoursLeft(place('one'))) <= 48)
})

t.test('it finds credentials where grid tools keep them', async (t) => {
  mkdirSync(place('.globus'))
  t.match(await karst(['init']), { code: 1, stderr: /NodeNotFound: no credential in .*\.globus: .*--certificate/ })
  file('.globus/usercert.pem', alice.certificate, 0o644)
  file('.globus/userkey.pem', alice.key, 0o644)
  t.match(await karst(['init', '--key', 'ec:P-256']), { code: 1, stderr: /chmod 600 .*userkey\.pem/ })
  chmodSync(place('.globus/userkey.pem'), 0o400)
  t.match(await karst(['init', '--key', 'ec:P-256']), { code: 0, stdout: /CN=Alice/ })
  const bobs = { X509_USER_CERT: file('bob.pem', bob.certificate), X509_USER_KEY: file('bob-key.pem', bob.key) }
  t.match(await karst(['init', '--key', 'ec:P-256'], bobs), { code: 0, stdout: /CN=Bob/ })
  const both = { X509_USER_CERT: file('both.pem', credentialText(bob)) }
  t.match(await karst(['init', '--key', 'ec:P-256'], both), { code: 0, stdout: /CN=Bob/ })
  const uid = process.geteuid?.() ?? 0
  t.match((await karst(['info'], { X509_USER_PROXY: '' })).stderr + `/tmp/x509up_u${uid}`, `/tmp/x509up_u${uid}`)
})

t.test(
  'it asks the terminal for a passphrase and shows nothing of it',
  { skip: needs('openssl', 'script') },
  async (t) => {
    const locked = file('locked.pem', alice.certificate)
    spawnSync('openssl', [
      'pkcs8',
      '-topk8',
      '-in',
      file('k', alice.key),
      '-passout',
      'pass:sesämé',
      '-out',
      file('locked-key.pem', ''),
    ])
    const words = [
      'proxy',
      'init',
      '--key',
      'ec:P-256',
      '--certificate',
      locked,
      '--certificate-key',
      place('locked-key.pem'),
      '--out',
      out,
    ]
    const typed = async (keys: string): Promise<{ said: string; code: number | null }> => {
      const child = spawn('script', ['-qec', ['bin/karst', ...words].join(' '), '/dev/null'], { stdio: 'pipe' })
      let said = ''
      child.stdout.on('data', (part) => {
        const before = said
        said += String(part)
        if (!before.includes('Passphrase of') && said.includes('Passphrase of')) child.stdin.write(keys)
      })
      const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
      return { said, code }
    }
    for (const [it, keys] of [
      ['as it is', 'sesämé\r'],
      ['mended', 'wrong\u0015sesäx\u007fmé\r'],
    ] as const) {
      rmSync(out, { force: true })
      const { said, code } = await typed(keys)
      t.equal(code, 0, said)
      t.match(said, /Passphrase of .*locked-key\.pem: /)
      t.notMatch(said, /ses|wrong/, it)
      t.match(await judged(), { dn: 'cn=alice,o=lab,c=ca' })
    }
    t.match(await typed('wrong\r'), { code: 1, said: /passphrase is wrong/ })
    t.match(await typed('ses\u0003'), { code: 1, said: /interrupted/ })
  },
)

t.test(
  'without a terminal it takes a file, which nobody else may read',
  { skip: needs('openssl', 'setsid') },
  async (t) => {
    const bundle = file('user.p12', '')
    spawnSync('openssl', ['pkcs12', '-export', '-in', certificate, '-passout', 'pass:sesämé', '-out', bundle])
    const words = ['init', '--key', 'ec:P-256', '--certificate', bundle]
    const silent = await run('setsid', ['-w', 'bin/karst', 'proxy', ...words, '--out', out], { env: { HOME: folder } })
    t.match(silent, { code: 1, stderr: /no terminal to ask at: give --passphrase-file/ })
    const secret = file('secret', 'sesämé\nand more\n')
    t.match(await karst([...words, '--passphrase-file', secret]), { code: 0 })
    t.match(await karst([...words, '--passphrase-file', file('bad', 'wrong\n')]), {
      code: 1,
      stderr: /passphrase is wrong/,
    })
    t.match(await karst([...words, '--passphrase-file', file('none', '\n')]), { code: 1, stderr: /no passphrase/ })
    chmodSync(secret, 0o644)
    t.match(await karst([...words, '--passphrase-file', secret]), { code: 1, stderr: /chmod 600/ })
    t.match(await karst([...words, '--passphrase', 'sesämé']), { code: 2 }, 'never on the command line')
  },
)

t.test('info tells people and scripts', async (t) => {
  await karst(['init', '--certificate', certificate, '--path-length', '3'])
  const { stdout, code } = await karst(['info'])
  t.equal(code, 0)
  for (const line of [
    /^subject +: \/C=CA\/O=Lab\/CN=Alice\/CN=\d+$/m,
    /^issuer +: \/C=CA\/O=Lab\/CN=Alice$/m,
    /^identity +: \/C=CA\/O=Lab\/CN=Alice$/m,
    /^type +: RFC 3820 compliant impersonation proxy$/m,
    /^strength +: 2048 bits \(RSA\)$/m,
    /^path length +: 3$/m,
    /^timeleft +: 11:59:\d\d$/m,
  ])
    t.match(stdout, line)
  const answers: [string[], number][] = [
    [['--exists'], 0],
    [['--exists', '--valid', '11:59'], 0],
    [['--exists', '--valid', '12:01'], 1],
    [['--exists', '--valid', '11'], 0],
    [['--exists', '--bits', '2048'], 0],
    [['--exists', '--bits', '4096'], 1],
    [['--valid', '12:01'], 1],
    [['--exists', '--file', place('missing')], 1],
    [['--exists', '--file', file('junk', 'junk')], 1],
    [['--file', place('missing')], 1],
    [['--valid', 'long'], 2],
    [['--valid', '1:60'], 2],
  ]
  for (const [words, expected] of answers) {
    const ended = await karst(['info', ...words])
    t.equal(ended.code, expected, `${words.join(' ')}\n${ended.stderr}`)
    if (words.includes('--exists')) t.equal(ended.stdout, '')
  }
  const ended = await createProxy(alice, { hours: 1 / 3600, newKey: 'ec' })
  file('ended', credentialText(ended))
  await new Promise((done) => setTimeout(done, 1100))
  t.match(await karst(['info', '--file', place('ended')]), { code: 0, stdout: /timeleft +: 0:00:00/ })
  t.equal((await karst(['info', '--exists', '--file', place('ended')])).code, 1)
  chmodSync(out, 0o644)
  t.match((await karst(['info'])).stderr, /others may read/)
  chmodSync(out, 0o600)
})

t.test('renew makes a new one in time, of the same kind, and keeps the old one when it cannot', async (t) => {
  rmSync(out, { force: true })
  const renew = (...words: string[]): Promise<CommandEnded> => karst(['renew', '--certificate', certificate, ...words])
  t.match(
    await renew('--key', 'ec:P-256', '--limited', '--path-length', '2', '--hours', '3'),
    { code: 0, stdout: /in / },
    'none yet',
  )
  const first = readFileSync(out, 'utf8')
  t.match(await renew('--within', '2'), { code: 0, stdout: '' })
  t.equal(readFileSync(out, 'utf8'), first, 'good for longer: nothing is done')
  t.match(await renew('--hours', '5'), { code: 0, stdout: /limited proxy/ })
  t.match(await judged(), { limited: true, depth: 1 })
  const info = await karst(['info'])
  t.match(info.stdout, /\(EC\)/)
  t.match(info.stdout, /path length +: 2/)
  const hours = await hoursLeft()
  t.ok(hours > 4.9 && hours <= 5)
  const before = readFileSync(out, 'utf8')
  const foreign: Credential = bob
  const failing: [string, string[], RegExp][] = [
    ['the source is gone', ['--certificate', place('gone')], /ENOENT/],
    [
      'of somebody else',
      ['--certificate', file('other.pem', credentialText(foreign))],
      /CN=Alice, the new one would be of .*CN=Bob/,
    ],
    ['from itself', ['--certificate', out], /from itself/],
    ['no later', ['--hours', '1'], /no later than the old one/],
    ['damaged', ['--certificate', file('half.pem', credentialText(alice).slice(0, 700))], /InvalidData/],
  ]
  for (const [it, words, why] of failing) {
    const ended = await karst(['renew', '--within', '100', '--certificate', certificate, ...words])
    t.match(ended, { code: 1, stderr: why }, it)
    t.equal(readFileSync(out, 'utf8'), before, it)
  }
  t.same(
    readdirSync(folder).filter((name) => name.includes('.tmp')),
    [],
  )
  const whole = file('whole.pem', credentialText(alice))
  t.match(await karst(['renew', '--within', '100', '--certificate', certificate, '--out', whole]), {
    code: 1,
    stderr: /no proxy/,
  })
  t.equal(readFileSync(whole, 'utf8'), credentialText(alice), 'an end entity is never written over')
})

t.test('a full disk leaves the old proxy, whole', { skip: needs('root with CAP_SYS_ADMIN') }, async (t) => {
  const small = place('small')
  mkdirSync(small)
  spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', small])
  t.teardown(() => void spawnSync('umount', [small]))
  const where = join(small, 'proxy')
  await karst(['init', '--certificate', certificate, '--hours', '1', '--out', where])
  const before = readFileSync(where, 'utf8')
  spawnSync('sh', ['-c', `cat /dev/zero > ${small}/fill`])
  const ended = await karst(['renew', '--within', '24', '--certificate', certificate, '--out', where])
  t.match(ended, { code: 1, stderr: /ENOSPC/ })
  t.equal(readFileSync(where, 'utf8'), before)
  t.same(readdirSync(small).sort(), ['fill', 'proxy'])
})

t.test('destroy overwrites and removes a proxy, and nothing else', async (t) => {
  await karst(['init', '--certificate', certificate, '--key', 'ec:P-256'])
  const size = statSync(out).size
  spawnSync('ln', [out, place('second-name')])
  t.match(await karst(['destroy']), { code: 0 })
  t.notOk(readdirSync(folder).includes('proxy'))
  t.ok(readFileSync(place('second-name')).equals(Buffer.alloc(size)))
  t.match(await karst(['destroy']), { code: 1, stderr: /there is no proxy .*karst proxy init/ })
  t.match(await karst(['destroy', '--file', certificate]), { code: 1, stderr: /no proxy/ })
  t.match(await karst(['destroy', '--file', file('letter', 'dear')]), { code: 1, stderr: /InvalidData/ })
  symlinkSync(certificate, place('trap'))
  t.match(await karst(['destroy', '--file', place('trap')]), { code: 1, stderr: /symbolic link/ })
  t.equal(readFileSync(certificate, 'utf8'), credentialText(alice))
})

t.test('wrong words are told with the usage', async (t) => {
  for (const words of [
    [],
    ['make'],
    ['init', '--key', 'dsa'],
    ['init', '--hours', '0'],
    ['init', '--hours', 'x'],
    ['init', '--path-length', '-1'],
    ['init', 'extra'],
    ['renew', '--within', '0'],
    ['init', '--certificate-key', 'x'],
  ]) {
    t.match(await karst(words), { code: 2, stderr: /usage: karst proxy/ }, words.join(' '))
  }
})

t.test('a quickstart takes what proxy init makes', async (t) => {
  const quick = new Quickstart(['--no-mount'])
  t.teardown(() => quick.dispose())
  const { url, ca: anchor, users } = await quick.start()
  const kinds = [[], ['--key', 'ec:P-256'], ['--limited'], ['--path-length', '1']]
  for (const words of kinds) {
    const made = await karst(['init', '--certificate', users['alice']?.certificate ?? '', ...words])
    t.equal(made.code, 0, made.stderr)
    const asked = await run('curl', ['-sS', '--cacert', anchor, '--cert', out, `${url}/fs/v1`])
    t.match(JSON.parse(asked.stdout), { user: 'alice' }, words.join(' '))
    const delegated = await karst(['delegate', '--url', url, '--ca', anchor])
    if (words.includes('--limited')) {
      t.match(delegated, { code: 1, stderr: /limited proxy may not delegate/ })
      continue
    }
    t.equal(delegated.code, 0, delegated.stderr)
    const kept = await run('curl', ['-sS', '--cacert', anchor, '--cert', out, `${delegated.stdout.trim()}/certificate`])
    t.match(kept.stdout, /^-----BEGIN CERTIFICATE/)
    t.notMatch(kept.stdout, /PRIVATE/)
  }
})
