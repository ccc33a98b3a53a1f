// Signature algorithms of certificates and revocation lists: which are accepted, and why another is not.
import { type KeyObject, verify } from 'node:crypto'
import { OID } from './oid.ts'

// The hash and the kind of key that an algorithm means. MD5 and SHA-1 are left out on purpose.
const SIGNATURES: Readonly<Record<string, { readonly hash: string | null; readonly key: string }>> = {
  [OID.sha256WithRsa]: { hash: 'sha256', key: 'rsa' },
  [OID.sha384WithRsa]: { hash: 'sha384', key: 'rsa' },
  [OID.sha512WithRsa]: { hash: 'sha512', key: 'rsa' },
  [OID.ecdsaWithSha256]: { hash: 'sha256', key: 'ec' },
  [OID.ecdsaWithSha384]: { hash: 'sha384', key: 'ec' },
  [OID.ecdsaWithSha512]: { hash: 'sha512', key: 'ec' },
  [OID.ed25519]: { hash: null, key: 'ed25519' },
}

const WEAK: Readonly<Record<string, string>> = {
  '1.2.840.113549.1.1.2': 'MD2',
  '1.2.840.113549.1.1.3': 'MD4',
  '1.2.840.113549.1.1.4': 'MD5',
  '1.2.840.113549.1.1.5': 'SHA-1',
  '1.3.14.3.2.29': 'SHA-1',
  '1.2.840.10045.4.1': 'SHA-1',
  '1.2.840.10040.4.3': 'SHA-1',
}

const RSA_PSS = '1.2.840.113549.1.1.10'

/** Why a signature of that algorithm (an OID) is not accepted, to be said behind "is signed"; undefined when it is. */
export function signatureFlaw(algorithm: string): { readonly weak: boolean; readonly reason: string } | undefined {
  if (Object.hasOwn(SIGNATURES, algorithm)) return undefined
  const weak = WEAK[algorithm]
  if (weak !== undefined) return { weak: true, reason: `over ${weak}, which is broken: it needs SHA-256 or better` }
  // Its parameters choose the hash, and no authority of the grid uses it: one more thing to get wrong.
  if (algorithm === RSA_PSS) return { weak: false, reason: 'with RSA-PSS, which is not supported: use PKCS#1 or ECDSA' }
  return { weak: false, reason: `with algorithm ${algorithm}, which is not known` }
}

/**
 * Whether an RSA key is checked with as fast as any honest one. With an exponent as long as its modulus, which whoever makes a key may choose, it takes
 * a thousand times longer, and strangers send a dozen of them.
 */
export function isQuick({ asymmetricKeyDetails: details }: KeyObject): boolean {
  const { modulusLength = 0, publicExponent = 3n } = details ?? {}
  return modulusLength <= 8192 && publicExponent <= 0xffffffffn
}

/** Does the key verify the signature? Not for an algorithm that is weak or unknown, made for another kind of key, or with a key that takes long. */
export function isSignature(algorithm: string, signed: Buffer, key: KeyObject, signature: Buffer): boolean {
  const known = Object.hasOwn(SIGNATURES, algorithm) ? SIGNATURES[algorithm] : undefined
  if (!known || key.asymmetricKeyType !== known.key || !isQuick(key)) return false
  try {
    return verify(known.hash, signed, key, signature)
  } catch {
    // OpenSSL throws for a key or a signature it will not even try: that verifies nothing.
    return false
  }
}
