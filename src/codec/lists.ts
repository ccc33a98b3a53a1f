/** What the service knows of protocols, views and properties (VOSpace 2.1 section on service metadata; wrappers as in its examples). */
import { VOS } from './namespaces.ts'
import { attribute, XML_DECLARATION } from './xml-text.ts'

/** URIs. */
export interface AcceptsProvides {
  /** protocols: those the service uses as a client */
  readonly accepts: readonly string[]
  readonly provides: readonly string[]
}

export interface PropertyLists extends AcceptsProvides {
  /** In use by nodes now. */
  readonly contains: readonly string[]
}

/** What stands at /protocols. */
export function writeProtocols({ accepts, provides }: AcceptsProvides): string {
  return listsDocument('protocols', 'protocol', { accepts, provides })
}

/** What stands at /views. */
export function writeViews({ accepts, provides }: AcceptsProvides): string {
  return listsDocument('views', 'view', { accepts, provides })
}

/** What stands at /properties. */
export function writeProperties({ accepts, provides, contains }: PropertyLists): string {
  return listsDocument('properties', 'property', { accepts, provides, contains })
}

function listsDocument(root: string, item: string, lists: Record<string, readonly string[]>): string {
  const body = Object.entries(lists).map(([name, uris]) => {
    if (uris.length === 0) return `  <vos:${name}/>\n`
    const items = uris.map((uri) => `    <vos:${item}${attribute('uri', uri)}/>\n`)
    return `  <vos:${name}>\n${items.join('')}  </vos:${name}>\n`
  })
  return `${XML_DECLARATION}<vos:${root} xmlns:vos="${VOS}">\n${body.join('')}</vos:${root}>\n`
}
