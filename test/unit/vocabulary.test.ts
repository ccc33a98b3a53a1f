/** Paths, URIs, links, properties: what they accept, what they refuse, and that writing and reading agree. */
import tap from 'tap'
import { Fault, FAULTS, isFault, type FaultName } from '../../src/vospace/fault.ts'
import { linkTarget, linkText, textPath } from '../../src/vospace/link.ts'
import { byteOrder, child, isWithin, nameOf, nodePath, parentOf, ROOT, stepsOf } from '../../src/vospace/path.ts'
import {
  checkPropertyUri,
  dateText,
  isGroupUri,
  parseBoolean,
  parseGroups,
  PROPERTY,
} from '../../src/vospace/property.ts'
import { decodePath, encodePath, localPath, nodeUri, parseVosUri, service } from '../../src/vospace/uri.ts'

const karst = service('ivo://karst.local/karst')
const thrown = (what: () => unknown): unknown => {
  try {
    what()
    return undefined
  } catch (error) {
    return error
  }
}
const refuses = (t: Pick<typeof tap, 'match'>, what: () => unknown, fault: FaultName, name?: string): void => {
  t.match(thrown(what), { name: 'Fault', fault }, name ?? '')
}

tap.test('a fault knows its status and errno, and an exact errno wins', async (t) => {
  t.equal(new Fault('NodeNotFound', 'x').status, 404)
  t.equal(new Fault('NodeNotFound', 'x').errno, 'ENOENT')
  t.equal(new Fault('PermissionDenied', 'x', { errno: 'EPERM' }).errno, 'EPERM')
  t.ok(isFault(new Fault('NodeBusy', 'x'), 'NodeLocked', 'NodeBusy'))
  t.notOk(isFault(new Error('NodeBusy')))
  for (const { status, errno } of Object.values(FAULTS)) t.ok(status >= 400 && status < 600 && errno.startsWith('E'))
})

tap.test('whether a path is legal does not depend on the path before it', async (t) => {
  const legal = ['/', '/a', '/a/b', '/a/b/c', '/ab', '/a/c']
  const illegal = ['/a/', '/a//', '/a/.', '/a/..', '/a/b/', 'a/b', '/a//b', '/../b', '/a/b\0', `/a/${'x'.repeat(256)}`]
  for (const before of legal)
    for (const after of [...legal, ...illegal]) {
      nodePath(before)
      if (legal.includes(after)) t.equal(nodePath(after), after)
      else refuses(t, () => nodePath(after), 'InvalidURI', `${before}, then ${after.slice(0, 20)}`)
    }
})

tap.test('illegal paths are refused', async (t) => {
  const illegal = [
    '',
    'a',
    '//',
    '/a/',
    '/a//b',
    '/.',
    '/..',
    '/a/../b',
    '/a/./b',
    '/a\0b',
    `/${'x'.repeat(256)}`,
    '/\ud800',
  ]
  for (const text of illegal) refuses(t, () => nodePath(text), 'InvalidURI', JSON.stringify(text.slice(0, 20)))
  t.match(
    thrown(() => nodePath(`/${'é'.repeat(128)}`)),
    { errno: 'ENAMETOOLONG' },
  )
  t.match(
    thrown(() => nodePath('/a'.repeat(2049))),
    { errno: 'ENAMETOOLONG' },
  )
  for (const text of ['/', '/a', '/...', '/ ', '/a b/c', `/${'x'.repeat(255)}`, '/\u0001', '/é'])
    t.equal(nodePath(text), text)
})

tap.test('paths come apart by whole steps', async (t) => {
  const path = nodePath('/a/bc/d')
  t.same([parentOf(path), nameOf(path), stepsOf(path)], ['/a/bc', 'd', ['a', 'bc', 'd']])
  t.same([parentOf(ROOT), nameOf(ROOT), stepsOf(ROOT)], ['/', '', []])
  t.ok(isWithin(path, nodePath('/a/bc')) && isWithin(path, ROOT) && isWithin(path, path))
  t.notOk(isWithin(path, nodePath('/a/b')))
  t.equal(child(ROOT, 'x'), '/x')
  refuses(t, () => child(ROOT, 'a/b'), 'InvalidURI')
  t.same(['😀', '\uFFEE', 'a-b', 'a', 'Z'].sort(byteOrder), ['Z', 'a', 'a-b', '\uFFEE', '😀'])
})

tap.test('a URL path is decoded once, with a plus as it is', async (t) => {
  const table: [string, string][] = [
    ['/a%20b', '/a b'], ['/a+b', '/a+b'], ['/%2525', '/%25'], ['/é', '/é'], ['/%C3%A9', '/é'],
    ['/dir/', '/dir'], ['', '/'], ['/', '/'], ['/100%', '/100%'], ['/a%zz', '/a%zz'], ['/sp ace', '/sp ace'],
  ] // prettier-ignore
  for (const [text, path] of table) t.equal(decodePath(text), path, text)
  for (const text of ['/a%2Fb', '/%2e%2e', '/a/%2E/b', '/%00', '/%ff', '//', '/a//b', 'a']) {
    refuses(t, () => decodePath(text), 'InvalidURI', text)
  }
})

