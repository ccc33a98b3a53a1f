/** Node documents: what clients send is understood, what we answer is what clients accept. */
import t from 'tap'
import { readNode } from '../../src/codec/node-reader.ts'
import { writeListing, writeNode } from '../../src/codec/node-writer.ts'
import { type NodeDocument } from '../../src/vospace/document.ts'
import { evilText, nodeDocument, random } from './codec-random.ts'
import { refusal } from './codec-refusal.ts'
import { validates } from './codec-validator.ts'

const VOS = 'http://www.ivoa.net/xml/VOSpace/v2.0'
const XSI = 'http://www.w3.org/2001/XMLSchema-instance'
const HEAD = `xmlns:vos="${VOS}" xmlns:xsi="${XSI}"`
const URI = 'vos://karst.local~karst/home/alice/a'
const CORE = 'ivo://ivoa.net/vospace/core#'

const read = (xml: string): NodeDocument => readNode(Buffer.from(xml))

async function* each<T>(values: Iterable<T>): AsyncGenerator<T> {
  yield* values
}

async function listing(node: NodeDocument, children: Iterable<NodeDocument>): Promise<string[]> {
  const chunks: string[] = []
  for await (const chunk of writeListing({ node, children: each(children) })) chunks.push(chunk)
  return chunks
}

const container = (uri: string): NodeDocument => ({
  uri,
  class: 'ContainerNode',
  properties: [
    { uri: `${CORE}length`, value: '0', readOnly: true },
    { uri: `${CORE}date`, value: '2026-03-01T10:20:30.456', readOnly: true },
    { uri: `${CORE}ispublic`, value: 'false' },
  ],
})

t.test('it writes a listing in the very form of wire.md 1.3', async (t) => {
  const home = 'vos://karst.local~karst/home/alice'
  const children: NodeDocument[] = [
    { uri: `${home}/t.fits`, class: 'DataNode', properties: [{ uri: `${CORE}type`, value: 'image/fits' }], provides: [`${CORE}defaultview`] },
    { uri: `${home}/sub`, class: 'ContainerNode', properties: [] },
    { uri: `${home}/ln`, class: 'LinkNode', properties: [], target: `${home}/t.fits?x&y` },
  ] /* prettier-ignore */
  const xml = (await listing(container(home), children)).join('')
  t.equal(
    xml,
    `<?xml version="1.0" encoding="UTF-8"?>
<vos:node xmlns:vos="${VOS}" xmlns:xsi="${XSI}" uri="${home}" xsi:type="vos:ContainerNode">
  <vos:properties>
    <vos:property uri="${CORE}date" readOnly="true">2026-03-01T10:20:30.456</vos:property>
    <vos:property uri="${CORE}ispublic">false</vos:property>
    <vos:property uri="${CORE}length" readOnly="true">0</vos:property>
  </vos:properties>
  <vos:accepts/>
  <vos:provides/>
  <vos:capabilities/>
  <vos:nodes>
    <vos:node uri="${home}/t.fits" xsi:type="vos:DataNode" busy="false">
      <vos:properties>
        <vos:property uri="${CORE}type">image/fits</vos:property>
      </vos:properties>
      <vos:accepts/>
      <vos:provides>
        <vos:view uri="${CORE}defaultview"/>
      </vos:provides>
      <vos:capabilities/>
    </vos:node>
    <vos:node uri="${home}/sub" xsi:type="vos:ContainerNode">
      <vos:properties/>
      <vos:accepts/>
      <vos:provides/>
      <vos:capabilities/>
      <vos:nodes/>
    </vos:node>
    <vos:node uri="${home}/ln" xsi:type="vos:LinkNode">
      <vos:properties/>
      <vos:target>${home}/t.fits?x&amp;y</vos:target>
    </vos:node>
  </vos:nodes>
</vos:node>
`,
  )
  await validates(t, 'vospace', [xml])
})

t.test('it reads back every node it writes', async (t) => {
  for (let seed = 1; seed <= 300; seed++) {
    const node = nodeDocument(random(seed))
    t.strictSame(read(writeNode(node)), node, `seed ${seed}`)
  }
})

t.test('it writes valid documents whatever the values are', async (t) => {
  const documents = Array.from({ length: 150 }, (_, seed) =>
    writeNode(nodeDocument(random(seed), seed % 2 ? evilText : undefined)),
  )
  for (const xml of documents) t.doesNotThrow(() => read(xml))
  await validates(t, 'vospace', documents)
})

