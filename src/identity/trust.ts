// The certificate authorities that are trusted: anchors from a PEM file, or from a directory such as
// /etc/grid-security/certificates. Certificates of clients never get in here.
import { readdir, readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { Fault, isFault } from '../vospace/fault.ts'
import { Certificate } from './certificate.ts'
import { pemBlocks } from './pem.ts'

// OpenSSL's hash links (.0 to .9) are only an index; both generations of them lie in one directory.
const ANCHOR_FILE = /\.(\d|pem|crt)$/

interface Loaded {
  readonly anchors: readonly Certificate[]
  readonly problems: readonly string[]
}

/** Anchors by subject. `generation` grows with each change, so that what was decided under an older set can be dropped. */
export class TrustStore {
  #anchors = new Map<string, Certificate[]>()
  #generation = 0
  #problems: readonly string[] = []
  #location: string | undefined

  /** A store of certificates that are at hand (DER); a later issue adds revocation lists and signing policies. */
  static of(anchors: readonly Buffer[]): TrustStore {
    const store = new TrustStore()
    store.#replace({ anchors: anchors.map((der) => new Certificate(der)), problems: [] })
    return store
  }

  /** Reads a PEM file, or the *.pem, *.crt and *.0 files of a directory. InvalidData when not one anchor is found. */
  static async load(location: string): Promise<TrustStore> {
    const store = new TrustStore()
    store.#location = location
    await store.reload()
    return store
  }

  get generation(): number {
    return this.#generation
  }

  /** What was found and could not be used, one sentence a file: for the log. */
  get problems(): readonly string[] {
    return this.#problems
  }

  /** The anchors of that subject (a matchKey). Several, when an authority renewed its certificate. */
  anchorsFor(subjectKey: string): readonly Certificate[] {
    return this.#anchors.get(subjectKey) ?? []
  }

  /** Reads the file or directory again; in one step, and not at all when it cannot be read or is empty. */
  async reload(): Promise<void> {
    if (this.#location === undefined) return
    const loaded = await read(this.#location)
    if (loaded.anchors.length === 0) {
      const why = loaded.problems.length > 0 ? `: ${loaded.problems.join('; ')}` : ''
      throw new Fault('InvalidData', `no certificate of an authority in ${this.#location}${why}`)
    }
    this.#replace(loaded)
  }

  #replace({ anchors, problems }: Loaded): void {
    const before = this.#fingerprints()
    const next = new Map<string, Certificate[]>()
    for (const anchor of anchors) {
      const same = next.get(anchor.subjectKey) ?? []
      if (!same.some((other) => other.fingerprint === anchor.fingerprint)) same.push(anchor)
      next.set(anchor.subjectKey, same)
    }
    this.#anchors = next
    this.#problems = problems
    if (this.#fingerprints() !== before) this.#generation++
  }

  #fingerprints(): string {
    return [...this.#anchors.values()]
      .flat()
      .map((anchor) => anchor.fingerprint)
      .sort()
      .join()
  }
}

async function read(location: string): Promise<Loaded> {
  if (!(await stat(location)).isDirectory()) return readAnchors(location)
  const names = (await readdir(location)).filter((name) => ANCHOR_FILE.test(name)).sort()
  const loaded = await Promise.all(names.map((name) => readAnchors(path.join(location, name))))
  return { anchors: loaded.flatMap((file) => file.anchors), problems: loaded.flatMap((file) => file.problems) }
}

// One broken file among the hundred of a grid directory must not lock everybody out: it is reported instead.
async function readAnchors(file: string): Promise<Loaded> {
  const anchors: Certificate[] = []
  const problems: string[] = []
  try {
    for (const { label, der } of pemBlocks(await readFile(file, 'latin1'))) {
      if (label === 'CERTIFICATE') anchors.push(new Certificate(der))
    }
  } catch (error) {
    if (!isFault(error) && !isSystemError(error)) throw error
    problems.push(`${file}: ${error.message}`)
  }
  return { anchors, problems }
}

const isSystemError = (error: unknown): error is NodeJS.ErrnoException => error instanceof Error && 'syscall' in error