tap.test('every name survives the way through a URI and a URL', async (t) => {
  let seed = 1
  const next = (): number => (seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0) >>> 8
  const alphabet = [
    'a',
    ' ',
    '%',
    '+',
    '?',
    '#',
    '&',
    ';',
    '=',
    '~',
    '!',
    '"',
    '<',
    'é',
    '😀',
    '\u0001',
    '\n',
    '%41',
    '\\',
    ':',
    '@',
  ]
  for (let round = 0; round < 2000; round++) {
    const name = Array.from({ length: 1 + (next() % 8) }, () => alphabet[next() % alphabet.length]).join('')
    const path = nodePath(`/x/${name}`)
    t.equal(localPath(karst, nodeUri(karst, path)), path)
    t.equal(decodePath(encodePath(path)), path)
    t.match(nodeUri(karst, path), /^[\x21-\x7e]*$/)
  }
})

tap.test('both separators and any case of the authority are the same service', async (t) => {
  t.equal(karst.authority, 'karst.local~karst')
  t.equal(nodeUri(karst, ROOT), 'vos://karst.local~karst')
  t.equal(localPath(karst, 'vos://karst.local!karst/a'), '/a')
  t.equal(localPath(karst, 'vos://Karst.Local~karst/a/'), '/a')
  t.equal(localPath(karst, 'VOS://karst.local~karst'), '/')
  refuses(t, () => localPath(karst, 'vos://other~karst/a'), 'InvalidURI')
  for (const text of [
    'http://karst.local~karst/a',
    'vos:/a',
    'vos://',
    'vos://a/b?c',
    'vos://a/b#c',
    'vos://karst.local~karst/a/../b',
  ]) {
    refuses(t, () => parseVosUri(text), 'InvalidURI', text)
  }
  for (const id of ['ivo://Karst/x', 'vos://a/b', 'ivo://a', 'ivo://a/'])
    refuses(t, () => service(id), 'InvalidURI', id)
})

tap.test('a link says the same as text and as target', async (t) => {
  const link = nodePath('/home/alice/sub/link')
  const table: [target: string, text: string][] = [
    ['vos://karst.local~karst/home/alice/t.fits', '../t.fits'],
    ['vos://karst.local~karst/home/alice/sub/x', 'x'],
    ['vos://karst.local~karst/home/alice/sub', '.'],
    ['vos://karst.local~karst/data/a%20b', '../../../data/a b'],
    ['vos://karst.local~karst', '../../..'],
    ['vos://other.org~vault/x', 'vos://other.org~vault/x'],
    ['http://example.org/x?y=1', 'http://example.org/x?y=1'],
    ['file:///etc/passwd', '/etc/passwd'],
    ['file:///a%20b', '/a b'],
  ]
  for (const [target, text] of table) {
    t.equal(linkText(target, link, karst).toString(), text, target)
    t.equal(linkTarget(Buffer.from(text), link, karst), target, text)
  }
})

tap.test('a text that leaves the space, or is no text, is never a node', async (t) => {
  const link = nodePath('/a/l')
  for (const text of ['../..', '../../etc', '/etc', '', 'http://x/y', `${'x'.repeat(256)}`]) {
    t.equal(textPath(Buffer.from(text), link), undefined, text.slice(0, 20))
  }
  t.equal(textPath(Buffer.from([0x66, 0xff]), link), undefined)
  t.equal(linkTarget(Buffer.from([0x2f, 0xff]), link, karst), 'file:///%FF')
  t.same(linkText('file:///%FF', link, karst), Buffer.from([0x2f, 0xff]))
  t.equal(textPath(Buffer.from('./b//c/.'), link), '/a/b/c')
  for (const target of ['nonsense', '', 'file:///a%00b', 'vos://x/\0']) t.throws(() => linkText(target, link, karst))
})

tap.test('properties that only look like the standard are refused, others are the client’s', async (t) => {
  for (const uri of [
    'ivo://ivoa.net/vospacecore#make-stuff-up',
    'ivo://ivoa.net/vospace/core#nope',
    '',
    'a b',
    'x\n',
  ]) {
    refuses(t, () => checkPropertyUri(uri), 'InvalidArgument', uri)
  }
  for (const uri of ['quality', 'urn:x:y', 'ivo://other/x#y', 'custom:é', PROPERTY.md5]) checkPropertyUri(uri)
  t.equal(parseBoolean('u', ' TRUE '), true)
  refuses(t, () => parseBoolean('u', 'yes'), 'InvalidArgument')
  t.same(parseGroups('u', ' ivo://b/gms?y ivo://a/gms?x,ivo://a/gms?x '), ['ivo://a/gms?x', 'ivo://b/gms?y'])
  refuses(t, () => parseGroups('u', 'staff'), 'InvalidArgument')
  for (const uri of ['ivo://a/gms', 'ivo://a/gms?', 'ivo://a?x', 'http://a/gms?x', 'ivo://a/gms?x y'])
    t.notOk(isGroupUri(uri))
  t.equal(dateText(1_772_360_430_456_999_999n), '2026-03-01T10:20:30.456')
})
