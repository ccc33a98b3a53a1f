/**
 * XML 1.0 with namespaces, read strictly into a small tree. Everything a request document has no use for is refused:
 * DTD, entity declarations, processing instructions, other encodings than UTF-8, excess of any kind.
 */
import { SaxesParser, type SaxesAttributeNS, type SaxesTagNS } from 'saxes'
import { Fault } from '../vospace/fault.ts'
import { XSI } from './namespaces.ts'

export interface XmlElement {
  readonly namespace: string
  /** The local part. */
  readonly name: string
  /** By `local`, or `{namespace}local` where there is a prefix. Namespace declarations are not among them. */
  readonly attributes: ReadonlyMap<string, string>
  /** xsi:type, taken apart where it stands: the prefix is a matter of the scope. */
  readonly type?: { readonly namespace: string | undefined; readonly name: string }
  readonly children: readonly XmlElement[]
  /** The element's own text, without its children's. */
  readonly text: string
  /** Counted from 1. */
  readonly line: number
}

export interface XmlLimits {
  /** Of the document; more is RequestEntityTooLarge. */
  readonly bytes: number
  /** Elements inside each other. */
  readonly depth: number
  /** In the document. */
  readonly elements: number
  /** Of one element, namespace declarations included. */
  readonly attributes: number
  /** UTF-16 units of one attribute, or of one element's own text; more is RequestEntityTooLarge. */
  readonly text: number
}

/** OpenCADC takes 32 KiB a document; some property lists of ours are longer (wire.md 1.4). */
export const XML_LIMITS: XmlLimits = { bytes: 1 << 20, depth: 64, elements: 1 << 15, attributes: 64, text: 1 << 17 }

/**
 * The root element. Throws InvalidArgument (`XML line N: why`) for what is not well-formed or not wanted, and
 * RequestEntityTooLarge. Sources: XML 1.0, Namespaces in XML 1.0.
 */
export function readXml(xml: Buffer, limits: XmlLimits = XML_LIMITS): XmlElement {
  if (xml.length > limits.bytes) tooLarge(`XML document of more than ${limits.bytes} bytes`)
  return new TreeReader(limits).read(decode(xml))
}

/** An InvalidArgument that names the line. */
export function xmlFault(line: number, why: string, options?: ErrorOptions): Fault {
  return new Fault('InvalidArgument', `XML line ${line}: ${why}`, options)
}

function decode(xml: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(xml)
  } catch (error) {
    const intact = xml.toString('utf8').split('\ufffd', 1)[0] ?? ''
    throw xmlFault(intact.split('\n').length, 'not UTF-8', { cause: error })
  }
}

function tooLarge(why: string): never {
  throw new Fault('RequestEntityTooLarge', why)
}

/** What the tree is made of while it grows. */
interface Growing extends XmlElement {
  readonly children: XmlElement[]
  text: string
}

class TreeReader {
  readonly #limits: XmlLimits
  readonly #parser = new SaxesParser({ xmlns: true })
  readonly #open: Growing[] = []
  #root: XmlElement | undefined
  #elements = 0
  #attributes = 0

  constructor(limits: XmlLimits) {
    this.#limits = limits
    const parser = this.#parser
    parser.on('error', (error) => {
      // saxes puts line:column in front, which the fault says in its own way
      throw this.#fault(error.message.replace(/^\d+:\d+: /, ''), { cause: error })
    })
    parser.on('xmldecl', ({ version, encoding }) => {
      if (version !== '1.0') throw this.#fault('only XML 1.0 is read')
      if (encoding !== undefined && encoding.toLowerCase() !== 'utf-8') throw this.#fault('only UTF-8 is read')
    })
    parser.on('doctype', () => {
      throw this.#fault('a document type declaration')
    })
    parser.on('processinginstruction', () => {
      throw this.#fault('a processing instruction')
    })
    parser.on('opentagstart', () => {
      this.#attributes = 0
    })
    parser.on('attribute', ({ value }) => {
      this.#countAttribute(value)
    })
    parser.on('opentag', (tag) => {
      this.#begin(tag)
    })
    parser.on('text', (text) => {
      this.#text(text)
    })
    parser.on('cdata', (text) => {
      this.#text(text)
    })
    parser.on('closetag', () => {
      this.#open.pop()
    })
  }

  read(text: string): XmlElement {
    this.#parser.write(text).close()
    if (this.#root === undefined) throw this.#fault('no element')
    return this.#root
  }

  #fault(why: string, options?: ErrorOptions): Fault {
    return xmlFault(this.#parser.line, why, options)
  }

  #countAttribute(value: string): void {
    if (++this.#attributes > this.#limits.attributes) throw this.#fault('too many attributes')
    if (value.length > this.#limits.text) tooLarge('XML attribute too long')
  }

  #begin(tag: SaxesTagNS): void {
    if (this.#open.length >= this.#limits.depth) throw this.#fault('elements nested too deep')
    if (++this.#elements > this.#limits.elements) throw this.#fault('too many elements')
    const attributes = attributesOf(tag)
    const type = attributes.get(`{${XSI}}type`)
    const element: Growing = {
      namespace: tag.uri,
      name: tag.local,
      attributes,
      ...(type === undefined ? {} : { type: this.#qualified(type.trim()) }),
      children: [],
      text: '',
      line: this.#parser.line,
    }
    const parent = this.#open.at(-1)
    if (parent === undefined) this.#root = element
    else parent.children.push(element)
    this.#open.push(element)
  }

  #qualified(type: string): { namespace: string | undefined; name: string } {
    const colon = type.indexOf(':')
    return { namespace: this.#parser.resolve(type.slice(0, Math.max(colon, 0))), name: type.slice(colon + 1) }
  }

  #text(text: string): void {
    const element = this.#open.at(-1)
    // blanks around the root: saxes has refused anything else there
    if (element === undefined) return
    if (element.text.length + text.length > this.#limits.text) tooLarge('XML text too long')
    element.text += text
  }
}

const NO_ATTRIBUTES: ReadonlyMap<string, string> = new Map()

function attributesOf(tag: SaxesTagNS): ReadonlyMap<string, string> {
  const list: SaxesAttributeNS[] = Object.values(tag.attributes)
  if (list.length === 0) return NO_ATTRIBUTES
  const attributes = new Map<string, string>()
  for (const { prefix, local, uri, value } of list) {
    if (prefix === 'xmlns' || (prefix === '' && local === 'xmlns')) continue
    attributes.set(prefix === '' ? local : `{${uri}}${local}`, value)
  }
  return attributes
}
