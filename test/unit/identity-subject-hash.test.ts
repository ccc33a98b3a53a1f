/** The names under which OpenSSL looks for CAs, beside what OpenSSL itself says of them. */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Certificate } from '../../src/identity/certificate.ts'
import { pemCertificates } from '../../src/identity/pem.ts'
import { subjectHash } from '../../src/identity/subject-hash.ts'
import { needs } from '../parts.ts'

const SUBJECTS: readonly (readonly string[])[] = [
  ['/CN=plain'],
  ['/C=CA/O=Some  Lab /OU= people/CN=A  B\tC'],
  ['/DC=org/DC=example/CN=Mixed CASE/emailAddress=Who@Example.ORG'],
  ['-utf8', '/O=Île-de-France Straße ÄÖÜ/CN=Ωμέγα'],
  ['-multivalue-rdn', '/O=lab/CN=one+UID=two+OU=Three'],
  ['/CN=x/serialNumber=AB 12/x500UniqueIdentifier=AbC'],
]

t.test('the hash of a subject is the one of openssl x509 -hash', { skip: needs('openssl') }, async (t) => {
  const dir = t.testdir()
  for (const [i, words] of SUBJECTS.entries()) {
    const file = join(dir, `${i}.pem`)
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', '/dev/null']
    // string types of all kinds: some pick printable or teletex where they can
    const mask = i % 2 === 0 ? 'utf8only' : 'default'
    writeFileSync(join(dir, 'cnf'), `[req]\ndistinguished_name=dn\nstring_mask=${mask}\n[dn]\n`)
    const config = ['-config', join(dir, 'cnf')]
    const made = spawnSync('openssl', [
      'req',
      '-x509',
      ...config,
      ...key,
      '-out',
      file,
      '-subj',
      ...[...words].reverse(),
    ])
    t.equal(made.status, 0, String(made.stderr))
    const said = spawnSync('openssl', ['x509', '-in', file, '-noout', '-hash', '-serial'])
    const pem = String(spawnSync('openssl', ['x509', '-in', file]).stdout)
    const [der = Buffer.alloc(0)] = pemCertificates(pem)
    t.equal(subjectHash(new Certificate(der).subjectDer), String(said.stdout).split('\n')[0], words.join(' '))
  }
})
