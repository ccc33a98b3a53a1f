/**
 * Node documents in JSON (wire.md 1.5): the XML element by element, attributes as `@name`, text as `$`, lists as `{"$": [...]}`, every
 * value a string. For clients that ask for it; nothing is read in this form.
 */
import { type Listing, type NodeDocument, type Property } from '../vospace/document.ts'
import { VOS, XSI } from './namespaces.ts'

/** UTF-16 units gathered before a chunk is handed on. */
const CHUNK = 1 << 16
const NAMESPACES = { '@xmlns:vos': VOS, '@xmlns:xsi': XSI }

/** One node; a container without its children. */
export function writeNodeJson(node: NodeDocument): string {
  return `${JSON.stringify({ 'vos:node': { ...NAMESPACES, ...nodeObject(node) } })}\n`
}

/** A container and its children, in chunks as `writeListing` hands them on. */
export async function* writeListingJson({ node, children }: Listing): AsyncGenerator<string, void, undefined> {
  const empty = JSON.stringify({ 'vos:node': { ...NAMESPACES, ...nodeObject({ ...node, class: 'ContainerNode' }) } })
  // the children come last
  const end = empty.length - ']}}}'.length
  let chunk = empty.slice(0, end)
  let separator = ''
  for await (const child of children) {
    chunk += separator + JSON.stringify(nodeObject(child))
    separator = ','
    if (chunk.length < CHUNK) continue
    yield chunk
    chunk = ''
  }
  yield `${chunk}${empty.slice(end)}\n`
}

/** The order of the members is the schema's, as in the XML. */
function nodeObject(node: NodeDocument): Record<string, unknown> {
  const hasViews = node.class !== 'Node' && node.class !== 'LinkNode'
  const isContainer = node.class === 'ContainerNode'
  return {
    '@uri': node.uri,
    '@xsi:type': `vos:${node.class}`,
    ...(hasViews && !isContainer && { '@busy': String(node.busy ?? false) }),
    'vos:properties': { $: node.properties.map(propertyObject) },
    ...(hasViews && { 'vos:accepts': views(node.accepts), 'vos:provides': views(node.provides) }),
    ...(hasViews && { 'vos:capabilities': { $: [] } }),
    ...(node.class === 'LinkNode' && { 'vos:target': { $: node.target ?? '' } }),
    ...(isContainer && { 'vos:nodes': { $: [] } }),
  }
}

function propertyObject({ uri, value, readOnly }: Property): Record<string, string> {
  const readOnlyToo = readOnly === true && { '@readOnly': 'true' }
  return { '@uri': uri, ...readOnlyToo, ...(value === null ? { '@xsi:nil': 'true' } : { $: value }) }
}

const views = (uris: readonly string[] = []): { $: { '@uri': string }[] } => ({
  $: uris.map((uri) => ({ '@uri': uri })),
})
