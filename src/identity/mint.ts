// Issues certificates: RFC 3820 proxies for anybody's credential, and what the development authority needs (its own
// certificate, servers, users). RSA-2048 unless asked otherwise: grid tools cannot read EC keys.
import { createPrivateKey, generateKeyPair, type KeyObject, randomBytes, randomInt } from 'node:crypto'
import { isIP } from 'node:net'
import { promisify } from 'node:util'
import { Fault } from '../vospace/fault.ts'
import { Certificate } from './certificate.ts'
import { readDer, TAG } from './der.ts'
import {
  keyIdentifier,
  signCertificate,
  writeBitString,
  writeBoolean,
  writeExtension,
  writeInteger,
  writeName,
  writeOid,
  writeRdn,
  writeSequence,
  writeTlv,
} from './der-writer.ts'
import { OID } from './oid.ts'
import { type Credential, keyPem, pemCertificates, toPem } from './pem.ts'

/** PEM texts. */
export interface Authority {
  readonly certificate: string
  readonly key: string
}

export type KeyKind = 'rsa' | 'ec'

export interface ProxyRequest {
  /** PEM of the end entity or proxy that signs, and of its key. */
  readonly issuerCert: string
  readonly issuerKey: string
  /** How long the proxy is good, in hours; never longer than its issuer. */
  readonly hours: number
  /** How many proxies may follow below it; any number when absent. */
  readonly pathLen?: number
  /** Object identifier of the policy language; inheritAll when absent, or limited below a limited proxy. */
  readonly policy?: string
  /** The key to certify (a delegation), else a new one of that kind is made. */
  readonly publicKey?: KeyObject
  readonly newKey?: KeyKind
}

const DAY = 86_400_000
const MINUTE = 60_000
// Digital signature and key encipherment; RFC 5280 4.2.1.3. EC keys do not encipher.
const KEY_USAGE: Readonly<Record<KeyKind, Buffer>> = {
  rsa: writeBitString(Buffer.from([0xa0]), 5),
  ec: writeBitString(Buffer.from([0x80]), 7),
}
const CA_KEY_USAGE = writeBitString(Buffer.from([0x06]), 1)

const makePair = promisify(generateKeyPair)

async function newKeyPair(kind: KeyKind): Promise<{ publicKey: KeyObject; privateKey: KeyObject }> {
  if (kind === 'ec') return makePair('ec', { namedCurve: 'prime256v1' })
  return makePair('rsa', { modulusLength: 2048 })
}

const kindOf = (key: KeyObject): KeyKind => (key.asymmetricKeyType === 'rsa' ? 'rsa' : 'ec')

const parse = (pem: string): Certificate => {
  const [der] = pemCertificates(pem)
  if (!der) throw new Fault('InvalidData', 'no PEM certificate')
  return new Certificate(der)
}

// Positive, and 16 octets: no two certificates of an authority share one.
const newSerial = (): Buffer => {
  const octets = randomBytes(16)
  octets[0] = ((octets[0] ?? 0) & 0x3f) | 0x40
  return octets
}

const subjectKeyId = (key: KeyObject): Buffer =>
  writeExtension(OID.subjectKeyId, false, writeTlv(TAG.octetString, keyIdentifier(key)))

const authorityKeyId = (identifier: Buffer): Buffer =>
  writeExtension(OID.authorityKeyId, false, writeSequence(writeTlv(0x80, identifier)))

const validFor = (days: number): { notBefore: Date; notAfter: Date } => {
  const now = Date.now()
  // A client whose clock is a little behind may use it at once.
  return { notBefore: new Date(now - 5 * MINUTE), notAfter: new Date(now + days * DAY) }
}

