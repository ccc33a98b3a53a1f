/** Capabilities, availability and the three lists. */
import t from 'tap'
import { writeProperties, writeProtocols, writeViews } from '../../src/codec/lists.ts'
import { writeAvailability, writeCapabilities } from '../../src/codec/vosi.ts'
import { readXml } from '../../src/codec/xml-reader.ts'
import { KNOWN_PROPERTIES } from '../../src/vospace/property.ts'
import { PROTOCOL, SECURITY, VIEW } from '../../src/vospace/transfer.ts'
import { complaints, noPublished, ownFile, publishedFile, validates } from './codec-validator.ts'

const URL_BASE = 'https://localhost:8443/karst'
const UP = Date.UTC(2026, 2, 1)

t.test('it writes capabilities with the prefixes and the un-namespaced elements clients look for', async (t) => {
  const xml = writeCapabilities([
    { standardId: 'ivo://ivoa.net/std/VOSI#capabilities', url: `${URL_BASE}/capabilities`, securityMethods: [] },
    {
      standardId: 'ivo://ivoa.net/std/VOSpace/v2.0#nodes',
      url: `${URL_BASE}/nodes?a&b`,
      use: 'base',
      securityMethods: [null, SECURITY.certificate],
    },
  ])
  t.equal(
    xml,
    `<?xml version="1.0" encoding="UTF-8"?>
<vosi:capabilities xmlns:vosi="http://www.ivoa.net/xml/VOSICapabilities/v1.0" xmlns:vs="http://www.ivoa.net/xml/VODataService/v1.1" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <capability standardID="ivo://ivoa.net/std/VOSI#capabilities">
    <interface xsi:type="vs:ParamHTTP" role="std">
      <accessURL use="full">${URL_BASE}/capabilities</accessURL>
    </interface>
  </capability>
  <capability standardID="ivo://ivoa.net/std/VOSpace/v2.0#nodes">
    <interface xsi:type="vs:ParamHTTP" role="std">
      <accessURL use="base">${URL_BASE}/nodes?a&amp;b</accessURL>
      <securityMethod/>
      <securityMethod standardID="ivo://ivoa.net/sso#tls-with-certificate"/>
    </interface>
  </capability>
</vosi:capabilities>
`,
  )
  t.equal(readXml(Buffer.from(xml)).children[0]?.namespace, '')
  await validates(t, 'capabilities', [xml])
})

t.test('it writes availability, up or down', async (t) => {
  const up = writeAvailability({ available: true, upSince: UP, notes: [], clientIp: '::ffff:127.0.0.1' })
  t.match(up, '<vosi:available>true</vosi:available>\n  <vosi:upSince>2026-03-01T00:00:00.000Z</vosi:upSince>')
  t.match(up, '<!--<clientip>::ffff:127.0.0.1</clientip>-->')
  const down = writeAvailability({ available: false, upSince: UP, notes: ['disk <full>', 'bell \x07'] })
  t.notMatch(down, 'clientip')
  await validates(t, 'availability', [up, down])
})

t.test('it lets nothing out of the comment', async (t) => {
  const xml = writeAvailability({ available: true, upSince: UP, notes: [], clientIp: '1.2.3.4--><vosi:evil/><!--' })
  t.strictSame(
    readXml(Buffer.from(xml)).children.map((element) => element.name),
    ['available', 'upSince'],
  )
})

t.test('it writes protocols, views and properties in their wrappers', async (t) => {
  const protocols = writeProtocols({ accepts: [], provides: [PROTOCOL.httpsget, PROTOCOL.httpsput] })
  const views = writeViews({ accepts: [VIEW.any, VIEW.binary], provides: [VIEW.default, VIEW.binary] })
  const properties = writeProperties({
    accepts: KNOWN_PROPERTIES,
    provides: KNOWN_PROPERTIES,
    contains: ['custom:<&"'],
  })
  t.match(protocols, `<vos:accepts/>\n  <vos:provides>\n    <vos:protocol uri="${PROTOCOL.httpsget}"/>`)
  t.strictSame(
    readXml(Buffer.from(properties)).children.map((list) => [list.name, list.children.length]),
    [['accepts', KNOWN_PROPERTIES.length], ['provides', KNOWN_PROPERTIES.length], ['contains', 1]],
  ) /* prettier-ignore */
  await validates(t, 'vospace', [protocols, views, properties])
})

t.test('its validator does find faults', { skip: noPublished }, async (t) => {
  const vos = 'xmlns:vos="http://www.ivoa.net/xml/VOSpace/v2.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
  const bad = {
    vospace: `<vos:node ${vos} uri="vos://a~b/c" xsi:type="vos:ContainerNode"><vos:properties/><vos:accepts/><vos:provides/><vos:capabilities/></vos:node>`,
    job: '<uws:job xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0" version="1.1"><uws:jobId>a</uws:jobId></uws:job>',
    availability: '<a:availability xmlns:a="http://www.ivoa.net/xml/VOSIAvailability/v1.0"/>',
    capabilities:
      '<c:capabilities xmlns:c="http://www.ivoa.net/xml/VOSICapabilities/v1.0"><capability/></c:capabilities>',
  } as const
  for (const document of ['vospace', 'job', 'availability', 'capabilities'] as const) {
    t.not(await complaints(ownFile(document), [bad[document]]), '', document)
    if (document !== 'capabilities') t.not(await complaints(publishedFile(document), [bad[document]]), '', document)
  }
})
