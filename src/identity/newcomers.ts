// People who have proved who they are and are no users here: whether the site takes them in, and under what name.
import { createHash } from 'node:crypto'
import { type User, type Users } from '../store/users.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { type Accounts, homePath } from './accounts.ts'
import { type Proof } from './proof.ts'
import { isReservedName } from './reserved-users.ts'

/** Who gets an account at their first request. */
export interface Provisioning {
  /** How they may have proved who they are; empty: an administrator makes all accounts. */
  readonly methods: readonly ('x509' | 'token')[]
  /** Patterns of distinguished names, one of which must match; undefined: any that a trusted authority vouches for. */
  readonly names?: readonly string[]
  /** Issuers of tokens; undefined: all that are trusted. */
  readonly issuers?: readonly string[]
}

/** Whether the policy takes them in. */
export function admits({ methods, names, issuers }: Provisioning, proof: Proof): boolean {
  if (proof.method === 'certificate') {
    if (!methods.includes('x509')) return false
    return names === undefined || names.some((pattern) => matchesName(pattern, proof.identity.value))
  }
  return methods.includes('token') && (issuers === undefined || issuers.includes(proof.issuer))
}

/**
 * Whether a pattern is of a distinguished name, both in canonical text. Parts are compared one by one, so that no value can pose as a further
 * part: `*` within a part is any text of it, `*` as the first part any number of parts, at least one.
 */
export function matchesName(pattern: string, name: string): boolean {
  const [first = '', ...rest] = partsOf(pattern.toLowerCase())
  const parts = partsOf(name)
  if (first !== '*') return sameParts([first, ...rest], parts)
  return parts.length > rest.length && sameParts(rest, parts.slice(parts.length - rest.length))
}

function sameParts(patterns: readonly string[], parts: readonly string[]): boolean {
  return patterns.length === parts.length && patterns.every((pattern, at) => matchesPart(pattern, parts[at] ?? ''))
}

// `+` stands between attributes of one part: a star must not reach over it, either.
function matchesPart(pattern: string, part: string): boolean {
  const [patterns, attributes] = [splitAt('+', pattern), splitAt('+', part)]
  return patterns.length === attributes.length && patterns.every((one, at) => matchesText(one, attributes[at] ?? ''))
}

// Each text between two stars is looked for once, from where the one before ended: in time linear in the name, which others have chosen.
function matchesText(pattern: string, text: string): boolean {
  const [first = '', ...rest] = pattern.split('*').map((literal) => literal.trim())
  const last = rest.pop()
  if (last === undefined) return text === first
  if (!text.startsWith(first)) return false
  let at = first.length
  for (const middle of rest) {
    const found = text.indexOf(middle, at)
    if (found < 0) return false
    at = found + middle.length
  }
  return text.length - at >= last.length && text.endsWith(last)
}

/** At commas that are not escaped (RFC 2253). */
const partsOf = (name: string): string[] => splitAt(',', name)

function splitAt(separator: ',' | '+', text: string): string[] {
  const between = separator === ',' ? /(?:[^,\\]|\\.)+/gsu : /(?:[^+\\]|\\.)+/gsu
  return (text.match(between) ?? []).map((part) => part.trim())
}

/**
 * The name they would like: the username that their issuer vouches for, or the first common name of the certificate that holds a letter. Undefined: it is
 * reserved, and only an administrator may give it. What leaves nothing to be written in ASCII becomes `user-` and eight digits.
 */
export function wantedName(proof: Proof): string | undefined {
  const said = proof.method === 'token' ? (proof.username ?? '') : commonName(proof.identity.value)
  const name = sanitised(said)
  if (name === '') return `user-${digits(proof)}`
  return isReservedName(name) ? undefined : name
}

/** What to try one after the other, until one is free. */
export function* namesLike(name: string, proof: Proof): Generator<string> {
  yield name
  for (let count = 2; count < 10; count++) yield `${name}-${count}`
  yield `${name}-${digits(proof)}`
}

const digits = ({ identity }: Proof): string =>
  createHash('sha256').update(`${identity.kind} ${identity.value}`).digest('hex').slice(0, 8)

