// The files of a trust folder in the form of /etc/grid-security/certificates, or a PEM file with what lies beside it under
// the same stem: authorities, signing policies, revocation lists. A file that has not changed is not parsed again.
import { open, readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { Fault, isFault } from '../vospace/fault.ts'
import { Certificate } from './certificate.ts'
import { RevocationList } from './crl.ts'
import { pemBlocks } from './pem.ts'
import { parseSigningPolicy, type SigningPolicy } from './signing-policy.ts'

// OpenSSL's hash links (.0 to .9) are only an index; both generations of them lie in one directory.
const ANCHOR_FILE = /\.(\d|pem|crt)$/
const LIST_FILE = /\.(r\d|crl)$/
const POLICY_FILE = /\.signing_policy$/
const NAMESPACES_FILE = /\.namespaces$/

/** What one file holds. */
interface FileContent {
  readonly anchors: readonly Certificate[]
  readonly lists: readonly RevocationList[]
  readonly policy?: SigningPolicy
}

interface Kept {
  readonly version: string
  readonly content: FileContent
}

/** Everything that was read, bound together by the stems of file names (`0a1b2c3d` of `0a1b2c3d.0`). */
export interface TrustContents {
  readonly anchors: readonly { readonly certificate: Certificate; readonly stem: string }[]
  readonly policies: readonly { readonly policy: SigningPolicy | 'broken'; readonly stem: string }[]
  readonly lists: readonly RevocationList[]
  /** Stems of list files that cannot be read. */
  readonly unreadableLists: readonly string[]
  /** What was found and could not be used, and what is not looked at: one sentence each, for the log. */
  readonly problems: readonly string[]
  readonly notes: readonly string[]
}

const NOTHING: FileContent = { anchors: [], lists: [] }
const MAX_ATTEMPTS = 5
const SETTLING = 200

const stemOf = (file: string): string => path.basename(file).replace(/\.[^.]*$/, '')

/** Reads one place again and again; what is good of a file stays when the file becomes bad. */
export class TrustFiles {
  readonly #location: string
  #kept = new Map<string, Kept>()

  constructor(location: string) {
    this.#location = path.resolve(location)
  }

  /** The files there are, each with what changes when it is written or replaced; as one text, to be compared. */
  async look(): Promise<string> {
    const files = await this.#versions()
    return [...files].map(([file, version]) => `${file} ${version}`).join('\n')
  }

  /**
   * Reads what has changed. When files are being replaced meanwhile it begins anew, so that what it returns was there at one
   * time; InvalidData when they do not stop. A place that cannot be read at all is the system's error.
   */
  async read(): Promise<{ contents: TrustContents; look: string }> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const before = await this.look()
      const contents = await this.#readOnce()
      if ((await this.look()) === before) return { contents, look: before }
      await new Promise((resolve) => setTimeout(resolve, SETTLING))
    }
    throw new Fault('InvalidData', `${this.#location} keeps changing while it is read`)
  }

  async #versions(): Promise<Map<string, string>> {
    const names = await this.#names()
    const versions = await Promise.all(
      names.map(async (file): Promise<[string, string]> => [file, await versionOf(file)]),
    )
    return new Map(versions)
  }

  async #names(): Promise<string[]> {
    const one = !(await stat(this.#location)).isDirectory()
    const folder = one ? path.dirname(this.#location) : this.#location
    const stem = stemOf(this.#location)
    const wanted = (name: string): boolean => {
      const isMore = LIST_FILE.test(name) || POLICY_FILE.test(name) || NAMESPACES_FILE.test(name)
      if (!one) return ANCHOR_FILE.test(name) || isMore
      return name === path.basename(this.#location) || (isMore && stemOf(name) === stem)
    }
    return (await readdir(folder))
      .filter(wanted)
      .sort()
      .map((name) => path.join(folder, name))
  }

  async #readOnce(): Promise<TrustContents> {
    const problems: string[] = []
    const kept = new Map<string, Kept>()
    const broken = new Set<string>()
    const byVersion = new Map([...this.#kept.values()].map((one) => [one.version, one]))
    for (const [file, version] of await this.#versions()) {
      if (NAMESPACES_FILE.test(file)) continue
      try {
        // Several links to one file are that file, read once.
        const same = byVersion.get(version)
        const one = same ?? { version, content: await readContent(file, file === this.#location) }
        byVersion.set(version, one)
        kept.set(file, one)
      } catch (error) {
        if (!isFault(error) && !isSystemError(error)) throw error
        const why = `${file}: ${isFault(error) ? error.detail : error.message}`
        if (file === this.#location) throw new Fault('InvalidData', why, { cause: error })
        const before = this.#kept.get(file)
        // One broken file among the hundred of a grid directory must not lock everybody out.
        problems.push(`${why}${before ? '; what was read before is kept' : ''}`)
        if (before) kept.set(file, { ...before, version: 'broken' })
        else broken.add(file)
      }
    }
    this.#kept = kept
    return contentsOf(kept, [...broken], problems, await this.#notes())
  }

  async #notes(): Promise<string[]> {
    const ignored = (await this.#names()).filter((name) => NAMESPACES_FILE.test(name)).length
    return ignored === 0
      ? []
      : [`${this.#location}: ${ignored} .namespaces files are not looked at; .signing_policy is`]
  }
}

const isSystemError = (error: unknown): error is NodeJS.ErrnoException => error instanceof Error && 'syscall' in error

async function versionOf(file: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true })
    return [dev, ino, size, mtimeNs, ctimeNs].join(':')
  } catch (error) {
    if (isSystemError(error)) return `${file} ${error.code}`
    throw error
  }
}

async function readContent(file: string, isOnly: boolean): Promise<FileContent> {
  const handle = await open(file)
  try {
    const bytes = await handle.readFile()
    if (POLICY_FILE.test(file)) return { ...NOTHING, policy: parseSigningPolicy(bytes.toString('utf8')) }
    if (LIST_FILE.test(file) && !isOnly) return readList(bytes)
    return readAnchors(bytes)
  } finally {
    await handle.close()
  }
}

const isPem = (bytes: Buffer): boolean => bytes.includes('-----BEGIN ')

function readList(bytes: Buffer): FileContent {
  if (!isPem(bytes)) return { ...NOTHING, lists: [RevocationList.parse(bytes)] }
  const { lists } = readAnchors(bytes)
  if (lists.length === 0) throw new Fault('InvalidData', 'no whole revocation list in it')
  return { ...NOTHING, lists }
}

function readAnchors(bytes: Buffer): FileContent {
  if (!isPem(bytes) && bytes[0] === 0x30) return { ...NOTHING, anchors: [new Certificate(bytes)] }
  const text = bytes.toString('latin1')
  const blocks = pemBlocks(text)
  if (blocks.length === 0) throw new Fault('InvalidData', 'no certificate in it')
  if (blocks.length !== text.split('-----BEGIN ').length - 1) throw new Fault('InvalidData', 'a PEM block is cut short')
  return {
    anchors: blocks.flatMap(({ label, der }) => (label === 'CERTIFICATE' ? [new Certificate(der)] : [])),
    lists: blocks.flatMap(({ label, der }) => (label === 'X509 CRL' ? [RevocationList.parse(der)] : [])),
  }
}

function contentsOf(
  kept: ReadonlyMap<string, Kept>,
  broken: readonly string[],
  problems: readonly string[],
  notes: readonly string[],
): TrustContents {
  const files = [...kept].map(([file, { content }]) => ({ stem: stemOf(file), ...content }))
  const stemsOf = (pattern: RegExp): string[] => broken.filter((file) => pattern.test(file)).map(stemOf)
  return {
    anchors: files.flatMap(({ stem, anchors }) => anchors.map((certificate) => ({ certificate, stem }))),
    policies: [
      ...files.flatMap(({ stem, policy }) => (policy ? [{ policy, stem }] : [])),
      ...stemsOf(POLICY_FILE).map((stem) => ({ policy: 'broken' as const, stem })),
    ],
    lists: files.flatMap(({ lists }) => lists),
    unreadableLists: stemsOf(LIST_FILE),
    problems,
    notes,
  }
}