/** A new authority for development: RSA-2048, ten years, may sign end entities only. */
export async function mintDevelopmentCa(name: string): Promise<Authority> {
  const { publicKey, privateKey } = await newKeyPair('rsa')
  const subject = writeName([
    ['O', 'karst development'],
    ['CN', name],
  ])
  const der = signCertificate(
    {
      issuer: subject,
      subject,
      serial: newSerial(),
      ...validFor(3650),
      publicKey,
      extensions: [
        writeExtension(OID.basicConstraints, true, writeSequence(writeBoolean(true), writeInteger(0))),
        writeExtension(OID.keyUsage, true, CA_KEY_USAGE),
        subjectKeyId(publicKey),
        authorityKeyId(keyIdentifier(publicKey)),
      ],
    },
    privateKey,
  )
  return { certificate: toPem('CERTIFICATE', der), key: keyPem(privateKey) }
}

// The identifier that the issuer's own certificate states, since a site's authority may compute it otherwise.
function issuerKeyId(issuer: Certificate): Buffer {
  const stated = issuer.extensions.get(OID.subjectKeyId)
  return stated ? readDer(stated.value, TAG.octetString).value : keyIdentifier(issuer.publicKey)
}

interface Issue {
  readonly subject: Buffer
  readonly days: number
  readonly use: string
  readonly more?: readonly Buffer[]
  readonly kind?: KeyKind
}

async function issue(
  authority: Authority,
  { subject, days, use, more = [], kind = 'rsa' }: Issue,
): Promise<Credential> {
  const ca = parse(authority.certificate)
  const { publicKey, privateKey } = await newKeyPair(kind)
  const { notBefore, notAfter } = validFor(days)
  const der = signCertificate(
    {
      issuer: ca.subjectDer,
      subject,
      serial: newSerial(),
      notBefore: notBefore > ca.notBefore ? notBefore : ca.notBefore,
      notAfter: notAfter < ca.notAfter ? notAfter : ca.notAfter,
      publicKey,
      extensions: [
        writeExtension(OID.basicConstraints, true, writeSequence()),
        writeExtension(OID.keyUsage, true, KEY_USAGE[kind]),
        writeExtension(OID.extendedKeyUsage, false, writeSequence(writeOid(use))),
        subjectKeyId(publicKey),
        authorityKeyId(issuerKeyId(ca)),
        ...more,
      ],
    },
    createPrivateKey(authority.key),
  )
  return { certificate: toPem('CERTIFICATE', der), key: keyPem(privateKey), chain: [] }
}

// RFC 5280 4.2.1.6: an address is 4 or 16 octets. URL writes IPv6 in its one normal form, in groups of hexadecimal.
function addressOctets(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number))
  const [left = '', right = ''] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split('::')
  const groups = (text: string): number[] => (text === '' ? [] : text.split(':').map((group) => parseInt(group, 16)))
  const head = groups(left)
  const tail = groups(right)
  const all = [...head, ...Array<number>(8 - head.length - tail.length).fill(0), ...tail]
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 0xff]))
}

/** A certificate for a server of those host names and addresses (no brackets); at least one. 825 days. */
export async function issueServerCertificate(authority: Authority, hosts: readonly string[]): Promise<Credential> {
  const [first] = hosts
  if (first === undefined) throw new Fault('InvalidArgument', 'a server certificate needs a host name')
  const names = hosts.map((host) =>
    isIP(host) === 0 ? writeTlv(0x82, Buffer.from(host, 'latin1')) : writeTlv(0x87, addressOctets(host)),
  )
  const altNames = writeExtension(OID.subjectAltName, false, writeSequence(...names))
  return issue(authority, { subject: writeName([['CN', first]]), days: 825, use: OID.serverAuth, more: [altNames] })
}

/** An end-entity certificate for a user; the attributes in DER order, for instance [['C', 'CA'], ['CN', 'alice']]. */
export async function issueUserCertificate(
  authority: Authority,
  dnAttributes: readonly (readonly [type: string, value: string])[],
  days: number,
  kind: KeyKind = 'rsa',
): Promise<Credential> {
  return issue(authority, { subject: writeName(dnAttributes), days, use: OID.clientAuth, kind })
}

