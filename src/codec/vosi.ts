/** What VOSI asks of a service: what it can do, and whether it is up (VOSI 1.1; wire.md 3.8, 6.1). */
import { VODATASERVICE, VOSI_AVAILABILITY, VOSI_CAPABILITIES, XSI } from './namespaces.ts'
import { attribute, textElement, XML_DECLARATION } from './xml-text.ts'

export interface Capability {
  readonly standardId: string
  readonly url: string
  /** base: clients append a path. Default full. */
  readonly use?: 'full' | 'base'
  /** standardIDs; null: anonymous. None at all means anonymous only. */
  readonly securityMethods: readonly (string | null)[]
}

/**
 * The capabilities document. Only the root is in a namespace; prefixes xsi and vs are looked for by name by clients.
 */
export function writeCapabilities(capabilities: readonly Capability[]): string {
  const namespaces = ` xmlns:vosi="${VOSI_CAPABILITIES}" xmlns:vs="${VODATASERVICE}" xmlns:xsi="${XSI}"`
  const list = capabilities.map(capabilityElement).join('')
  return `${XML_DECLARATION}<vosi:capabilities${namespaces}>\n${list}</vosi:capabilities>\n`
}

function capabilityElement({ standardId, url, use = 'full', securityMethods }: Capability): string {
  const methods = securityMethods.map(
    (method) => `      <securityMethod${method === null ? '' : attribute('standardID', method)}/>\n`,
  )
  return `  <capability${attribute('standardID', standardId)}>
    <interface xsi:type="vs:ParamHTTP" role="std">
      ${textElement('accessURL', url, attribute('use', use))}
${methods.join('')}    </interface>
  </capability>
`
}

export interface Availability {
  readonly available: boolean
  /** Milliseconds since 1970. */
  readonly upSince: number
  readonly notes: readonly string[]
  /** As the service sees it; OpenCADC's tests look for it, in a comment because the schema has no room for it. */
  readonly clientIp?: string
}

export function writeAvailability({ available, upSince, notes, clientIp }: Availability): string {
  const lines = [
    `<vosi:available>${available}</vosi:available>`,
    `<vosi:upSince>${new Date(upSince).toISOString()}</vosi:upSince>`,
    ...notes.map((note) => textElement('vosi:note', note)),
    // nothing but an address gets into the comment, so nothing ends it
    ...(clientIp === undefined ? [] : [`<!--<clientip>${clientIp.replace(/[^0-9A-Fa-f:.]/g, '')}</clientip>-->`]),
  ]
  const body = lines.map((line) => `  ${line}\n`).join('')
  return `${XML_DECLARATION}<vosi:availability xmlns:vosi="${VOSI_AVAILABILITY}">\n${body}</vosi:availability>\n`
}
