// Distinguished names: what is the same person, and what never is.
import t from 'tap'
import { readDer } from '../../src/identity/der.ts'
import { writeName, writeSequence, writeTlv } from '../../src/identity/der-writer.ts'
import {
  canonical,
  canonicalDn,
  type DistinguishedName,
  matchKey,
  readName,
  rfc2253,
  slash,
} from '../../src/identity/dn.ts'
import { isFault } from '../../src/vospace/fault.ts'
import { type Dn, seeded } from '../fixtures/forge.ts'

const name = (...attributes: Dn): DistinguishedName => readName(readDer(writeName(attributes)))
const alice = name(['C', 'CA'], ['O', 'Lab'], ['OU', 'people'], ['CN', 'Alice  Example'])

t.test('it writes the three forms', async (t) => {
  t.equal(rfc2253(alice), 'CN=Alice  Example,OU=people,O=Lab,C=CA')
  t.equal(slash(alice), '/C=CA/O=Lab/OU=people/CN=Alice  Example')
  t.equal(canonical(alice), 'cn=alice example,ou=people,o=lab,c=ca')
})

t.test('it brings every way of writing a DN to one canonical form', async (t) => {
  const ways = [
    'CN=Alice Example,OU=people,O=Lab,C=CA',
    'cn=alice example, ou=people, o=lab, c=ca',
    'C=CA,O=Lab,OU=people,CN=Alice Example',
    'C=CA; O=Lab; OU=people; CN="Alice Example"',
    '/C=CA/O=Lab/OU=people/CN=Alice Example',
    '/CN=Alice Example/OU=people/O=Lab/C=CA',
    '2.5.4.3=Alice Example,OID.2.5.4.11=people,O=Lab,C=CA',
    'CN=#0c0d416c696365204578616d706c65,OU=people,O=Lab,C=CA',
    'CN=\\41lice Example,OU=people,O=Lab,C=CA',
  ]
  for (const way of ways) t.equal(canonicalDn(way), canonical(alice), way)
})

t.test('it reads both orders of the same certificate as one person', async (t) => {
  t.equal(canonical([...alice].reverse()), canonical(alice))
  const cern = name(['DC', 'ch'], ['DC', 'cern'], ['CN', 'alice'], ['CN', '123'], ['CN', 'Alice'])
  t.equal(canonical(cern), 'cn=alice,cn=123,cn=alice,dc=cern,dc=ch')
  t.equal(canonicalDn('/DC=ch/DC=cern/CN=alice/CN=123/CN=Alice'), canonical(cern))
})

t.test('it puts the common name left and the country right, and else the last of the certificate first', async (t) => {
  const rows: [Dn, string][] = [
    [
      [
        ['C', 'CA'],
        ['O', 'x'],
        ['UID', 'u'],
      ],
      'uid=u,o=x,c=ca',
    ],
    [
      [
        ['UID', 'u'],
        ['O', 'x'],
        ['C', 'CA'],
      ],
      'uid=u,o=x,c=ca',
    ],
    [
      [
        ['O', 'x'],
        ['CN', 'a'],
      ],
      'cn=a,o=x',
    ],
    [
      [
        ['CN', 'a'],
        ['O', 'x'],
      ],
      'cn=a,o=x',
    ],
    [
      [
        ['CN', 'a'],
        ['O', 'x'],
        ['CN', 'b'],
      ],
      'cn=b,o=x,cn=a',
    ],
    [
      [
        ['C', 'CA'],
        ['O', 'x'],
        ['C', 'US'],
      ],
      'c=us,o=x,c=ca',
    ],
    [
      [
        ['O', 'x'],
        ['OU', 'y'],
      ],
      'ou=y,o=x',
    ],
    [[], ''],
  ]
  for (const [attributes, text] of rows) t.equal(canonical(name(...attributes)), text)
})

t.test('it has one form for a name of several attributes, whatever their order', async (t) => {
  t.equal(canonicalDn('OU=y+CN=a,C=CA'), 'cn=a+ou=y,c=ca')
  t.equal(canonicalDn('C=CA,CN=a+OU=y'), 'cn=a+ou=y,c=ca')
})

