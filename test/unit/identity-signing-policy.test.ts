// Signing policies as authorities of the grid write them, and as somebody writes who wants more.
import t from 'tap'
import { Certificate } from '../../src/identity/certificate.ts'
import { type DistinguishedName, readName } from '../../src/identity/dn.ts'
import { readDer } from '../../src/identity/der.ts'
import { writeName } from '../../src/identity/der-writer.ts'
import { matches, names, parseSigningPolicy, permits } from '../../src/identity/signing-policy.ts'
import { isFault } from '../../src/vospace/fault.ts'
import { type Dn } from '../fixtures/forge.ts'
import { alice, ca } from '../fixtures/lab.ts'

const dn = (name: Dn): DistinguishedName => readName(readDer(writeName(name)))
const CA = new Certificate(ca.der).subject
const ALICE = new Certificate(alice.der).subject
const allows = (text: string, subject = ALICE, authority = CA): boolean =>
  permits(parseSigningPolicy(text), authority, subject)
const refusal = (text: string): string => {
  try {
    parseSigningPolicy(text)
    return 'accepted'
  } catch (error) {
    if (isFault(error, 'InvalidData')) return error.detail
    throw error
  }
}
const entry = (subjects: string, authority = "'/C=CA/O=Lab/CN=Lab CA'"): string =>
  `access_id_CA X509 ${authority}\npos_rights globus CA:sign\ncond_subjects globus ${subjects}\n`

t.test('it reads the forms in which policies are written', async (t) => {
  const forms = {
    'single quotes around double ones': entry(`'"/C=CA/O=Lab/*" "/C=US/*"'`),
    'double quotes around single ones': entry(`"'/C=US/*' '/C=CA/O=Lab/*'"`),
    'one pattern in double quotes': entry('"/C=CA/O=Lab/*"'),
    'one pattern in single quotes': entry("'/C=CA/O=Lab/*'"),
    'no quotes at all': entry('/C=CA/O=Lab/*', '"/C=CA/O=Lab/CN=Lab CA"'),
    'patterns one by one': entry('"/C=US/*" "/C=CA/O=Lab/*"'),
    'two lines of conditions': `${entry('"/C=US/*"')}cond_subjects globus '"/C=CA/O=Lab/*"'`,
    'tabs, blanks, carriage returns and no end of line': entry(`'"/C=CA/*"'`)
      .replaceAll(' X509 ', '\t\tX509   ')
      .replaceAll('\n', '  \r\n')
      .trimEnd(),
    comments: `# EACL Lab "CA"\n\n  # more '\n${entry(`'"/C=CA/*"' # all of it`)}# end`,
    'an authority named after another': `access_id_CA X509 '/CN=Other'\n${entry('"/C=CA/*"')}`,
    'a right of another kind before': `access_id_CA X509 '/C=CA/O=Lab/CN=Lab CA'\npos_rights globus CA:other\n${entry('"/C=CA/*"')}`,
  }
  for (const [it, text] of Object.entries(forms)) t.ok(allows(text), it)
})

t.test('it lets each authority sign what its own entries say, and no more', async (t) => {
  const other = dn([['CN', 'Other CA']])
  const text = entry('"/C=CA/O=Lab/*"') + entry('"/CN=*"', "'/CN=Other CA'") + entry('"/C=CA/O=Annex/*"')
  t.ok(allows(text))
  t.ok(
    allows(
      text,
      dn([
        ['C', 'CA'],
        ['O', 'Annex'],
        ['CN', 'x'],
      ]),
    ),
    'a second entry of the same authority',
  )
  t.notOk(
    allows(
      text,
      dn([
        ['C', 'CA'],
        ['O', 'Lablet'],
        ['CN', 'x'],
      ]),
    ),
  )
  t.notOk(allows(text, dn([['CN', 'Bob']])), 'what the other may')
  t.ok(allows(text, dn([['CN', 'Bob']]), other))
  t.notOk(allows(text, ALICE, other))
  t.notOk(allows(text, ALICE, dn([['CN', 'Nobody']])))
  t.ok(names(parseSigningPolicy(text), other))
  t.notOk(names(parseSigningPolicy(text), dn([['CN', 'Nobody']])))
})

