/** Hostile XML: every refusal is a Fault, nothing hangs, nothing is fetched. */
import t from 'tap'
import { readNode } from '../../src/codec/node-reader.ts'
import { writeNode } from '../../src/codec/node-writer.ts'
import { readTransfer, writeTransfer } from '../../src/codec/transfer-codec.ts'
import { readXml, XML_LIMITS } from '../../src/codec/xml-reader.ts'
import { type Fault, isFault } from '../../src/vospace/fault.ts'
import { nodeDocument, random, transfer } from './codec-random.ts'
import { refusal } from './codec-refusal.ts'

/** Why a document is refused. */
const refused = (xml: string | Buffer, read: (xml: Buffer) => unknown = readXml): Fault =>
  refusal(() => read(Buffer.from(xml)))

const text = (xml: string): string => readXml(Buffer.from(xml)).text

t.test('it reads elements with namespaces, attributes, text and lines', async (t) => {
  const root = readXml(
    Buffer.from(
      '\ufeff<?xml version="1.0" encoding="utf-8"?>\n<a xmlns="urn:1" xmlns:p="urn:2" b="1" p:c="2">x<p:d>y</p:d>\n<e xmlns=""/>z</a>\n<!-- end -->',
    ),
  )
  t.match(root, { namespace: 'urn:1', name: 'a', text: 'x\nz', line: 2 })
  t.strictSame([...root.attributes], [['b', '1'], ['{urn:2}c', '2']]) /* prettier-ignore */
  t.match(root.children, [{ namespace: 'urn:2', name: 'd', text: 'y', line: 2 }, { namespace: '', name: 'e', line: 3 }]) /* prettier-ignore */
})

t.test('it names the line and nothing of the parser', async (t) => {
  t.match(refused('<a>\n\n<b></a>'), { fault: 'InvalidArgument', detail: /^XML line 3: [^0-9]/ })
})

t.test('it refuses what is not well-formed', async (t) => {
  const bad = [
    '', ' \n', 'text', '<', '<a', '<a>', '</a>', '<a></b>', '<a/><b/>', '<a/>text', 'text<a/>', '<a b/>', '<a b=1/>', '<a b="1" b="2"/>',
    '<a xmlns:p="urn:1" xmlns:q="urn:1" p:b="1" q:b="2"/>', '<a b="<"/>', '<a>&b;</a>', '<a>&</a>', '<a>&#0;</a>', '<a>&#xD800;</a>',
    '<a>&#1114112;</a>', '<a>]]></a>', '<p:a/>', '<a p:b="1"/>', '<a xmlns:p=""><p:b/></a>', '<a xmlns:xml="urn:x"/>', '<xmlns:a/>',
    '<a:b:c xmlns:a="urn:a"/>', '<__proto__:a/>', '<constructor:a/>', '<a toString:b="1"/>', '<a><!-- -- --></a>', '<a><![CDATA[</a>',
    ' <?xml version="1.0"?><a/>', '<1a/>', '<a\u0000/>', '<a>\u0000</a>', '<a>\u001b</a>', '<a>\uffff</a>',
  ] /* prettier-ignore */
  for (const xml of bad) t.equal(refused(xml).fault, 'InvalidArgument', JSON.stringify(xml))
})

t.test('it refuses document types and entities, and expands nothing', async (t) => {
  const laughs = Array.from({ length: 9 }, (_, n) => `<!ENTITY l${n + 1} "${`&l${n};`.repeat(10)}">`).join('')
  const bad = [
    '<!DOCTYPE a><a/>',
    '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
    '<!DOCTYPE a PUBLIC "x" "http://127.0.0.1:1/x.dtd"><a/>',
    `<!DOCTYPE a [<!ENTITY l0 "lol">${laughs}]><a>&l9;</a>`,
    '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
    '<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:1/x">%x;]><a/>',
    '<!DOCTYPE a [<!ATTLIST a b CDATA "default">]><a/>',
    '<!DOCTYPE a [',
  ]
  for (const xml of bad) t.equal(refused(xml).fault, 'InvalidArgument', xml.slice(0, 60))
  t.equal(
    text('<a>&lt;&amp;&gt;&quot;&apos;&#65;&#x42;</a>'),
    '<&>"\'AB',
    'the five of XML and character references are read',
  )
})

t.test('it refuses processing instructions', async (t) => {
  for (const xml of ['<?p?><a/>', '<a><?p x?></a>', '<a/><?p?>', '<?xml-stylesheet href="http://127.0.0.1:1/"?><a/>']) {
    t.equal(refused(xml).fault, 'InvalidArgument', xml)
  }
})

