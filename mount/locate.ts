// Where the mount API of a vos URI's service is: a URL that was named, or the registry's word and the service's capabilities.
import { get } from 'node:https'
import { readFile } from 'node:fs/promises'
import { readXml, type XmlElement } from '../src/codec/xml-reader.ts'
import { Fault, isFault } from '../src/vospace/fault.ts'
import { type NodePath } from '../src/vospace/path.ts'
import { parseVosUri } from '../src/vospace/uri.ts'

export interface LocateOptions {
  /** `vos://karst.local~karst/home/alice` */
  readonly uri: string
  /** Service base, `https://host:port/karst`: nothing is looked up. */
  readonly url?: string
  /** URL of the resource-caps (`https://host/reg/resource-caps`), or a file with such lines. */
  readonly registry?: string
  /** PEM file of the authorities that registry and service may have their certificates from. */
  readonly ca?: string
}

export interface Located {
  /** Service base, for `connect`. */
  readonly url: string
  readonly path: NodePath
}

const FS_V1 = 'ivo://karst.local/std/karst#fs-1.0'
const LARGEST = 1 << 20
/** Milliseconds. */
const PATIENCE = 30_000

/** Throws InvalidURI, InvalidArgument where nothing says where the service is, ServiceBusy where registry or service do not answer. */
export async function locate(options: LocateOptions): Promise<Located> {
  const { authority, path } = parseVosUri(options.uri)
  if (options.url !== undefined) return { url: options.url, path }
  if (options.registry === undefined) {
    throw new Fault('InvalidArgument', `where is ${authority}? Name its registry (--registry URL) or its URL (--url)`)
  }
  const resourceId = `ivo://${authority.replaceAll('~', '/')}`
  const capabilities = capabilitiesUrl(await fetchText(options.registry, options.ca), resourceId)
  if (capabilities === undefined) throw new Fault('InvalidArgument', `${options.registry} does not know ${resourceId}`)
  return { url: serviceUrl(await fetchText(capabilities, options.ca), capabilities), path }
}

/** Lines of `resource ID = URL`; `#` starts a comment. */
function capabilitiesUrl(text: string, resourceId: string): string | undefined {
  for (const line of text.split('\n')) {
    const [key, ...value] = line.split('=')
    if (key?.trim().toLowerCase() === resourceId) return value.join('=').trim()
  }
  return undefined
}

function serviceUrl(xml: string, from: string): string {
  const capability = readXml(Buffer.from(xml)).children.find(({ attributes }) => attributes.get('standardID') === FS_V1)
  const url = capability === undefined ? undefined : descendant(capability, 'accessURL')?.text.trim()
  if (url === undefined || !url.endsWith('/fs/v1')) {
    throw new Fault('OperationNotSupported', `${from}: the service has no mount API (${FS_V1})`)
  }
  return url.slice(0, -'/fs/v1'.length)
}

function descendant(element: XmlElement, name: string): XmlElement | undefined {
  for (const child of element.children) {
    const found = child.name === name ? child : descendant(child, name)
    if (found !== undefined) return found
  }
  return undefined
}

async function fetchText(from: string, ca: string | undefined): Promise<string> {
  if (!/^[a-z]+:\/\//i.test(from)) return readFile(from, 'utf8')
  const url = new URL(from)
  if (url.protocol !== 'https:') throw new Fault('InvalidArgument', `not an https URL: ${from}`)
  const authorities = ca === undefined ? {} : { ca: await readFile(ca) }
  try {
    return await fetchOver(url, authorities)
  } catch (error) {
    if (isFault(error)) throw error
    const why = error instanceof Error ? error.message : String(error)
    throw new Fault('ServiceBusy', `${from}: ${why}`, { errno: 'EIO', cause: error })
  }
}

function fetchOver(url: URL, authorities: { ca?: Buffer }): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get(url, { ...authorities, signal: AbortSignal.timeout(PATIENCE), agent: false }, (answer) => {
      let text = ''
      if (answer.statusCode !== 200) {
        answer.destroy()
        reject(new Fault('ServiceBusy', `${url.href}: status ${answer.statusCode ?? 0}`, { errno: 'EIO' }))
        return
      }
      answer.setEncoding('utf8')
      answer.on('data', (chunk: string) => {
        text += chunk
        if (text.length > LARGEST) answer.destroy(new Error('answer too long'))
      })
      answer.on('end', () => resolve(text))
      answer.on('error', reject)
    })
    request.on('error', reject)
  })
}
