// The certificate authorities that are trusted, with what binds them: signing policies and revocation lists. From a PEM file,
// or from a folder such as /etc/grid-security/certificates. Certificates of clients never get in here.
import { stat } from 'node:fs/promises'
import { Fault } from '../vospace/fault.ts'
import { Certificate } from './certificate.ts'
import { RevocationList } from './crl.ts'
import { parseSigningPolicy, type SigningPolicy } from './signing-policy.ts'
import { type Requirement, type Standing } from './standing.ts'
import { bind, type BoundTrust } from './trust-binding.ts'
import { type TrustContents, TrustFiles } from './trust-files.ts'

export interface TrustRules {
  /** grid: a folder in the form of /etc/grid-security/certificates, signing policies required; site: a file or folder. */
  readonly kind?: 'grid' | 'site'
  readonly signingPolicy?: Requirement
  readonly crl?: Requirement
}

/** Anchors by subject. `generation` grows with each change, so that what was decided under an older set can be dropped. */
export class TrustStore implements Standing {
  readonly signingPolicy: Requirement
  readonly crl: Requirement
  readonly #location: string | undefined
  readonly #kind: 'grid' | 'site'
  readonly #files: TrustFiles | undefined
  #contents: BoundTrust = bind({ anchors: [], policies: [], lists: [], unreadableLists: [], problems: [], notes: [] })
  #generation = 0
  #look = ''
  #failed = ''

  private constructor(location: string | undefined, rules: TrustRules) {
    this.#location = location
    this.#kind = rules.kind ?? 'site'
    this.#files = location === undefined ? undefined : new TrustFiles(location)
    this.signingPolicy = rules.signingPolicy ?? (this.#kind === 'grid' ? 'require' : 'if-present')
    this.crl = rules.crl ?? 'if-present'
  }

  /** A store of certificates that are at hand (DER), with revocation lists (DER) and the text of a policy for all of them. */
  static of(
    anchors: readonly Buffer[],
    { lists = [], policy, ...rules }: TrustRules & { lists?: readonly Buffer[]; policy?: string } = {},
  ): TrustStore {
    const store = new TrustStore(undefined, rules)
    store.#replace({
      anchors: anchors.map((der) => ({ certificate: new Certificate(der), stem: '' })),
      policies: policy === undefined ? [] : [{ policy: parseSigningPolicy(policy), stem: '' }],
      lists: lists.map((der) => RevocationList.parse(der)),
      unreadableLists: [],
      problems: [],
      notes: [],
    })
    return store
  }

  /**
   * Reads a PEM file, or the files of a folder: *.0 to *.9, *.pem, *.crt; *.signing_policy; *.r0 to *.r9 and *.crl (PEM or DER).
   * InvalidData when not one anchor is found, or a grid's place is no folder.
   */
  static async load(location: string, rules: TrustRules = {}): Promise<TrustStore> {
    const store = new TrustStore(location, rules)
    await store.reload()
    return store
  }

  /** Reads all of them again and hands back what takes over what is new, in one step; rejects when one cannot be read. */
  static async prepareAll(stores: readonly TrustStore[]): Promise<() => void> {
    const takeovers = await Promise.all(stores.map((store) => store.#prepare()))
    return () => {
      for (const takeOver of takeovers) takeOver()
    }
  }

  get generation(): number {
    return this.#generation
  }

  /** Where it comes from, for the log. */
  get location(): string {
    return this.#location ?? 'memory'
  }

  /** What was found and could not be used, one sentence a file: for the log. */
  get problems(): readonly string[] {
    return this.#contents.problems
  }

  /** What is there and not looked at. */
  get notes(): readonly string[] {
    return this.#contents.notes
  }

  get anchors(): readonly Certificate[] {
    return [...this.#contents.anchors.values()].flat()
  }

  /** The anchors of that subject (a matchKey). Several, when an authority renewed its certificate. */
  anchorsFor(subjectKey: string): readonly Certificate[] {
    return this.#contents.anchors.get(subjectKey) ?? []
  }

  policiesOf({ fingerprint }: Certificate): readonly (SigningPolicy | 'broken')[] | undefined {
    return this.#contents.policies.get(fingerprint)
  }

  listsFor(subjectKey: string): readonly RevocationList[] {
    return this.#contents.lists.get(subjectKey) ?? []
  }

  hasUnreadableList({ fingerprint }: Certificate): boolean {
    return this.#contents.unreadableLists.has(fingerprint)
  }

  /** Whether that anchor may assert any name at all. */
  isUnbound(anchor: Certificate): boolean {
    return (
      this.signingPolicy === 'off' || (this.signingPolicy === 'if-present' && this.policiesOf(anchor) === undefined)
    )
  }

  /** Reads the file or directory again; in one step, and not at all when it cannot be read or is empty. */
  async reload(): Promise<void> {
    const takeOver = await this.#prepare()
    takeOver()
  }

  /**
   * Looks every so many seconds whether files were replaced, as fetch-crl and package managers do, and reloads then.
   * `told` hears of it: with the error when the reload failed and the old state stays. Returns what ends the watch.
   */
  watch(seconds: number, told: (error?: unknown) => void): () => void {
    let busy = false
    const tick = async (): Promise<void> => {
      if (busy) return
      busy = true
      await this.#lookAgain(told)
      busy = false
    }
    const timer = setInterval(() => void tick(), seconds * 1000).unref()
    return () => clearInterval(timer)
  }

  async #lookAgain(told: (error?: unknown) => void): Promise<void> {
    try {
      if ((await this.#files?.look()) === this.#look) return
      await this.reload()
      this.#failed = ''
      told()
    } catch (error) {
      // The same failure each minute is told once.
      if (String(error) !== this.#failed) told(error)
      this.#failed = String(error)
    }
  }

  async #prepare(): Promise<() => void> {
    if (!this.#files) return () => undefined
    if (this.#kind === 'grid' && !(await stat(this.location)).isDirectory()) {
      throw new Fault('InvalidData', `${this.location} is no folder, and the trust of a grid is one`)
    }
    const { contents, look } = await this.#files.read()
    if (contents.anchors.length === 0) {
      const why = contents.problems.length > 0 ? `: ${contents.problems.join('; ')}` : ''
      throw new Fault('InvalidData', `no certificate of an authority in ${this.location}${why}`)
    }
    return () => {
      this.#look = look
      this.#replace(contents)
    }
  }

  #replace(read: TrustContents): void {
    const next = bind(read)
    const changed = next.digest !== this.#contents.digest
    this.#contents = next
    if (changed) this.#generation++
  }
}

/**
 * What to tell the administrator when several authorities are trusted and some of them may assert any name, so that each of
 * those can pass for the users of all others. Undefined when that is not so.
 */
export function unboundAuthorities(stores: readonly TrustStore[]): string | undefined {
  const every = new Set(stores.flatMap((store) => store.anchors.map(({ subjectKey }) => subjectKey)))
  const unbound = stores.flatMap((store) => store.anchors.filter((anchor) => store.isUnbound(anchor)))
  if (every.size < 2 || unbound.length === 0) return undefined
  const shown = [...new Set(unbound.map(({ name }) => name))]
  const more = shown.length > 3 ? ` and ${shown.length - 3} more` : ''
  return (
    `${shown.slice(0, 3).join(', ')}${more}: trusted without a signing policy, beside other authorities, and so able to ` +
    'certify anybody as any user. Put a NAME.signing_policy beside NAME.pem, or require policies'
  )
}
