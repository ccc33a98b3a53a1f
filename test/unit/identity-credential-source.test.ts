// Credentials as people keep them: PEM in one file and in two, encrypted in every way, PKCS#12 of several programs; and who may read them.
import { spawnSync } from 'node:child_process'
import { createPrivateKey } from 'node:crypto'
import {
  chmodSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import fsPromises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'
import t from 'tap'
import { type AskPassphrase, type CredentialFiles, readCredentialFiles } from '../../src/identity/credential-source.ts'
import { createProxy, issueUserCertificate, mintDevelopmentCa } from '../../src/identity/mint.ts'
import { readPrivate, wipe, writePrivate } from '../../src/identity/private-file.ts'
import { isFault } from '../../src/vospace/fault.ts'
import { seeded } from '../fixtures/forge.ts'
import { needs } from '../parts.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'karst-credential-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const place = (name: string): string => path.join(folder, name)
const file = (name: string, text: string | Buffer, mode = 0o600): string => {
  writeFileSync(place(name), text)
  chmodSync(place(name), mode)
  return place(name)
}

const PASSPHRASE = 'pä ss Ω'
const NAME = [
  ['C', 'CA'],
  ['O', 'karst'],
  ['CN', 'Alicé'],
] as const
const ca = await mintDevelopmentCa('lab')
const users = {
  rsa: await issueUserCertificate(ca, NAME, 30, 'rsa'),
  ec: await issueUserCertificate(ca, NAME, 30, 'ec'),
}
const caFile = file('ca.pem', ca.certificate)
const never: AskPassphrase = async (what) => {
  throw new Error(`asked for the passphrase of ${what}`)
}
const told: AskPassphrase = async () => PASSPHRASE
const read = (files: CredentialFiles, ask = told) => readCredentialFiles(files, ask)
const faultOf = (refused: Promise<unknown>): Promise<string> =>
  refused.then(
    () => 'none',
    (error: unknown) => (isFault(error) ? `${error.fault}: ${error.detail}` : `no fault: ${String(error)}`),
  )
const openssl = (...args: string[]): void => {
  const ended = spawnSync('openssl', args, { encoding: 'utf8' })
  if (ended.status !== 0) throw new Error(`openssl ${args.join(' ')}: ${ended.stderr}`)
}

const hasLegacy = (): boolean => spawnSync('openssl', ['list', '-providers', '-provider', 'legacy']).status === 0

for (const [kind, user] of Object.entries(users)) {
  const certificate = file(`${kind}.pem`, user.certificate, 0o644)
  const key = file(`${kind}-key.pem`, user.key)
  const secret = `pass:${PASSPHRASE}`

  t.test(`it reads an ${kind} credential in one file or two, the key before or behind`, async (t) => {
    for (const files of [
      { certificate, key },
      { certificate: file('one.pem', user.certificate + user.key) },
      { certificate: file('other.pem', `${user.key}\nnoise\n${user.certificate}`), key: place('other.pem') },
    ]) {
      t.same(await read(files, never), { ...user, chain: [] })
    }
  })

  t.test(`it finds the certificate of an ${kind} key among others, and the chain without the root`, async (t) => {
    const proxy = await createProxy(user, { hours: 1, newKey: 'ec' })
    const second = await createProxy(proxy, { hours: 1, newKey: 'ec' })
    const mixed = [ca.certificate, user.certificate, second.certificate, second.key, proxy.certificate].join('')
    t.same(await read({ certificate: file('mixed.pem', mixed) }, never), second)
  })

  t.test(`it decrypts an ${kind} key in PKCS#8 and in the form of old`, { skip: needs('openssl') }, async (t) => {
    openssl('pkcs8', '-topk8', '-in', key, '-passout', secret, '-out', place('p8'))
    openssl('pkey', '-in', key, '-traditional', '-aes256', '-passout', secret, '-out', place('old'))
    openssl('pkey', '-in', key, '-traditional', '-des3', '-passout', secret, '-out', place('des3'))
    for (const form of ['p8', 'old', 'des3']) {
      chmodSync(place(form), 0o600)
      t.equal((await read({ certificate, key: place(form) })).key, user.key, form)
      const wrong = await faultOf(readCredentialFiles({ certificate, key: place(form) }, async () => 'wrong'))
      t.match(wrong, /^InvalidData: .*passphrase is wrong/, form)
      t.notMatch(wrong, /wrong'|pä ss/, 'no passphrase in the message')
    }
  })

  t.test(`it reads an ${kind} credential from PKCS#12, new and old`, { skip: needs('openssl') }, async (t) => {
    const forms: Record<string, string[]> = {
      new: [],
      // RC2: newer Debian has it in a package of its own
      ...(hasLegacy() && { legacy: ['-legacy'] }),
      'no MAC': ['-nomac'],
      'certificates in clear': ['-certpbe', 'NONE'],
      'nothing encrypted': ['-certpbe', 'NONE', '-keypbe', 'NONE'],
      'AES-128': ['-certpbe', 'AES-128-CBC', '-keypbe', 'AES-192-CBC', '-iter', '5000'],
    }
    for (const [form, args] of Object.entries(forms)) {
      const bundle = file('user.p12', '')
      openssl(
        'pkcs12',
        '-export',
        '-in',
        certificate,
        '-inkey',
        key,
        '-certfile',
        caFile,
        ...args,
        '-passout',
        secret,
        '-out',
        bundle,
      )
      t.same(await read({ certificate: bundle }), { ...user, chain: [] }, form)
      if (form === 'nothing encrypted') continue
      const wrong = await faultOf(readCredentialFiles({ certificate: bundle }, async () => 'wrong'))
      t.match(wrong, /^InvalidData: .*(passphrase is wrong)/, form)
    }
  })
}

t.test('it refuses damaged PKCS#12 as such, whatever is damaged', { skip: needs('openssl') }, async (t) => {
  const bundle = file('whole.p12', '')
  const [certificate, key] = [file('c.pem', users.ec.certificate), file('k.pem', users.ec.key)]
  openssl(
    'pkcs12',
    '-export',
    '-in',
    certificate,
    '-inkey',
    key,
    '-iter',
    '1',
    '-passout',
    `pass:${PASSPHRASE}`,
    '-out',
    bundle,
  )
  const whole = readFileSync(bundle)
  const random = seeded(7)
  for (let i = 0; i < 300; i++) {
    const bytes = Buffer.from(whole)
    if (i % 3 === 0) bytes.fill(random(256), random(bytes.length))
    else bytes[1 + random(bytes.length - 1)] = random(256)
    const damaged = file('damaged.p12', i % 5 === 0 ? bytes.subarray(0, 1 + random(bytes.length)) : bytes)
    const said = await faultOf(read({ certificate: damaged }))
    // a change that does no harm (the checksum, a label) is none; what comes out is a key that fits its certificate
    if (!/^(none|InvalidData|NotAuthenticated)/.test(said)) t.fail(`${i}: ${said}`)
  }
  t.pass('300 of them')
})

t.test('it says what is wrong with a file', async (t) => {
  const { certificate, key } = users.ec
  const wrong: [string, CredentialFiles, RegExp][] = [
    ['no key', { certificate: file('a.pem', certificate) }, /a\.pem: no private key/],
    ['no certificate', { certificate: file('b.pem', key) }, /b\.pem: no certificate/],
    ['two keys', { certificate: file('d.pem', certificate + key + users.rsa.key) }, /more than one/],
    ['another key', { certificate: file('e.pem', certificate + users.rsa.key) }, /belongs to none/],
    ['empty', { certificate: file('f.pem', '') }, /no private key/],
    ['too large', { certificate: file('g.pem', Buffer.alloc(2 << 20, 'x')) }, /larger than any credential/],
    ['a broken key', { certificate: file('h.pem', `${certificate}${key.slice(0, 60)}!!!${key.slice(64)}`) }, /damaged/],
  ]
  for (const [it, files, why] of wrong) t.match(await faultOf(read(files, never)), why, it)
  await t.rejects(read({ certificate: place('missing') }), { code: 'ENOENT' })
})

t.test('it refuses a key that others may read, and says chmod 600', async (t) => {
  const { certificate, key } = users.ec
  const kept = file('kept.pem', certificate, 0o644)
  for (const mode of [0o640, 0o604, 0o660, 0o610, 0o622]) {
    const open = file('open.pem', certificate + key, mode)
    for (const files of [{ certificate: open }, { certificate: kept, key: open }]) {
      t.match(await faultOf(read(files)), /^PermissionDenied: .*chmod 600 .*open\.pem/, mode.toString(8))
    }
    t.match(await faultOf(readPrivate(open)), /^PermissionDenied/)
  }
  const bundle = file('open.p12', Buffer.from([0x30, 0]), 0o644)
  t.match(await faultOf(read({ certificate: bundle }, never)), /^PermissionDenied/, 'before a passphrase is asked for')
})

t.test('what it writes is seen by nobody else, whole, and follows no link', async (t) => {
  const where = place('proxy')
  const before = process.umask(0)
  t.teardown(() => process.umask(before))
  for (const umask of [0, 0o277]) {
    process.umask(umask)
    await writePrivate(where, 'secret')
    t.equal(statSync(where).mode & 0o777, 0o600)
  }
  process.umask(before)
  const target = file('target', 'precious', 0o644)
  symlinkSync(target, place('link'))
  symlinkSync(place('nowhere'), place('dangling'))
  for (const link of ['link', 'dangling']) {
    t.match(await faultOf(writePrivate(place(link), 'secret')), /^InvalidArgument: .*symbolic link/)
    t.ok(lstatSync(place(link)).isSymbolicLink())
  }
  t.equal(readFileSync(target, 'utf8'), 'precious')
  t.match(await faultOf(writePrivate(folder, 'secret')), /no ordinary file/)
  t.match(await faultOf(writePrivate('/dev/null', 'secret')), /no ordinary file|symbolic link/)
  await t.rejects(writePrivate(place('missing/proxy'), 'secret'), { code: 'ENOENT' })
  t.same(
    readdirSync(folder).filter((name) => name.endsWith('.tmp')),
    [],
    'no debris',
  )
})

t.test('what it writes is never open to others, not even before it is whole', async (t) => {
  const { open } = fsPromises
  const modes: number[] = []
  const watched: typeof open = async (where, ...more) => {
    const handle = await open(where, ...more)
    modes.push((await handle.stat()).mode & 0o777)
    return handle
  }
  const before = process.umask(0)
  Object.assign(fsPromises, { open: watched })
  syncBuiltinESMExports()
  try {
    await writePrivate(place('instant'), 'secret')
  } finally {
    Object.assign(fsPromises, { open })
    syncBuiltinESMExports()
    process.umask(before)
  }
  t.same(modes, [0o600])
})

t.test('it leaves a file of somebody else as it is', { skip: needs('root') }, async (t) => {
  const foreign = file('foreign', 'theirs')
  spawnSync('chown', ['12345', foreign])
  t.match(await faultOf(writePrivate(foreign, 'mine')), /^PermissionDenied: .*somebody else/)
  t.match(await faultOf(wipe(foreign, () => undefined)), /^PermissionDenied: .*somebody else/)
  t.equal(readFileSync(foreign, 'utf8'), 'theirs')
})

t.test('it wipes what it was shown, and nothing that a check refuses or a link names', async (t) => {
  const kept = file('kept', 'secret')
  await t.rejects(
    wipe(kept, () => {
      throw new Error('no')
    }),
    { message: 'no' },
  )
  t.equal(readFileSync(kept, 'utf8'), 'secret')
  symlinkSync(kept, place('to-kept'))
  t.match(await faultOf(wipe(place('to-kept'), () => undefined)), /symbolic link/)
  // another name of the same bytes shows that they were overwritten
  spawnSync('ln', [kept, place('second-name')])
  await wipe(kept, (bytes) => t.equal(bytes.toString(), 'secret'))
  t.notOk(readdirSync(folder).includes('kept'))
  t.ok(readFileSync(place('second-name')).equals(Buffer.alloc(6)))
})

t.test('the key it gives out is the one it read', async (t) => {
  const pkcs8 = createPrivateKey(users.rsa.key).export({ type: 'pkcs8', format: 'pem' }).toString()
  const files = { certificate: file('c8.pem', users.rsa.certificate, 0o644), key: file('k8.pem', pkcs8) }
  t.equal((await read(files, never)).key, users.rsa.key, 'in the form that grid tools want')
})
