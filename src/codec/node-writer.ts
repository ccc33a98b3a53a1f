/** Node documents as clients accept them (wire.md 1.3). Plain strings: a builder takes seconds for what a listing does in milliseconds. */
import { type Listing, type NodeDocument, type Property } from '../vospace/document.ts'
import { VOS, XSI } from './namespaces.ts'
import { attribute, escapeAttribute, escapeText, textElement, XML_DECLARATION } from './xml-text.ts'

const NAMESPACES = ` xmlns:vos="${VOS}" xmlns:xsi="${XSI}"`
/** UTF-16 units gathered before a chunk is handed on. */
const CHUNK = 1 << 16

/** One node, as root of its document; a container without its children. */
export function writeNode(node: NodeDocument): string {
  return XML_DECLARATION + nodeElement(node, '', NAMESPACES)
}

/**
 * A container and its children, in chunks of about 64 KiB. Nothing is handed on before the first chunk is full, so
 * a short listing that fails has said nothing yet. What `children` throws passes through.
 */
export async function* writeListing(listing: Listing): AsyncGenerator<string, void, undefined> {
  const { node, children } = listing
  const empty = nodeElement({ ...node, class: 'ContainerNode' }, '', NAMESPACES)
  const opening = empty.slice(0, empty.lastIndexOf('<vos:nodes/>'))
  let chunk = `${XML_DECLARATION}${opening}<vos:nodes>\n`
  for await (const child of children) {
    chunk += nodeElement(child, '    ', '')
    if (chunk.length < CHUNK) continue
    yield chunk
    chunk = ''
  }
  yield `${chunk}  </vos:nodes>\n</vos:node>\n`
}

/** The order of the elements is the schema's: properties, accepts, provides, capabilities, nodes or target. */
function nodeElement(node: NodeDocument, indent: string, namespaces: string): string {
  const hasViews = node.class !== 'Node' && node.class !== 'LinkNode'
  const isContainer = node.class === 'ContainerNode'
  // Java reads busy of data nodes without looking whether it is there; containers may do without
  const busy = hasViews && (node.busy !== undefined || !isContainer) ? ` busy="${node.busy ?? false}"` : ''
  // the prefix of xsi:type is compared as text by clients (wire.md trap 5)
  let xml = `${indent}<vos:node${namespaces} uri="${escapeAttribute(node.uri)}" xsi:type="vos:${node.class}"${busy}>\n`
  xml += propertiesElement(node.properties, `${indent}  `)
  if (hasViews) {
    xml += viewsElement('accepts', node.accepts, `${indent}  `)
    xml += viewsElement('provides', node.provides, `${indent}  `)
    xml += `${indent}  <vos:capabilities/>\n`
  }
  if (isContainer) xml += `${indent}  <vos:nodes/>\n`
  if (node.class === 'LinkNode') xml += `${indent}  ${textElement('vos:target', node.target ?? '')}\n`
  return `${xml}${indent}</vos:node>\n`
}

function propertiesElement(properties: readonly Property[], indent: string): string {
  if (properties.length === 0) return `${indent}<vos:properties/>\n`
  const sorted = properties.toSorted((a, b) => (a.uri < b.uri ? -1 : a.uri > b.uri ? 1 : 0))
  let xml = `${indent}<vos:properties>\n`
  for (const { uri, value, readOnly } of sorted) {
    xml += `${indent}  <vos:property uri="${escapeAttribute(uri)}"${readOnly === true ? ' readOnly="true"' : ''}`
    xml += value === null ? ' xsi:nil="true"/>\n' : `>${escapeText(value)}</vos:property>\n`
  }
  return `${xml}${indent}</vos:properties>\n`
}

function viewsElement(name: string, views: readonly string[] = [], indent: string): string {
  if (views.length === 0) return `${indent}<vos:${name}/>\n`
  const list = views.map((uri) => `${indent}  <vos:view${attribute('uri', uri)}/>\n`).join('')
  return `${indent}<vos:${name}>\n${list}${indent}</vos:${name}>\n`
}
