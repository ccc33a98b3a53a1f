/** Questions that every reader of VOSpace documents asks of an element. Unknown elements and foreign namespaces are passed over. */
import { VOS } from './namespaces.ts'
import { xmlFault, type XmlElement } from './xml-reader.ts'

/** Throws InvalidArgument unless the root is that element of VOSpace. */
export function expectRoot(root: XmlElement, name: string): void {
  if (root.namespace === VOS && root.name === name) return
  throw xmlFault(root.line, `the root is {${root.namespace}}${root.name}, not {${VOS}}${name}`)
}

export function childrenOf(parent: XmlElement, name: string): XmlElement[] {
  return parent.children.filter((child) => child.name === name && child.namespace === VOS)
}

/** Throws InvalidArgument when there are several: which one counts would be a guess. */
export function childOf(parent: XmlElement, name: string): XmlElement | undefined {
  const [first, second] = childrenOf(parent, name)
  if (second !== undefined) throw xmlFault(second.line, `a second ${name} in ${parent.name}`)
  return first
}

/** The text as it stands. Throws InvalidArgument for an element where text belongs. */
export function textOf(element: XmlElement): string {
  const [child] = element.children
  if (child !== undefined) throw xmlFault(child.line, `${element.name} holds text, not ${child.name}`)
  return element.text
}

/** The `uri` attribute without blanks around it; throws InvalidArgument when it is missing or empty. */
export function uriOf(element: XmlElement): string {
  const uri = element.attributes.get('uri')?.trim() ?? ''
  if (uri === '') throw xmlFault(element.line, `${element.name} has no uri`)
  return uri
}

/** xs:boolean, case ignored. Throws InvalidArgument for any other word. */
export function booleanOf(element: XmlElement, text: string): boolean {
  const word = text.trim().toLowerCase()
  if (word === 'true' || word === '1') return true
  if (word === 'false' || word === '0') return false
  throw xmlFault(element.line, `${element.name}: true or false, not ${JSON.stringify(word.slice(0, 100))}`)
}