t.test('it never lets a value pass for further names', async (t) => {
  const evil = name(['C', 'CA'], ['CN', 'x,O=Lab,CN=bob'])
  t.equal(canonical(evil), 'cn=x\\,o=lab\\,cn=bob,c=ca')
  t.not(canonical(evil), canonicalDn('CN=x,O=Lab,CN=bob,C=CA'))
  t.not(canonical(name(['C', 'CA'], ['CN', 'a\\'], ['CN', 'b'])), canonical(name(['C', 'CA'], ['CN', 'a\\,CN=b'])))
  t.not(canonical(name(['C', 'CA'], ['CN', 'bob+OU=x'])), canonicalDn('CN=bob+OU=x,C=CA'))
  t.not(canonical(name(['C', 'CA'], ['CN', 'bob\0.mallory'])), canonical(name(['C', 'CA'], ['CN', 'bob'])))
})

t.test('it reads back what it writes, whatever the value', async (t) => {
  const random = seeded(2253)
  const alphabet = [...' ,+"\\<>;=#/aB9\0\n\u00e9\u{1f600}\u4e00\u0085', '\\41']
  const seen = new Map<string, string>()
  for (let i = 0; i < 3000; i++) {
    const value = Array.from({ length: random(7) }, () => alphabet[random(alphabet.length)]).join('')
    const written = name(['C', 'CA'], ['O', 'Lab'], ['CN', value])
    if (canonicalDn(rfc2253(written)) !== canonical(written)) t.fail(JSON.stringify(value))
    if (canonicalDn(canonical(written)) !== canonical(written)) t.fail(`not stable: ${JSON.stringify(value)}`)
    const key = canonical(written)
    const folded = value.normalize('NFC').toLowerCase().normalize('NFC').replace(/\s+/g, ' ').trim()
    if ((seen.get(key) ?? folded) !== folded) t.fail(`${JSON.stringify(value)} is another's ${key}`)
    seen.set(key, folded)
  }
  t.ok(seen.size > 500)
})

t.test('it compares names as RFC 5280 says: blind to case, blanks and string type, not to order', async (t) => {
  t.equal(matchKey(alice), matchKey(name(['C', 'ca'], ['O', 'LAB '], ['OU', 'People'], ['CN', 'alice example'])))
  t.not(matchKey(alice), matchKey([...alice].reverse()))
  t.not(matchKey(name(['CN', 'a'], ['CN', 'b'])), matchKey(name(['CN', 'a b'])))
  t.not(matchKey(name(['CN', 'a","2.5.4.3=b'])), matchKey(name(['CN', 'a'], ['CN', 'b'])))
})

t.test('it reads every string type, and no broken one', async (t) => {
  const of = (tag: number, bytes: string): DistinguishedName => {
    const attribute = writeSequence(Buffer.from('0603550403', 'hex'), writeTlv(tag, Buffer.from(bytes, 'hex')))
    return readName(readDer(writeSequence(writeTlv(0x31, attribute))))
  }
  const good = { 0x0c: 'c3a9', 0x14: 'e9', 0x1e: '00e9', 0x1c: '000000e9' }
  for (const [tag, bytes] of Object.entries(good)) t.equal(of(Number(tag), bytes)[0]?.[0]?.value, '\u00e9', tag)
  const broken: [number, string][] = [
    [0x0c, 'c3'],
    [0x0c, 'eda080'],
    [0x1e, '00'],
    [0x1e, 'd800'],
    [0x1c, '00110000'],
    [0x04, '61'],
  ]
  for (const [tag, bytes] of broken) t.throws(() => of(tag, bytes), { code: 'MALFORMED' }, `${tag} ${bytes}`)
})

t.test('it refuses what is not a DN', async (t) => {
  const wrong = [
    '',
    'alice',
    '/alice',
    'CN',
    'CN=a,',
    'CN=a,,O=b',
    'XX=a',
    'CN="a',
    'CN=a\\',
    'CN=#zz,O',
    '/',
    'CN="a"b',
  ]
  for (const text of [...wrong, `CN=${'a'.repeat(5000)}`]) {
    try {
      t.fail(`${text} is ${canonicalDn(text)}`)
    } catch (error) {
      t.ok(isFault(error, 'InvalidArgument'), JSON.stringify(text.slice(0, 20)))
    }
  }
})
