/** In which form, and how fully, a node document is answered: XML, or JSON for who asks for it (wire.md 1.5; RFC 9110 section 12.5.1). */
import { writeNodeJson, writeListingJson } from '../codec/node-json.ts'
import { writeListing, writeNode } from '../codec/node-writer.ts'
import { type Detail } from '../space/describe.ts'
import { type Listing, type NodeDocument } from '../vospace/document.ts'
import { Fault } from '../vospace/fault.ts'
import { XML } from './endpoint.ts'
import { JSON_TYPE } from './operation.ts'
import { type Parameters } from './target.ts'

export interface NodeFormat {
  readonly type: string
  readonly node: (node: NodeDocument) => string
  readonly listing: (listing: Listing) => AsyncGenerator<string, void, undefined>
}

const AS_XML: NodeFormat = { type: XML, node: writeNode, listing: writeListing }
const AS_JSON: NodeFormat = { type: JSON_TYPE, node: writeNodeJson, listing: writeListingJson }

/**
 * The parameter `Accept` decides, being one of the two types (InvalidArgument); without it the header, where JSON must be named and wanted
 * more than XML: clients that take anything get XML.
 */
export function nodeFormat(parameters: Parameters, header: string | undefined): NodeFormat {
  const wanted = parameters.get('accept')
  if (wanted === undefined) return prefersJson(header) ? AS_JSON : AS_XML
  if (wanted === XML) return AS_XML
  if (wanted === JSON_TYPE) return AS_JSON
  throw new Fault('InvalidArgument', `Accept is ${XML} or ${JSON_TYPE}, not ${wanted}`)
}

function prefersJson(header = ''): boolean {
  if (!/json/i.test(header)) return false
  const weights = new Map(header.split(',').map(weighted))
  const weight = (...types: string[]): number => Math.max(...types.map((type) => weights.get(type) ?? 0))
  const json = weight(JSON_TYPE)
  return json > weight(XML, 'application/xml') && json >= weight('*/*', 'text/*')
}

/** A media range and its weight; one that cannot be read weighs nothing. */
function weighted(range: string): [string, number] {
  const [type = '', ...rest] = range.split(';').map((part) => part.trim().toLowerCase())
  const q = rest.find((part) => part.startsWith('q='))
  const weight = q === undefined ? 1 : Number(q.slice(2))
  return [type, Number.isFinite(weight) ? weight : 0]
}

const DETAILS: readonly string[] = ['min', 'max', 'properties', 'raw', 'none'] satisfies Detail[]

/** An unknown level is ignored, as every service does (wire.md 1.6). */
export function detailOf(parameters: Parameters): Detail {
  const detail = parameters.get('detail')?.toLowerCase() ?? 'none'
  return DETAILS.includes(detail) ? (detail as Detail) : 'none'
}
