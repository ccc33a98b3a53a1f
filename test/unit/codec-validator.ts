/** Validation by xmllint: against our own schemas, and against the published ones where the folder with them is present. */
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type t from 'tap'
import { needs } from '../parts.ts'

const OWN = fileURLToPath(new URL('../../schemas/', import.meta.url))
const SHARED = fileURLToPath(new URL('../../../shared/xsd/', import.meta.url))

export type Document = 'vospace' | 'job' | 'availability' | 'capabilities'

export function ownFile(document: Document): string {
  return join(OWN, document === 'vospace' ? 'vospace-2.1.xsd' : `${document}.xsd`)
}

const scratch = mkdtempSync(join(tmpdir(), 'karst-codec-'))
process.on('exit', () => {
  rmSync(scratch, { recursive: true, force: true })
})

/** Why validation cannot be done here; false: it can. In the form of tap's option. */
export const noXmllint: string | false = needs('xmllint')
export const noPublished: string | false =
  noXmllint === false && !existsSync(SHARED) ? 'the published schemas (../shared/xsd) are not here' : noXmllint

/** One sub-test with our schema, one with the published one: each document is valid. */
export async function validates(t: Tap, document: Document, documents: readonly string[]): Promise<void> {
  await t.test('it is valid by our own schema', { skip: noXmllint }, async (t) => {
    t.equal(await complaints(ownFile(document), documents), '')
  })
  await t.test('it is valid by the published schema', { skip: noPublished }, async (t) => {
    t.equal(await complaints(publishedFile(document), documents.map(asPublished)), '')
  })
}

/** What the published schema has a type for and no element, under the name that its wrapper (below) gives it. */
export function asPublished(xml: string): string {
  const names: Record<string, string> = { protocols: 'getProtocols', views: 'getViews', properties: 'getProperties' }
  const root = /<vos:(protocols|views|properties) xmlns/.exec(xml)?.[1] ?? ''
  const name = names[root]
  if (name === undefined) return xml
  return xml.replace(`<vos:${root} xmlns`, `<vos:${name} xmlns`).replace(`</vos:${root}>`, `</vos:${name}>`)
}

type Tap = Pick<typeof t, 'test' | 'equal'>

/** What xmllint has against the documents; empty: nothing. */
export async function complaints(schema: string, documents: readonly string[]): Promise<string> {
  const folder = mkdtempSync(join(scratch, 'documents-'))
  const files = documents.map((text, n) => {
    const file = join(folder, `${n}.xml`)
    writeFileSync(file, text)
    return file
  })
  const [status, stderr] = await new Promise<[number | null, string]>((resolve) => {
    const child = execFile('xmllint', ['--nonet', '--noout', '--schema', schema, ...files], (_error, _out, err) => {
      resolve([child.exitCode, err])
    })
  })
  const bad = stderr.split('\n').filter((line) => line !== '' && !line.endsWith(' validates'))
  return status === 0 ? '' : bad.slice(0, 5).join('\n')
}

/** The published schemas with their imports made local, and with what they leave out (wire.md 1.2). */
export function publishedFile(document: Document): string {
  const file = join(scratch, `published-${document}.xsd`)
  if (!existsSync(file)) {
    copyLocal()
    writeFileSync(file, WRAPPERS[document])
  }
  return file
}

const VOS = 'http://www.ivoa.net/xml/VOSpace/v2.0'
const SCHEMA = '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"'
const STC = 'http://www.ivoa.net/xml/STC/stc-v1.30.xsd'

const WRAPPERS: Record<Document, string> = {
  // the published schema has a type for each of these and no element
  vospace: `${SCHEMA} xmlns="${VOS}" targetNamespace="${VOS}" elementFormDefault="qualified">
    <xs:include schemaLocation="opencadc-VOSpace-2.1.xsd"/>
    <xs:element name="node" type="Node"/>
    <xs:element name="getProtocols" type="GetProtocolsResponse"/>
    <xs:element name="getViews" type="GetViewsResponse"/>
    <xs:element name="getProperties" type="GetPropertiesResponse"/>
  </xs:schema>`,
  job: `${SCHEMA}>
    <xs:import namespace="http://www.ivoa.net/xml/UWS/v1.0" schemaLocation="UWS-v1.1.xsd"/>
    <xs:import namespace="${VOS}" schemaLocation="opencadc-VOSpace-2.1.xsd"/>
  </xs:schema>`,
  availability: `${SCHEMA}>
    <xs:import namespace="http://www.ivoa.net/xml/VOSIAvailability/v1.0" schemaLocation="VOSIAvailability-v1.0.xsd"/>
  </xs:schema>`,
  capabilities: `${SCHEMA}>
    <xs:import namespace="http://www.ivoa.net/xml/VOSICapabilities/v1.0" schemaLocation="VOSICapabilities-v1.0.xsd"/>
    <xs:import namespace="http://www.ivoa.net/xml/VODataService/v1.1" schemaLocation="VODataService-v1.1.xsd"/>
  </xs:schema>`,
}

const LOCAL: Record<string, string> = {
  'http://www.ivoa.net/xml/Xlink/xlink.xsd': 'XLINK.xsd',
  'http://www.ivoa.net/xml/VOResource/v1.0': 'VOResource-v1.0.xsd',
  [STC]: 'stc.xsd',
}

function copyLocal(): void {
  for (const name of [
    'opencadc-VOSpace-2.1',
    'UWS-v1.1',
    'XLINK',
    'VOSIAvailability-v1.0',
    'VOSICapabilities-v1.0',
    'VOResource-v1.0',
    'VODataService-v1.1',
  ]) /* prettier-ignore */ {
    const text = readFileSync(join(SHARED, `${name}.xsd`), 'utf8')
    const local = text.replace(/schemaLocation="([^"]*)"/g, (_, url: string) => `schemaLocation="${LOCAL[url] ?? url}"`)
    writeFileSync(join(scratch, `${name}.xsd`), local)
  }
  // not among the published files at hand, and of no matter for what we write
  const stub = `<xs:complexType name="stcDescriptionType"/><xs:element name="STCResourceProfile"/>`
  writeFileSync(join(scratch, 'stc.xsd'), `${SCHEMA} targetNamespace="${STC}">${stub}</xs:schema>`)
}