t.test('it compares e-mail addresses and user ids whatever they are called', async (t) => {
  const mail = dn([
    ['C', 'CA'],
    ['emailAddress', 'a@example.org'],
  ])
  for (const name of ['E', 'Email', 'emailAddress', 'EMAIL']) t.ok(allows(entry(`"/C=CA/${name}=*"`), mail), name)
  const uid = dn([
    ['C', 'CA'],
    ['UID', 'a'],
  ])
  for (const name of ['UID', 'USERID', 'userId']) t.ok(allows(entry(`"/C=CA/${name}=a"`), uid), name)
})

t.test('it counts case, and the usual order of names', async (t) => {
  t.notOk(allows(entry('"/C=ca/O=lab/*"')))
  const turned = ALICE.toReversed()
  t.ok(allows(entry('"/C=CA/O=Lab/*"'), turned))
  t.notOk(allows(entry('"/CN=Alice/*"'), turned))
})

t.test('it matches globs as Globus does, in no time', async (t) => {
  const rows: [string, string, boolean][] = [
    ['/C=CA/*', '/C=CA/O=Lab/CN=a', true],
    ['*', '', true],
    ['', '', true],
    ['', 'x', false],
    ['/CN=?', '/CN=a', true],
    ['/CN=?', '/CN=ab', false],
    ['/CN=?', '/CN=', false],
    ['*CN=a', '/C=CA/CN=a', true],
    ['*CN=a', '/C=CA/CN=ab', false],
    ['/C=*/CN=*b', '/C=CA/CN=aabab', true],
    ['/C=*/CN=*b', '/C=CA/CN=aaba', false],
    ['a.c', 'abc', false],
    ['[a-z]*', 'abc', false],
    ['**a**', 'xax', true],
  ]
  for (const [glob, text, answer] of rows) t.equal(matches(glob, text), answer, `${glob} ${text}`)
  const { user } = process.cpuUsage()
  t.notOk(matches(`${'*a'.repeat(200)}b`, 'a'.repeat(4000)))
  t.ok(process.cpuUsage().user - user < 10_000_000, 'and not in the age of the universe')
})

t.test('it takes nothing of a file it does not understand wholly', async (t) => {
  const bad: Record<string, [string, RegExp]> = {
    'an empty file': ['', /no access_id_CA/],
    'comments only': ['# nothing\n', /no access_id_CA/],
    'no conditions': ["access_id_CA X509 '/CN=x'\npos_rights globus CA:sign\n", /no cond_subjects for \/CN=x/],
    'an authority only': ["access_id_CA X509 '/CN=x'\n", /no cond_subjects/],
    'an open quote': [entry(`'"/C=CA/*"`), /line 3: a quote is not closed/],
    'a word in between': [entry(`'"/C=CA/*" x'`), /line 3: not a list/],
    'conditions before an authority': ['cond_subjects globus "/*"', /line 1: cond_subjects before/],
    'conditions before a right': [
      "access_id_CA X509 '/CN=x'\ncond_subjects globus '*'",
      /line 2: cond_subjects before/,
    ],
    'a negative right': [`${entry('"/*"')}neg_rights globus CA:sign\n`, /neg_rights globus is not understood/],
    'a condition that is not known': [
      `${entry('"/*"')}cond_time globus "9-17"\n`,
      /cond_time globus is not understood/,
    ],
    'conditions of another authority': [entry('"/*"').replace('cond_subjects globus', 'cond_subjects other'), /other/],
    'an identity of another kind': ["access_id_USER X509 '/CN=x'\n", /access_id_USER before/],
    'a line of two words': ["access_id_CA '/CN=x'\n", /needs two values/],
  }
  for (const [it, [text, why]] of Object.entries(bad)) t.match(refusal(text), why, it)
})
