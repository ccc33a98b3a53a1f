/** Node documents as clients send them, read as leniently as wire.md 1.4 asks: any prefix, any order, missing lists. */
import { type NodeClass, type NodeDocument, NODE_CLASSES, type Property } from '../vospace/document.ts'
import { Fault } from '../vospace/fault.ts'
import { booleanOf, childOf, childrenOf, expectRoot, textOf, uriOf } from './element.ts'
import { VOS, XSI } from './namespaces.ts'
import { readXml, xmlFault, type XmlElement } from './xml-reader.ts'

/**
 * The node of a PUT or POST (VOSpace 2.1 sections createNode, setNode). Children in it are passed over; a link may lack its target;
 * `busy`, `accepts` and `provides` are there only when the document had them.
 * Throws InvalidArgument (not well-formed, no uri, one property with two values), TypeNotSupported, RequestEntityTooLarge.
 */
export function readNode(xml: Buffer): NodeDocument {
  const root = readXml(xml)
  expectRoot(root, 'node')
  return {
    uri: uriOf(root),
    class: classOf(root),
    properties: propertiesOf(root),
    ...busyOf(root),
    ...viewsOf(root, 'accepts'),
    ...viewsOf(root, 'provides'),
    ...targetOf(root),
  }
}

/** No xsi:type is a plain Node. A prefix that nothing binds, or none at all, is taken for VOSpace's. */
function classOf(node: XmlElement): NodeClass {
  if (node.type === undefined) return 'Node'
  const { namespace, name } = node.type
  const known = NODE_CLASSES.find((nodeClass) => nodeClass === name)
  const unprefixed = node.attributes.get(`{${XSI}}type`)?.includes(':') !== true
  if (known !== undefined && (unprefixed || namespace === undefined || namespace === VOS)) return known
  throw new Fault('TypeNotSupported', `node type ${JSON.stringify(name.slice(0, 200))}`)
}

function propertiesOf(node: XmlElement): Property[] {
  const list = childOf(node, 'properties')
  const properties = new Map<string, Property>()
  for (const element of list === undefined ? [] : childrenOf(list, 'property')) {
    const property = propertyOf(element)
    const earlier = properties.get(property.uri)
    if (earlier !== undefined && earlier.value !== property.value) {
      throw xmlFault(element.line, `two values for ${property.uri}`)
    }
    properties.set(property.uri, property)
  }
  return [...properties.values()]
}

function propertyOf(element: XmlElement): Property {
  const uri = uriOf(element)
  const nil = element.attributes.get(`{${XSI}}nil`)
  const readOnly = element.attributes.get('readOnly')
  return {
    uri,
    value: nil !== undefined && booleanOf(element, nil) ? null : textOf(element),
    ...(readOnly !== undefined && booleanOf(element, readOnly) ? { readOnly: true } : {}),
  }
}

function busyOf(node: XmlElement): { busy?: boolean } {
  const busy = node.attributes.get('busy')
  return busy === undefined ? {} : { busy: booleanOf(node, busy) }
}

function viewsOf<Name extends 'accepts' | 'provides'>(node: XmlElement, name: Name): { [N in Name]?: string[] } {
  const list = childOf(node, name)
  if (list === undefined) return {}
  const views: { [N in Name]?: string[] } = {}
  views[name] = childrenOf(list, 'view').map(uriOf)
  return views
}

function targetOf(node: XmlElement): { target?: string } {
  const target = childOf(node, 'target')
  return target === undefined ? {} : { target: textOf(target).trim() }
}
