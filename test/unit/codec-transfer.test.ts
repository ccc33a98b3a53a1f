/** Transfer documents of Java and Python clients, and our answers. */
import t from 'tap'
import { readTransfer, writeTransfer } from '../../src/codec/transfer-codec.ts'
import { SECURITY, type Transfer } from '../../src/vospace/transfer.ts'
import { evilText, random, transfer } from './codec-random.ts'
import { refusal } from './codec-refusal.ts'
import { validates } from './codec-validator.ts'

const VOS = 'http://www.ivoa.net/xml/VOSpace/v2.0'
const CORE = 'ivo://ivoa.net/vospace/core#'
const TARGET = 'vos://karst.local~karst/home/alice/t.fits'

const read = (xml: string): Transfer => readTransfer(Buffer.from(xml))
const document = (inner: string, version = ' version="2.1"'): Transfer =>
  read(`<vos:transfer xmlns:vos="${VOS}"${version}>${inner}</vos:transfer>`)

const NEGOTIATION: Transfer = {
  version: '2.1',
  targets: [TARGET],
  direction: 'pushToVoSpace',
  view: { uri: `${CORE}defaultview` },
  protocols: [
    { uri: `${CORE}httpsput`, securityMethods: [] },
    { uri: `${CORE}httpsput`, securityMethods: [SECURITY.certificate] },
  ],
  keepBytes: true,
  params: [{ uri: `${CORE}length`, value: '4096' }],
}

const WIRE = `<vos:transfer xmlns:vos="${VOS}" version="2.1">
  <vos:target>${TARGET}</vos:target>
  <vos:direction>pushToVoSpace</vos:direction>
  <vos:view uri="${CORE}defaultview"/>
  <vos:protocol uri="${CORE}httpsput"/>
  <vos:protocol uri="${CORE}httpsput">
    <vos:securityMethod uri="ivo://ivoa.net/sso#tls-with-certificate"/>
  </vos:protocol>
  <vos:keepBytes>true</vos:keepBytes>
  <vos:param uri="${CORE}length">4096</vos:param>
</vos:transfer>
`

t.test('it reads and writes the very document of wire.md 4.1', async (t) => {
  t.strictSame(read(WIRE), NEGOTIATION)
  t.equal(writeTransfer(NEGOTIATION), `<?xml version="1.0" encoding="UTF-8"?>\n${WIRE}`)
})

t.test('it reads back every transfer it writes', async (t) => {
  for (let seed = 1; seed <= 300; seed++) {
    const asked = transfer(random(seed))
    t.strictSame(read(writeTransfer(asked)), asked, `seed ${seed}`)
  }
})

t.test('it writes valid documents', async (t) => {
  const evil = evilText(random(5))
  const documents = Array.from({ length: 100 }, (_, seed) => writeTransfer(transfer(random(seed))))
  await validates(t, 'vospace', [...documents, writeTransfer({ ...NEGOTIATION, params: [{ uri: 'x', value: evil }] })])
})

t.test('it reads what a 2.0 client sends without security methods and parameters of the transfer', async (t) => {
  const inner = `<vos:target>${TARGET}</vos:target><vos:direction>pullFromVoSpace</vos:direction>
    <vos:protocol uri="${CORE}httpsget"><vos:param uri="p">kept</vos:param><vos:securityMethod uri="${SECURITY.certificate}"/></vos:protocol>
    <vos:param uri="${CORE}length">1</vos:param>`
  for (const version of ['', ' version="2.0"', ' version="3"']) {
    t.strictSame(document(inner, version), {
      version: '2.0',
      targets: [TARGET],
      direction: 'pullFromVoSpace',
      protocols: [{ uri: `${CORE}httpsget`, params: [{ uri: 'p', value: 'kept' }], securityMethods: [] }],
    })
  }
})