function commonName(dn: string): string {
  const values = partsOf(dn).flatMap((part) => (/^cn=(.*)$/su.exec(part)?.[1] ?? '').split(/(?<!\\)\+/u)[0] ?? '')
  return values.map((value) => value.replace(/\\(.)/gsu, '$1')).find((value) => /\p{L}/u.test(value)) ?? ''
}

/** Longest, before a suffix. */
const LONGEST = 32

/** Lower-case ASCII as names of users are: begins with a letter, then letters, digits, `_`, `.` and `-`. */
function sanitised(text: string): string {
  return text
    .slice(0, 256)
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9_.]+/g, '-')
    .replace(/^[^a-z]+/, '')
    .slice(0, LONGEST)
    .replace(/[-_.]+$/, '')
}

export interface NewcomersOptions {
  readonly users: Users
  readonly accounts: Accounts
  readonly provisioning: Provisioning
  /** Another service gives numbers by name: who has another name there, however little, would get somebody's files. */
  readonly exactNames?: boolean
  /** More names that nobody gets by themselves. */
  readonly reserved?: readonly string[]
}

/** Directories.newcomer: makes accounts by the site's policy, and the homes that are still due, whoever made the account. */
export class Newcomers {
  readonly #options: NewcomersOptions
  /** by identity: who comes with fifty requests at once is taken in once */
  readonly #coming = new Map<string, Promise<User | undefined>>()

  constructor(options: NewcomersOptions) {
    this.#options = options
  }

  /** Undefined: they stay strangers. PermissionDenied: their name is reserved. */
  admit(proof: Proof): Promise<User | undefined> | undefined {
    const { users, provisioning } = this.#options
    if (users.byIdentity(proof.identity) === undefined && !admits(provisioning, proof)) return undefined
    const key = `${proof.identity.kind} ${proof.identity.value}`
    const coming = this.#coming.get(key) ?? this.#admit(proof).finally(() => this.#coming.delete(key))
    this.#coming.set(key, coming)
    return coming
  }

  async #admit(proof: Proof): Promise<User | undefined> {
    const { users, accounts } = this.#options
    const user = users.byIdentity(proof.identity) ?? (await this.#made(proof))
    return accounts.makeHome(user)
  }

  async #made(proof: Proof): Promise<User> {
    const { users, accounts, exactNames = false, reserved = [] } = this.#options
    const wanted = wantedName(proof)
    if (wanted === undefined || reserved.includes(wanted)) throw this.#refused(proof)
    if (exactNames && !(proof.method === 'token' && proof.username === wanted))
      throw this.#refused(proof, 'no exact name')
    for (const name of exactNames ? [wanted] : namesLike(wanted, proof)) {
      const known = users.byIdentity(proof.identity)
      // another gateway was faster
      if (known !== undefined) return known
      if (!(await this.#isFree(name))) continue
      await accounts.settled(name)
      const home = accounts.home && { home: homePath(accounts.home, name), homeDue: true }
      try {
        const user = users.create({ name, identities: [proof.identity], ...home })
        const detail = { kind: proof.identity.kind, value: proof.identity.value }
        accounts.note({ act: 'user.provision', by: null, on: name, result: 'allowed', detail })
        return user
      } catch (error) {
        // another service gives the numbers, and has none for them
        if (isFault(error, 'PreconditionFailed')) throw new Fault('PermissionDenied', error.detail, { cause: error })
        if (!isFault(error, 'DuplicateNode')) throw error
      }
    }
    throw new Fault('PermissionDenied', `no name like ${wanted} is left: ask an administrator for an account`)
  }

  // A folder that is there already is somebody's: who only has its name by chance must not move in beside it.
  async #isFree(name: string): Promise<boolean> {
    const { users, accounts } = this.#options
    if (users.byName(name) !== undefined || users.isFormer(name) || isReservedName(name)) return false
    return !(await accounts.isHomeTaken(name))
  }

  #refused({ identity }: Proof, why = 'reserved name'): Fault {
    const detail = { kind: identity.kind, value: identity.value, why }
    this.#options.accounts.note({ act: 'user.provision', by: null, on: '', result: 'refused', detail })
    const because = why === 'reserved name' ? 'is one of the system' : 'cannot be an account as it is'
    return new Fault('PermissionDenied', `your name ${because}: ask an administrator for an account`)
  }
}
