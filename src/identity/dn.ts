// Distinguished names: as read from DER, and the forms people and programs write (RFC 2253, slash, CADC canonical).
import { children, expectTag, readDer, readOid, readText, sequence, TAG, type Tlv } from './der.ts'
import { malformed } from './certificate-fault.ts'
import { Fault } from '../vospace/fault.ts'
import { OID } from './oid.ts'

/** One attribute type and value, for instance CN=alice. */
export interface Attribute {
  readonly oid: string
  readonly value: string
}

/** RDNs in the order of the DER, usually country first; an RDN may have several attributes. */
export type DistinguishedName = readonly (readonly Attribute[])[]

const NAMES: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.4': 'SN',
  '2.5.4.5': 'serialNumber',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.9': 'STREET',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '2.5.4.12': 'title',
  '2.5.4.42': 'GN',
  '0.9.2342.19200300.100.1.1': 'UID',
  '0.9.2342.19200300.100.1.25': 'DC',
  '1.2.840.113549.1.9.1': 'emailAddress',
}

const OIDS: ReadonlyMap<string, string> = new Map([
  ...Object.entries(NAMES).map(([oid, name]): [string, string] => [name.toLowerCase(), oid]),
  ['s', '2.5.4.8'],
  ['t', '2.5.4.12'],
  ['givenname', '2.5.4.42'],
  ['surname', '2.5.4.4'],
  ['userid', '0.9.2342.19200300.100.1.1'],
  ['e', '1.2.840.113549.1.9.1'],
  ['email', '1.2.840.113549.1.9.1'],
])

/** The object identifier of an attribute name (CN, ou, 2.5.4.11, OID.2.5.4.11), or undefined. */
export function attributeOid(name: string): string | undefined {
  const dotted = /^(?:oid\.)?([0-2](?:\.\d+)+)$/i.exec(name)?.[1]
  return dotted ?? OIDS.get(name.toLowerCase())
}

const nameOf = (attribute: Attribute): string => NAMES[attribute.oid] ?? attribute.oid

/** Reads a Name (RFC 5280 4.1.2.4). Text of every DirectoryString type becomes a JavaScript string. */
export function readName(tlv: Tlv | undefined): DistinguishedName {
  return sequence(tlv).map((rdn) => {
    const attributes = children(expectTag(rdn, TAG.set))
    if (attributes.length === 0) malformed('empty RDN')
    return attributes.map((attribute) => {
      const [oid, value, rest] = sequence(attribute)
      if (rest) malformed('name')
      return { oid: readOid(oid), value: readText(value) }
    })
  })
}

const fold = (text: string, form: 'NFC' | 'NFKC'): string =>
  text.normalize(form).toLowerCase().normalize(form).replace(/\s+/g, ' ').trim()

/** Equal for names that RFC 5280 7.1 calls equal: string types, case and blanks do not count, the order of RDNs does. */
export function matchKey(name: DistinguishedName): string {
  return JSON.stringify(name.map((rdn) => rdn.map(({ oid, value }) => `${oid}=${fold(value, 'NFKC')}`).sort()))
}

const hexEscape = (character: string): string =>
  [...Buffer.from(character)].map((byte) => '\\' + byte.toString(16).padStart(2, '0')).join('')