t.test('it leaves out of a 2.0 document what 2.0 does not have', async (t) => {
  const xml = writeTransfer({ ...NEGOTIATION, version: '2.0' })
  t.notMatch(xml, /version="2|securityMethod|param/)
  await validates(t, 'vospace', [xml])
})

t.test('it reads what Python sends: a default namespace, several security methods, no view', async (t) => {
  const sent = read(`<transfer xmlns="${VOS}" xmlns:ns0="${VOS}" version="2.1"><ns0:target> ${TARGET}
</ns0:target><direction>pullFromVoSpace</direction>
    <protocol uri="${CORE}httpsget"><securityMethod uri="${SECURITY.certificate}"/><ns0:securityMethod uri="${SECURITY.legacyToken}"/></protocol>
    <protocol uri="${CORE}httpget"/></transfer>`)
  t.strictSame(sent.targets, [TARGET])
  t.strictSame(sent.protocols, [
    { uri: `${CORE}httpsget`, securityMethods: [SECURITY.certificate, SECURITY.legacyToken] },
    { uri: `${CORE}httpget`, securityMethods: [] },
  ])
  t.equal(sent.view, undefined)
  t.equal(sent.keepBytes, undefined)
})

t.test('it reads moves and copies', async (t) => {
  const to = 'vos://karst.local~karst/home/bob'
  for (const [word, keepBytes] of [['false', false], ['true', true], [' FALSE ', false], ['1', true], ['0', false]] as const) {
    const move = document(`<vos:target>${TARGET}</vos:target><vos:direction>${to}</vos:direction><vos:keepBytes>${word}</vos:keepBytes>`)
    t.match(move, { direction: to, keepBytes }, word)
  } /* prettier-ignore */
})

t.test('it keeps the direction as it came, and several targets in order', async (t) => {
  const asked = document(
    '<vos:target>vos:a</vos:target><vos:target>vos:b</vos:target><vos:direction>PUSHtoVOSPACE</vos:direction>',
  )
  t.match(asked, { targets: ['vos:a', 'vos:b'], direction: 'PUSHtoVOSPACE', protocols: [] })
})

t.test('it takes a security method without a URI for anonymous', async (t) => {
  const asked = document(
    `<vos:target>${TARGET}</vos:target><vos:direction>pullFromVoSpace</vos:direction><vos:protocol uri="x"><vos:securityMethod/></vos:protocol>`,
  )
  t.strictSame(asked.protocols[0]?.securityMethods, [SECURITY.anonymous])
})

t.test('it refuses a transfer that contradicts itself or lacks what it needs', async (t) => {
  const target = `<vos:target>${TARGET}</vos:target>`
  const direction = '<vos:direction>pullFromVoSpace</vos:direction>'
  const bad = {
    'no target': direction,
    'empty target': `<vos:target> </vos:target>${direction}`,
    'no direction': target,
    'empty direction': `${target}<vos:direction/>`,
    'two directions': target + direction + direction,
    'two views': `${target}${direction}<vos:view uri="a"/><vos:view uri="b"/>`,
    'a view without uri': `${target}${direction}<vos:view/>`,
    'a protocol without uri': `${target}${direction}<vos:protocol/>`,
    'two endpoints': `${target}${direction}<vos:protocol uri="p"><vos:endpoint>a</vos:endpoint><vos:endpoint>b</vos:endpoint></vos:protocol>`,
    'a param without uri': `${target}${direction}<vos:param>1</vos:param>`,
    'keepBytes that is neither': `${target}${direction}<vos:keepBytes>perhaps</vos:keepBytes>`,
    'empty keepBytes': `${target}${direction}<vos:keepBytes/>`,
    'an element as target': `<vos:target><vos:a/></vos:target>${direction}`,
  }
  for (const [what, inner] of Object.entries(bad)) {
    t.match(
      refusal(() => document(inner)),
      { fault: 'InvalidArgument', detail: /^XML line 1: / },
      what,
    )
  }
  t.equal(refusal(() => read(`<vos:node xmlns:vos="${VOS}" uri="vos:a"/>`)).fault, 'InvalidArgument', 'a node')
  t.equal(refusal(() => read('<transfer/>')).fault, 'InvalidArgument', 'no namespace')
  t.equal(refusal(() => read('not XML')).fault, 'InvalidArgument')
})
