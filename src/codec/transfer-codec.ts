/** Transfer documents, both ways (VOSpace 2.1 section on transfers; wire.md 4.1). */
import { SECURITY, type Param, type Protocol, type Transfer, type View } from '../vospace/transfer.ts'
import { booleanOf, childOf, childrenOf, expectRoot, textOf, uriOf } from './element.ts'
import { VOS } from './namespaces.ts'
import { readXml, xmlFault, type XmlElement } from './xml-reader.ts'
import { attribute, textElement, XML_DECLARATION } from './xml-text.ts'

/**
 * A transfer as a client asks for it, or as a service answers. Anything but version="2.1" is 2.0, where security methods and
 * the transfer's own parameters are passed over. Direction and URIs as they came, without blanks around.
 * Throws InvalidArgument (not well-formed, no target, no direction, a URI missing), RequestEntityTooLarge.
 */
export function readTransfer(xml: Buffer): Transfer {
  const root = readXml(xml)
  expectRoot(root, 'transfer')
  const version = root.attributes.get('version')?.trim() === '2.1' ? '2.1' : '2.0'
  const targets = childrenOf(root, 'target').map((target) => filled(target))
  if (targets.length === 0) throw xmlFault(root.line, 'transfer has no target')
  const direction = childOf(root, 'direction')
  if (direction === undefined) throw xmlFault(root.line, 'transfer has no direction')
  const view = childOf(root, 'view')
  const keepBytes = childOf(root, 'keepBytes')
  return {
    version,
    targets,
    direction: filled(direction),
    ...(view === undefined ? {} : { view: viewOf(view) }),
    protocols: childrenOf(root, 'protocol').map((protocol) => protocolOf(protocol, version)),
    ...(keepBytes === undefined ? {} : { keepBytes: booleanOf(keepBytes, textOf(keepBytes)) }),
    ...(version === '2.1' ? paramsOf(root) : {}),
  }
}

/** Text without blanks around it; throws InvalidArgument when nothing is left. */
function filled(element: XmlElement): string {
  const text = textOf(element).trim()
  if (text === '') throw xmlFault(element.line, `${element.name} is empty`)
  return text
}

function viewOf(element: XmlElement): View {
  return { uri: uriOf(element), ...paramsOf(element) }
}

function protocolOf(element: XmlElement, version: Transfer['version']): Protocol {
  const endpoint = childOf(element, 'endpoint')
  const address = endpoint === undefined ? '' : textOf(endpoint).trim()
  return {
    uri: uriOf(element),
    ...(address === '' ? {} : { endpoint: address }),
    ...paramsOf(element),
    securityMethods: version === '2.1' ? childrenOf(element, 'securityMethod').map(securityOf) : [],
  }
}

/** The schema lets a method go without a uri; as in VOSI that means no security. */
function securityOf(element: XmlElement): string {
  const uri = element.attributes.get('uri')?.trim() ?? ''
  return uri === '' ? SECURITY.anonymous : uri
}

function paramsOf(element: XmlElement): { params?: Param[] } {
  const params = childrenOf(element, 'param').map((param) => ({ uri: uriOf(param), value: textOf(param) }))
  return params.length === 0 ? {} : { params }
}

/** The document; what 2.0 does not have is left out of a 2.0 transfer (wire.md 1.1). */
export function writeTransfer(transfer: Transfer): string {
  return XML_DECLARATION + transferElement(transfer, '')
}

/** The element alone, its prefix declared, for inside a job. Every line starts with `indent`. */
export function transferElement(transfer: Transfer, indent: string): string {
  const { version, targets, direction, view, protocols, keepBytes, params } = transfer
  const is21 = version === '2.1'
  const lines = [
    ...targets.map((target) => textElement('vos:target', target)),
    textElement('vos:direction', direction),
    ...(view === undefined ? [] : uriElement('view', view.uri, paramLines(view.params))),
    ...protocols.flatMap((protocol) => protocolLines(protocol, is21)),
    ...(keepBytes === undefined ? [] : [textElement('vos:keepBytes', String(keepBytes))]),
    ...(is21 ? paramLines(params) : []),
  ]
  const body = lines.map((line) => `${indent}  ${line}\n`).join('')
  return `${indent}<vos:transfer xmlns:vos="${VOS}"${is21 ? ' version="2.1"' : ''}>\n${body}${indent}</vos:transfer>\n`
}

function protocolLines(protocol: Protocol, is21: boolean): string[] {
  return uriElement('protocol', protocol.uri, [
    ...(protocol.endpoint === undefined ? [] : [textElement('vos:endpoint', protocol.endpoint)]),
    ...paramLines(protocol.params),
    ...(is21 ? protocol.securityMethods.map((uri) => `<vos:securityMethod${attribute('uri', uri)}/>`) : []),
  ])
}

function paramLines(params: readonly Param[] = []): string[] {
  return params.map(({ uri, value }) => textElement('vos:param', value, attribute('uri', uri)))
}

function uriElement(name: string, uri: string, children: readonly string[]): string[] {
  const tag = `vos:${name}${attribute('uri', uri)}`
  if (children.length === 0) return [`<${tag}/>`]
  return [`<${tag}>`, ...children.map((child) => `  ${child}`), `</vos:${name}>`]
}