// The escapes make the text injective: no value can look like a further RDN.
function escapeValue(value: string): string {
  return value.replace(/[,+"\\<>;]|^[# ]| $/g, '\\$&').replace(/\p{Cc}/gu, hexEscape)
}

const rdnText = (rdn: readonly Attribute[]): string =>
  rdn.map((attribute) => `${nameOf(attribute)}=${escapeValue(attribute.value)}`).join('+')

/** RFC 2253: the last RDN first, for instance `CN=alice,O=Lab,C=CA`. */
export function rfc2253(name: DistinguishedName): string {
  return name.map(rdnText).reverse().join(',')
}

/** OpenSSL's one-line form `/C=CA/O=Lab/CN=alice`: for display and signing policies only, as a value may hold a slash. */
export function slash(name: DistinguishedName): string {
  const value = (text: string): string => text.replace(/\p{Cc}/gu, (c) => hexEscape(c).replaceAll('\\', '\\x'))
  return name.map((rdn) => '/' + rdn.map((a) => `${nameOf(a)}=${value(a.value)}`).join('+')).join('')
}

/**
 * The form an identity is stored and compared in: RFC 2253, CN at the left and C at the right whichever way the
 * certificate has them (CADC issues CN first), lower case, single blanks. Two names that differ in that only are one.
 */
export function canonical(name: DistinguishedName): string {
  const rdns = countryFirst(name).map((rdn) =>
    rdn
      .map((a) => `${nameOf(a).toLowerCase()}=${escapeValue(fold(a.value, 'NFC'))}`)
      .sort()
      .join('+'),
  )
  return rdns.reverse().join(',')
}

/** The name with its RDNs in the usual order, country first and CN last, whichever way the certificate has them. */
export function countryFirst(name: DistinguishedName): DistinguishedName {
  const has = (at: number, oid: string): boolean => name.at(at)?.some((attribute) => attribute.oid === oid) ?? false
  const usual = has(-1, OID.commonName) || has(0, OID.country)
  const reversed = !usual && (has(0, OID.commonName) || has(-1, OID.country))
  return reversed ? name.toReversed() : name
}

const illegal = (text: string): never => {
  throw new Fault('InvalidArgument', `not a distinguished name: ${text}`)
}

// One attribute from `at` on: the unescaped value and where the separator that ended it is.
function readValue(text: string, at: number): { value: string; end: number } {
  const bytes: Buffer[] = []
  let significant = 0
  const quoted = text[at] === '"'
  let i = quoted ? at + 1 : at
  for (; i < text.length; i++) {
    const character = String.fromCodePoint(text.codePointAt(i) ?? 0)
    if (quoted ? character === '"' : /[,;+]/.test(character)) break
    if (character === '\\') {
      const pair = /^[0-9a-f]{2}/i.exec(text.slice(i + 1))?.[0]
      const next = /^./su.exec(text.slice(i + 1))?.[0] ?? illegal(text)
      bytes.push(pair === undefined ? Buffer.from(next) : Buffer.from(pair, 'hex'))
      i += pair === undefined ? next.length : 2
      significant = bytes.length
    } else {
      bytes.push(Buffer.from(character))
      i += character.length - 1
      if (character !== ' ' || quoted) significant = bytes.length
    }
  }
  if (quoted && text[i] !== '"') illegal(text)
  if (quoted) i += 1 + (/^ */.exec(text.slice(i + 1))?.[0].length ?? 0)
  return { value: Buffer.concat(bytes.slice(0, significant)).toString(), end: i }
}

// RFC 2253 section 2.4: a value that has no string form is # and the hex of its DER.
const hexValue = (hex: string, text: string): string => {
  try {
    return readText(readDer(Buffer.from(hex, 'hex')))
  } catch {
    return illegal(text)
  }
}

function parseRfc2253(text: string): DistinguishedName {
  const rdns: Attribute[][] = []
  let rdn: Attribute[] = []
  for (let at = 0; ;) {
    const type = /^\s*([A-Za-z0-9.]+)\s*=\s*/.exec(text.slice(at))
    const oid = attributeOid(type?.[1] ?? '')
    if (!type || oid === undefined) return illegal(text)
    at += type[0].length
    const { value, end } = readValue(text, at)
    const hex = /^#((?:[0-9a-f]{2})+)$/i.exec(text.slice(at, end).trim())?.[1]
    rdn.push({ oid, value: hex === undefined ? value : hexValue(hex, text) })
    if (text[end] !== '+') {
      rdns.push(rdn)
      rdn = []
    }
    if (end >= text.length) return rdns.reverse()
    if (!/[,;+]/.test(text[end] ?? '')) return illegal(text)
    at = end + 1
  }
}

function parseSlash(text: string): DistinguishedName {
  const rdns: Attribute[][] = []
  for (const piece of text.slice(1).split('/')) {
    const type = /^([A-Za-z0-9.]+)=/.exec(piece)?.[1]
    const oid = attributeOid(type ?? '')
    const last = rdns.at(-1)?.at(-1)
    if (oid !== undefined) rdns.push([{ oid, value: piece.slice((type?.length ?? 0) + 1) }])
    // A slash within a value, as in CN=host/x.example.org.
    else if (last) rdns[rdns.length - 1] = [{ oid: last.oid, value: `${last.value}/${piece}` }]
    else return illegal(text)
  }
  return rdns
}

/**
 * A DN that somebody wrote, in RFC 2253 or slash form: RDNs in the order that DER has them in, which is the reverse of RFC 2253's.
 * InvalidArgument for what is not a DN.
 */
export function parseDn(text: string): DistinguishedName {
  const trimmed = text.trim()
  if (trimmed.length > 4096) return illegal(`${trimmed.slice(0, 64)}...`)
  return trimmed.startsWith('/') ? parseSlash(trimmed) : parseRfc2253(trimmed)
}

/** The canonical form of a DN that somebody wrote in a configuration or a database, in either order. InvalidArgument as parseDn. */
export function canonicalDn(text: string): string {
  return canonical(parseDn(text))
}
