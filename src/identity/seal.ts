// Secrets at rest: AES-256-GCM with a key that is kept apart from the database, bound to what they belong to.
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { Fault } from '../vospace/fault.ts'

const ALGORITHM = 'aes-256-gcm'
const NONCE = 12
const TAG = 16

// The lengths too, so that two contexts are never the same bytes.
const bound = (context: readonly string[]): Buffer => Buffer.from(JSON.stringify(context))

/** Encrypts with a key of 32 bytes: nonce, tag, ciphertext. It opens only with the same `context` (a row's id and owner). */
export function seal(key: Buffer, plain: Buffer, context: readonly string[]): Buffer {
  const nonce = randomBytes(NONCE)
  const cipher = createCipheriv(ALGORITHM, key, nonce).setAAD(bound(context))
  const sealed = Buffer.concat([cipher.update(plain), cipher.final()])
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed])
}

/** What was sealed. InternalFault when the key or the context is another, or a bit was changed. */
export function unseal(key: Buffer, sealed: Buffer, context: readonly string[]): Buffer {
  try {
    const nonce = sealed.subarray(0, NONCE)
    const decipher = createDecipheriv(ALGORITHM, key, nonce, { authTagLength: TAG }).setAAD(bound(context))
    decipher.setAuthTag(sealed.subarray(NONCE, NONCE + TAG))
    return Buffer.concat([decipher.update(sealed.subarray(NONCE + TAG)), decipher.final()])
  } catch (error) {
    throw new Fault('InternalFault', `what was sealed for ${context.join(' ')} cannot be opened`, { cause: error })
  }
}