t.test('it puts U+FFFD for characters XML does not have', async (t) => {
  const value = 'a\0b\x1b[31m\ud83d\ufffe\udc00]]>\t"\r\n🜁'
  const xml = writeNode({ uri: URI, class: 'DataNode', properties: [{ uri: 'note', value }] })
  t.equal(read(xml).properties[0]?.value, 'a\ufffdb\ufffd[31m\ufffd\ufffd\ufffd]]>\t"\r\n🜁')
  t.equal(xml.isWellFormed(), true)
})

t.test('it keeps quotes, tabs and line ends in attributes', async (t) => {
  const uri = 'custom:"a\'b\tc\nd\re<f>&amp;'
  t.equal(read(writeNode({ uri: URI, class: 'Node', properties: [{ uri, value: '' }] })).properties[0]?.uri, uri)
})

t.test('it streams long listings in chunks of about 64 KiB', async (t) => {
  const children = Array.from({ length: 3000 }, (_, n) => container(`${URI}/${n}`))
  const chunks = await listing(container(URI), children)
  t.ok(chunks.length > 10 && chunks.length < 100, `${chunks.length} chunks`)
  for (const chunk of chunks.slice(0, -1)) t.ok(chunk.length >= 65536 && chunk.length < 70000)
  t.equal(chunks.join('').split('<vos:node ').length - 1, 3001)
  await validates(t, 'vospace', [chunks.join('')])
})

t.test('it takes children as slowly as the listing is read', async (t) => {
  let taken = 0
  const children = (function* () {
    for (;;) yield container(`${URI}/${++taken}`)
  })()
  for await (const chunk of writeListing({ node: container(URI), children: each(children) })) {
    t.ok(chunk.length > 0)
    break
  }
  const first = taken
  t.ok(first < 1000)
  t.equal(children.next().done, true, 'the children are told that nobody wants more')
})

t.test('it has said nothing when a short listing fails', async (t) => {
  const chunks: string[] = []
  const failing = async function* (): AsyncGenerator<NodeDocument> {
    yield container(`${URI}/1`)
    throw new Error('disk')
  }
  await t.rejects(
    async () => {
      for await (const chunk of writeListing({ node: container(URI), children: failing() })) chunks.push(chunk)
    },
    { message: 'disk' },
  )
  t.strictSame(chunks, [])
})

t.test('it reads the mixed prefixes that Python sends', async (t) => {
  const node =
    read(`<node xmlns="${VOS}" xmlns:vos="${VOS}" xmlns:ns0="${VOS}" xmlns:ns1="${XSI}" uri="${URI}" ns1:type="vos:ContainerNode">
    <ns0:properties><ns0:property uri="${CORE}description" readOnly="false">a dir</ns0:property>
    <ns0:property xmlns:xsi="${XSI}" uri="${CORE}groupread" xsi:nil="true" /></ns0:properties>
    <accepts><view uri="${CORE}anyview"/></accepts><ns0:provides /><ns0:nodes><ns0:node uri="not looked at"/></ns0:nodes></node>`)
  t.strictSame(node, {
    uri: URI,
    class: 'ContainerNode',
    properties: [
      { uri: `${CORE}description`, value: 'a dir' },
      { uri: `${CORE}groupread`, value: null },
    ],
    accepts: [`${CORE}anyview`],
    provides: [],
  })
  const link =
    read(`<ns0:node xmlns:ns0="${VOS}" xmlns:ns1="${XSI}" xmlns="${VOS}" ns1:type="vos:LinkNode" uri="${URI}">
    <properties/><target> vos://karst.local~karst/home/bob </target></ns0:node>`)
  t.strictSame(link, { uri: URI, class: 'LinkNode', properties: [], target: 'vos://karst.local~karst/home/bob' })
})

t.test('it takes the type with any prefix, or none', async (t) => {
  const typed = (type: string, more = ''): string => `<vos:node ${HEAD} ${more} uri="${URI}" xsi:type="${type}"/>`
  t.equal(read(typed('vos:LinkNode')).class, 'LinkNode')
  t.equal(read(typed('ns0:DataNode')).class, 'DataNode', 'a prefix that nothing binds')
  t.equal(read(typed('q:StructuredDataNode', `xmlns:q="${VOS}"`)).class, 'StructuredDataNode')
  t.equal(read(typed(' ContainerNode ')).class, 'ContainerNode')
  t.equal(read(typed('ContainerNode', 'xmlns="urn:x"')).class, 'ContainerNode')
  t.equal(read(`<vos:node ${HEAD} uri="${URI}"/>`).class, 'Node', 'no type')
  t.equal(
    read(`<vos:node ${HEAD} uri="${URI}" type="vos:LinkNode"/>`).class,
    'Node',
    'a type of no namespace is not xsi:type',
  )
})