/** A client certificate for that subject (DER) with a new RSA key, and above it what clients shall send of the authority's own chain. */
export async function issueClientCertificate(
  authority: Credential,
  subject: Buffer,
  days: number,
): Promise<Credential> {
  const issued = await issue(authority, { subject, days, use: OID.clientAuth })
  const above = parse(authority.certificate).isSelfIssued ? [] : [authority.certificate, ...authority.chain]
  return { ...issued, chain: above }
}

function checkProxyRequest({ hours, issuerKey }: ProxyRequest, issuer: Certificate): void {
  if (!(hours > 0)) throw new Fault('InvalidArgument', 'a proxy needs a lifetime')
  if (issuer.notAfter.getTime() <= Date.now()) {
    throw new Fault('InvalidArgument', `certificate of ${issuer.name} expired at ${issuer.notAfter.toISOString()}`)
  }
  if (issuer.isCa) throw new Fault('InvalidArgument', `${issuer.name} is an authority and may not issue a proxy`)
  if (issuer.proxyInfo?.pathLength === 0) {
    throw new Fault('InvalidArgument', `proxy ${issuer.name} allows no proxy below it`)
  }
  if (!issuer.hasKey(createPrivateKey(issuerKey))) {
    throw new Fault('InvalidArgument', `the private key is not the one of ${issuer.name}`)
  }
}

/**
 * Makes an RFC 3820 proxy certificate. `key` is there when a new one was made. InvalidArgument when the issuer cannot
 * have such a proxy (expired, an authority, no proxies below it allowed, not its key).
 */
export async function mintProxy(request: ProxyRequest): Promise<{ certificate: string; key: string | undefined }> {
  const issuer = parse(request.issuerCert)
  checkProxyRequest(request, issuer)
  const pair = request.publicKey
    ? { publicKey: request.publicKey, privateKey: undefined }
    : await newKeyPair(request.newKey ?? 'rsa')
  const { publicKey } = pair
  const serial = randomInt(1, 2 ** 31)
  const now = Date.now()
  const inherited = issuer.proxyInfo?.language === OID.limited ? OID.limited : OID.inheritAll
  const policy = writeSequence(writeOid(request.policy ?? inherited))
  const pathLen = request.pathLen === undefined ? [] : [writeInteger(request.pathLen)]
  const der = signCertificate(
    {
      issuer: issuer.subjectDer,
      // The issuer's Name byte for byte, and one CN (RFC 3820 3.4).
      subject: writeSequence(readDer(issuer.subjectDer).value, writeRdn('CN', String(serial))),
      serial,
      notBefore: new Date(Math.max(now - 5 * MINUTE, issuer.notBefore.getTime())),
      notAfter: new Date(Math.min(now + request.hours * 3_600_000, issuer.notAfter.getTime())),
      publicKey,
      extensions: [
        writeExtension(OID.keyUsage, true, KEY_USAGE[kindOf(publicKey)]),
        writeExtension(OID.proxyInfo, true, writeSequence(...pathLen, policy)),
        subjectKeyId(publicKey),
        authorityKeyId(issuerKeyId(issuer)),
      ],
    },
    createPrivateKey(request.issuerKey),
  )
  return { certificate: toPem('CERTIFICATE', der), key: pair.privateKey && keyPem(pair.privateKey) }
}

/** The credential of a new proxy below another credential, with a key of its own and the whole chain. */
export async function createProxy(
  from: Credential,
  options: Pick<ProxyRequest, 'hours' | 'pathLen' | 'policy' | 'newKey'>,
): Promise<Credential> {
  const { privateKey, publicKey } = await newKeyPair(options.newKey ?? 'rsa')
  const request = { ...options, issuerCert: from.certificate, issuerKey: from.key, publicKey }
  const { certificate } = await mintProxy(request)
  return { certificate, key: keyPem(privateKey), chain: [from.certificate, ...from.chain] }
}
