// Signing policies of grid authorities (Globus EACL, the *.signing_policy files): which names an authority may certify.
// Without them any trusted authority may assert anybody's name.
import { Fault } from '../vospace/fault.ts'
import { countryFirst, type DistinguishedName, slash } from './dn.ts'

/** Which authorities (slash DNs) may sign which subjects (globs over slash DNs). */
export interface PolicyEntry {
  readonly authorities: readonly string[]
  readonly subjects: readonly string[]
}

export type SigningPolicy = readonly PolicyEntry[]

const refuse = (line: number, why: string): never => {
  throw new Fault('InvalidData', `line ${line}: ${why}`)
}

const TOKEN = /\s*(?:'([^']*)'|"([^"]*)"|([^\s'"#]+)|(#.*))/y

// The words of a line; quotes keep blanks, # outside of them starts a comment.
function words(text: string, line: number): string[] {
  const found: string[] = []
  TOKEN.lastIndex = 0
  const end = text.trimEnd().length
  while (TOKEN.lastIndex < end) {
    const match = TOKEN.exec(text)
    if (!match) return refuse(line, 'a quote is not closed')
    const [, single, double, bare, comment] = match
    if (comment === undefined) found.push(single ?? double ?? bare ?? '')
    else return found
  }
  return found
}

// '"/C=CA/O=Lab/*" "/C=US/*"' is one word to the reader above, and here several patterns; a word without quotes is one.
function patterns(word: string, line: number): string[] {
  const quoted = [...word.matchAll(/"([^"]*)"|'([^']*)'/g)].map(([, double, single]) => double ?? single ?? '')
  if (quoted.length === 0) return [word.trim()]
  if (word.replace(/"[^"]*"|'[^']*'/g, '').trim() !== '') return refuse(line, `not a list of patterns: ${word}`)
  return quoted
}

interface Draft {
  readonly authorities: string[]
  readonly subjects: string[]
  /** undefined: no right was named yet; false: one that is not ours */
  signs: boolean | undefined
}

/**
 * Reads a policy file: access_id_CA X509 'DN', pos_rights globus CA:sign, cond_subjects globus '"glob" "glob"', any
 * number of times. InvalidData for what cannot be read whole, since half a policy is another policy.
 */
export function parseSigningPolicy(text: string): SigningPolicy {
  const drafts: Draft[] = []
  text.split(/\r?\n/).forEach((raw, at) => {
    const [keyword, authority, ...values] = words(raw, at + 1)
    if (keyword === undefined) return
    if (authority === undefined || values.length === 0) refuse(at + 1, `${keyword} needs two values`)
    else readLine(drafts, { keyword, authority: authority.toLowerCase(), values, line: at + 1 })
  })
  for (const { authorities, subjects, signs } of drafts) {
    if (signs !== false && subjects.length === 0) refuse(0, `no cond_subjects for ${authorities.join(', ')}`)
  }
  if (drafts.length === 0) refuse(0, 'no access_id_CA')
  return drafts.filter(({ signs }) => signs === true)
}

interface Line {
  readonly keyword: string
  readonly authority: string
  readonly values: readonly string[]
  readonly line: number
}

function readLine(drafts: Draft[], { keyword, authority, values, line }: Line): void {
  const current = drafts.at(-1)
  const word = keyword.toLowerCase()
  if (word === 'access_id_ca' && authority === 'x509') {
    const names = values.flatMap((value) => patterns(value, line)).map(aliased)
    // Names one below the other share what follows; after a right another entry begins.
    if (current?.signs === undefined && current?.subjects.length === 0) current.authorities.push(...names)
    else drafts.push({ authorities: names, subjects: [], signs: undefined })
  } else if (!current) refuse(line, `${keyword} before any access_id_CA`)
  else if (word === 'pos_rights') {
    const signs = authority === 'globus' && values.length === 1 && values[0] === 'CA:sign'
    if (current.signs === undefined) current.signs = signs
    else drafts.push({ authorities: current.authorities, subjects: [], signs })
  } else if (word === 'cond_subjects' && authority === 'globus') {
    if (current.signs === undefined) refuse(line, 'cond_subjects before pos_rights globus CA:sign')
    current.subjects.push(...values.flatMap((value) => patterns(value, line)).map(aliased))
  } else refuse(line, `${keyword} ${authority} is not understood`)
}

// Programs disagree about what these two attributes are called in the slash form.
const aliased = (text: string): string =>
  text.replace(/\/(?:e|email|emailaddress)=/gi, '/emailAddress=').replace(/\/(?:uid|userid)=/gi, '/UID=')

// In the order in which identities are compared: a certificate that turns its name round must not get round a policy.
const policyForm = (name: DistinguishedName): string => aliased(slash(countryFirst(name)))

/** Whether the policy speaks of that authority at all. */
export function names(policy: SigningPolicy, authority: DistinguishedName): boolean {
  const form = policyForm(authority)
  return policy.some(({ authorities }) => authorities.includes(form))
}

/** Whether the policy lets that authority sign a certificate of that subject. Case counts, as in Globus. */
export function permits(policy: SigningPolicy, authority: DistinguishedName, subject: DistinguishedName): boolean {
  const issuer = policyForm(authority)
  const form = policyForm(subject)
  return policy.some(
    ({ authorities, subjects }) => authorities.includes(issuer) && subjects.some((glob) => matches(glob, form)),
  )
}

/** Globs as Globus has them: * for any characters, slashes included, ? for one. In time linear in their product. */
export function matches(glob: string, text: string): boolean {
  let [g, t, star, mark] = [0, 0, -1, 0]
  while (t < text.length) {
    if (glob[g] === '*') {
      star = g++
      mark = t
    } else if (g < glob.length && (glob[g] === '?' || glob[g] === text[t])) {
      g++
      t++
    } else if (star >= 0) {
      // The last star takes one character more.
      g = star + 1
      t = ++mark
    } else return false
  }
  while (glob[g] === '*') g++
  return g === glob.length
}