t.test('it refuses types it does not know with TypeNotSupported', async (t) => {
  for (const type of ['vos:TableNode', '', 'vos:', ':DataNode:x', 'a:b:DataNode', 'vos:datanode', 'vos:__proto__', 'constructor', 'xsi:DataNode']) {
    t.equal(refusal(() => read(`<vos:node ${HEAD} uri="${URI}" xsi:type="${type}"/>`)).fault, 'TypeNotSupported', type)
  } /* prettier-ignore */
})

t.test('it does without lists, and with empty ones', async (t) => {
  t.strictSame(read(`<node xmlns="${VOS}" uri="${URI}"/>`), { uri: URI, class: 'Node', properties: [] })
  t.strictSame(read(`<node xmlns="${VOS}" uri="${URI}"><properties/></node>`), {
    uri: URI,
    class: 'Node',
    properties: [],
  })
})

t.test('it keeps the text of a property as it stands, CDATA and comments resolved', async (t) => {
  const property = (inner: string, attributes = ''): string | null | undefined =>
    read(
      `<vos:node ${HEAD} uri="${URI}"><vos:properties><vos:property uri="p" ${attributes}>${inner}</vos:property></vos:properties></vos:node>`,
    ).properties[0]?.value
  t.equal(property(' a<![CDATA[<b>&]]>c<!-- d -->e&#x1F701;\r\n'), ' a<b>&ce🜁\n')
  t.equal(property(''), '')
  t.equal(property('', 'xsi:nil="false"'), '')
  t.equal(property('text all the same', 'xsi:nil="1"'), null)
  t.equal(property('x', 'nil="true"'), 'x', 'nil of no namespace says nothing')
})

t.test('it passes over foreign elements and attributes', async (t) => {
  const node =
    read(`<vos:node ${HEAD} xmlns:o="urn:o" o:uri="urn:other" uri="${URI}" version="2.1"><o:properties><vos:property uri="p">x</vos:property></o:properties>
    <vos:whatever/><properties><property uri="q"/></properties></vos:node>`)
  t.strictSame(node, { uri: URI, class: 'Node', properties: [] })
})

t.test('it refuses a node that contradicts itself or lacks what it needs', async (t) => {
  const inside = (inner: string): string => `<vos:node ${HEAD} uri="${URI}">${inner}</vos:node>`
  const bad = {
    'no uri': `<vos:node ${HEAD}/>`,
    'empty uri': `<vos:node ${HEAD} uri=" "/>`,
    'no namespace': `<node uri="${URI}"/>`,
    'another namespace': `<node xmlns="urn:x" uri="${URI}"/>`,
    'another root': `<vos:transfer ${HEAD} uri="${URI}"/>`,
    'a property without uri': inside('<vos:properties><vos:property>x</vos:property></vos:properties>'),
    'two values': inside(
      '<vos:properties><vos:property uri="p">x</vos:property><vos:property uri="p">y</vos:property></vos:properties>',
    ),
    'a value and nil': inside(
      '<vos:properties><vos:property uri="p"/><vos:property uri="p" xsi:nil="true"/></vos:properties>',
    ),
    'two lists': inside('<vos:properties/><vos:properties/>'),
    'two targets': inside('<vos:target>a</vos:target><vos:target>b</vos:target>'),
    'an element as value': inside('<vos:properties><vos:property uri="p"><b/></vos:property></vos:properties>'),
    'nil that is neither': inside('<vos:properties><vos:property uri="p" xsi:nil="maybe"/></vos:properties>'),
    'busy that is neither': `<vos:node ${HEAD} uri="${URI}" xsi:type="vos:DataNode" busy="2"/>`,
    'a view without uri': inside('<vos:accepts><vos:view/></vos:accepts>'),
  }
  for (const [what, xml] of Object.entries(bad)) t.equal(refusal(() => read(xml)).fault, 'InvalidArgument', what)
})

t.test('it takes the same property twice when it says the same', async (t) => {
  const node = read(
    `<vos:node ${HEAD} uri="${URI}"><vos:properties><vos:property uri="p">x</vos:property><vos:property uri="p">x</vos:property></vos:properties></vos:node>`,
  )
  t.strictSame(node.properties, [{ uri: 'p', value: 'x' }])
})