t.test('it reads UTF-8 and XML 1.0, and nothing else', async (t) => {
  for (const encoding of ['ISO-8859-1', 'UTF-16', 'us-ascii', 'utf-7', 'UTF-8-BROKEN']) {
    t.match(
      refused(`<?xml version="1.0" encoding="${encoding}"?><a/>`),
      { fault: 'InvalidArgument', detail: /line 1/ },
      encoding,
    )
  }
  t.equal(refused('<?xml version="1.1"?><a>&#1;</a>').fault, 'InvalidArgument')
  const octets = (...bytes: number[]): Buffer =>
    Buffer.concat([Buffer.from('<a>\n'), Buffer.from(bytes), Buffer.from('</a>')])
  for (const bytes of [[0xff], [0xc3], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82]]) {
    t.match(refused(octets(...bytes)), { fault: 'InvalidArgument', detail: 'XML line 2: not UTF-8' }, bytes.join(' '))
  }
  t.equal(refused(Buffer.from('\ufeff<a/>', 'utf16le')).fault, 'InvalidArgument')
  t.equal(refused(Buffer.from('<a/>', 'utf16le')).fault, 'InvalidArgument')
})

t.test('it refuses excess', async (t) => {
  const depth = (n: number): string => '<a>'.repeat(n) + '</a>'.repeat(n)
  t.doesNotThrow(() => readXml(Buffer.from(depth(XML_LIMITS.depth))))
  t.equal(refused(depth(XML_LIMITS.depth + 1)).fault, 'InvalidArgument')
  t.equal(refused(depth(10_000)).fault, 'InvalidArgument')
  const attributes = (n: number): string => `<a ${Array.from({ length: n }, (_, i) => `b${i}="1"`).join(' ')}/>`
  t.doesNotThrow(() => readXml(Buffer.from(attributes(XML_LIMITS.attributes))))
  t.equal(refused(attributes(XML_LIMITS.attributes + 1)).fault, 'InvalidArgument')
  t.equal(refused(attributes(50_000)).fault, 'InvalidArgument')
  t.equal(refused(`<a>${'<b/>'.repeat(XML_LIMITS.elements)}</a>`).fault, 'InvalidArgument')
  t.equal(refused(`<a>${'x'.repeat(XML_LIMITS.text + 1)}</a>`).fault, 'RequestEntityTooLarge')
  t.equal(refused(`<a>${`${'x'.repeat(1000)}<b/>`.repeat(200)}</a>`).fault, 'RequestEntityTooLarge', 'text in pieces')
  t.equal(refused(`<a b="${'x'.repeat(XML_LIMITS.text + 1)}"/>`).fault, 'RequestEntityTooLarge')
  t.equal(refused(`<a b="${'x'.repeat(10 << 20)}"/>`).fault, 'RequestEntityTooLarge')
  t.equal(refused(`<a>${' '.repeat(XML_LIMITS.bytes)}</a>`).fault, 'RequestEntityTooLarge')
  t.equal(refused(`<a/>${' '.repeat(XML_LIMITS.bytes)}`).fault, 'RequestEntityTooLarge')
})

t.test('it refuses a document that ends anywhere too early', async (t) => {
  const xml = Buffer.from(writeNode(nodeDocument(random(7))).trimEnd())
  for (let end = 0; end < xml.length; end++)
    t.equal(refused(xml.subarray(0, end), readNode).fault, 'InvalidArgument', `${end} bytes`)
  const other = Buffer.from(writeTransfer(transfer(random(7))).trimEnd())
  for (let end = 0; end < other.length; end++)
    t.equal(refused(other.subarray(0, end), readTransfer).fault, 'InvalidArgument', `${end} bytes`)
})

t.test('it answers any damage with a document or a Fault', async (t) => {
  const splinters = [
    '<',
    '>',
    '&',
    '"',
    ']]>',
    '<!--',
    '<![CDATA[',
    '<!DOCTYPE',
    '<?',
    '\0',
    '\xff',
    'xmlns:',
    ':',
    '/',
    '&#x',
    '</',
    ' ',
    'xsi:type',
  ]
  let read = 0
  for (let seed = 1; seed <= 1500; seed++) {
    const source = random(seed)
    const isNode = source.once(2)
    let bytes = Buffer.from(isNode ? writeNode(nodeDocument(source)) : writeTransfer(transfer(source)))
    for (let cuts = source.below(4); cuts >= 0; cuts--) {
      const at = source.below(bytes.length)
      const splinter = source.pick(['', ...splinters])
      bytes = Buffer.concat([
        bytes.subarray(0, at),
        Buffer.from(splinter, 'latin1'),
        bytes.subarray(at + source.below(4)),
      ])
    }
    try {
      if (isNode) readNode(bytes)
      else readTransfer(bytes)
      read++
    } catch (error) {
      if (!isFault(error, 'InvalidArgument', 'TypeNotSupported')) t.fail(`seed ${seed}: ${String(error)}`)
    }
  }
  t.ok(read > 0 && read < 1500, `${read} were read all the same`)
})
