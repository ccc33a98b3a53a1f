// What programs need of a container (README, Sessions), and what to do about what is missing. Decides only; container.ts looks.
import { codeOf } from '../../src/libc/errno.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { type MountInfo } from '../fuse/mountinfo.ts'
import { type MountState } from '../fuse/unmount.ts'

export interface Finding {
  /** user, HOME, locks, space, sessions, or the variable it is about */
  readonly name: string
  readonly ok: boolean
  readonly says: string
  /** one sentence; of what is not ok */
  readonly fix?: string
  /** of a certificate that is good: how long it is so */
  readonly seconds?: number
}

/** code: what fcntl(2) answered. */
export type Locks = 'hold' | 'let others in' | { readonly code: string }

export interface ProxyFile {
  readonly mode: number
  readonly identity: string
  readonly begins: Date
  /** the earliest of the chain */
  readonly expires: Date
}

/** As statfs(2). */
export interface Room {
  readonly bsize: bigint
  readonly blocks: bigint
  readonly bavail: bigint
  readonly files: bigint
  readonly ffree: bigint
}

/** What is looked at. Whatever is refused is thrown as a system error or a Fault. */
export interface Container {
  /** HOME, SCRATCH, KARST_* and X509_*, those that are set to something */
  readonly environment: Readonly<Record<string, string>>
  readonly uid: number
  /** milliseconds since 1970 */
  readonly now: number
  readonly mountAt: (dir: string) => Promise<Pick<MountInfo, 'type' | 'source' | 'options'> | undefined>
  /** Never hangs. */
  readonly state: (dir: string) => Promise<MountState>
  readonly proxy: (file: string) => Promise<ProxyFile>
  readonly names: (dir: string) => Promise<readonly string[]>
  /** Lists a little of it. */
  readonly look: (dir: string) => Promise<void>
  /** Writes a file, reads it, locks it, and removes it. */
  readonly write: (dir: string) => Promise<Locks>
  readonly room: (dir: string) => Promise<Room>
  /** Sessions of this user that nobody is left to end. */
  readonly leftBehind: () => Promise<number>
}

/** With less nothing useful can be written. */
const LEAST = 16n << 20n

/** In the order in which they are best mended. */
export async function examine(container: Container): Promise<Finding[]> {
  const { environment } = container
  const partitions = await Promise.all(partitionsIn(environment).map((one) => partition(container, one)))
  const home = await homeOf(container)
  const writable = [...(home.dir === undefined ? [] : [home.dir]), ...partitions.flatMap(({ writes }) => writes ?? [])]
  return [
    user(container),
    gateway(environment),
    await certificate(container),
    await authorities(container),
    ...(partitions.length > 0 ? partitions.map(({ finding }) => finding) : [NO_PARTITION]),
    ...home.findings,
    ...(await Promise.all([...new Set(writable)].map((dir) => space(container, dir)))),
    ...(await leftBehind(container)),
  ]
}

const well = (name: string, says: string): Finding => ({ name, ok: true, says })
const wrong = (name: string, says: string, fix: string): Finding => ({ name, ok: false, says, fix })

const START = 'start the container by karst session, which sets it'

function user({ uid }: Container): Finding {
  if (uid !== 0) return well('user', `uid ${uid}`)
  return wrong('user', 'this is root', 'run it as an ordinary user (karst session --user NAME, runAsUser of a pod)')
}

function gateway({ KARST_URL: url }: Container['environment']): Finding {
  if (url === undefined) return wrong('KARST_URL', 'is not set', `${START}, or set it to the https URL of the gateway`)
  if (URL.canParse(url) && url.startsWith('https://')) return well('KARST_URL', url)
  return wrong('KARST_URL', `${url} is no https URL`, 'set it to the https URL of the gateway')
}

const NEW_PROXY = (file: string): string =>
  `make a new one: karst proxy init --out ${file}, or start the session again with a certificate that is good`

async function certificate({ environment, now, proxy }: Container): Promise<Finding> {
  const [name, file] = ['X509_USER_PROXY', environment['X509_USER_PROXY']] as const
  if (file === undefined)
    return wrong(name, 'is not set', 'start the session with a certificate, or make a proxy: karst proxy init')
  const found = await tried(() => proxy(file))
  if (isRefused(found)) return wrong(name, `${file} is no credential: ${found.why}`, NEW_PROXY(file))
  const { mode, identity, begins, expires } = found
  if (expires.getTime() <= now)
    return wrong(name, `${file} of ${identity} ended at ${expires.toISOString()}`, NEW_PROXY(file))
  if (begins.getTime() > now)
    return wrong(name, `${file} is good from ${begins.toISOString()} on`, 'set the clock, which is slow')
  if ((mode & 0o077) !== 0) return wrong(name, `others may read or write ${file}`, `run chmod 600 ${file}`)
  const seconds = Math.floor((expires.getTime() - now) / 1000)
  const left = `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`
  return { ...well(name, `${identity}, good for ${left}`), seconds }
}

async function authorities({ environment, names }: Container): Promise<Finding> {
  const [name, dir] = ['X509_CERT_DIR', environment['X509_CERT_DIR']] as const
  if (dir === undefined) return wrong(name, 'is not set', `${START}, or set it to the folder of the CAs`)
  const found = await tried(() => names(dir))
  if (isRefused(found)) return wrong(name, `${dir} cannot be listed: ${found.why}`, 'set it to the folder of the CAs')
  if (found.some((one) => /\.(pem|crt|\d+)$/.test(one))) return well(name, dir)
  return wrong(name, `${dir} has no certificate in it`, `put the CAs of the site into ${dir}`)
}

interface Told {
  /** KARST_NAME_PATH */
  readonly name: string
  readonly dir: string
  readonly uri: string | undefined
}

function partitionsIn(environment: Container['environment']): Told[] {
  return Object.entries(environment).flatMap(([name, dir]) => {
    const [, word] = /^KARST_(.+)_PATH$/.exec(name) ?? []
    return word === undefined ? [] : [{ name, dir, uri: environment[`KARST_${word}_URI`] }]
  })
}

const NO_PARTITION = wrong(
  'partitions',
  'no variable KARST_NAME_PATH says where one is',
  'start the container with what it needs (karst session --partition home)',
)

/** `writes`: where, if it is sound and may be written. */
async function partition(container: Container, told: Told): Promise<{ finding: Finding; writes?: string }> {
  const { name, dir, uri } = told
  const mount = await container.mountAt(dir)
  if (mount === undefined) return { finding: wrong(name, `nothing is mounted at ${dir}`, howToMount(told)) }
  const { type, source, options } = mount
  // what is served to a whole node may be bound in part
  if (type === 'fuse.karst' && uri !== undefined && uri !== source && !uri.startsWith(`${source}/`))
    return { finding: wrong(name, `${source} is mounted at ${dir}, not ${uri}`, howToMount(told)) }
  const refused = await unanswered(container, dir)
  if (refused !== undefined) return { finding: wrong(name, refused.why, refused.fix) }
  const isReadOnly = options.includes('ro')
  const finding = well(name, `${dir}, ${type === 'fuse.karst' ? source : type}, ${isReadOnly ? 'read' : 'write'}`)
  return { finding, ...(!isReadOnly && { writes: dir }) }
}

const howToMount = ({ dir, uri = 'vos://...' }: Told): string =>
  `start the session with it (karst session --partition ${uri}), or mount it: karst mount ${uri} ${dir}`

/** Why nothing comes from a directory. */
async function unanswered(container: Container, dir: string): Promise<{ why: string; fix: string } | undefined> {
  const state = await container.state(dir)
  if (state === 'silent')
    return { why: `${dir} does not answer`, fix: 'see whether the gateway runs; the mount goes on when it does' }
  if (state === 'disconnected')
    return { why: `what serves ${dir} has ended`, fix: 'start the session again, what was not sent is kept' }
  const looked = await tried(() => container.look(dir))
  return isRefused(looked) ? { why: `${dir} cannot be listed: ${looked.why}`, fix: fixOf(looked.code, dir) } : undefined
}

/** `dir`: where, if it can be written. */
async function homeOf(container: Container): Promise<{ findings: Finding[]; dir?: string }> {
  const { HOME: dir } = container.environment
  if (dir === undefined)
    return {
      findings: [wrong('HOME', 'is not set', 'start the container with its home: karst session --partition home')],
    }
  const refused = await unanswered(container, dir)
  if (refused !== undefined) return { findings: [wrong('HOME', refused.why, refused.fix)] }
  const written = await tried(() => container.write(dir))
  if (isRefused(written))
    return { findings: [wrong('HOME', `${dir} cannot be written: ${written.why}`, fixOf(written.code, dir))] }
  return { findings: [well('HOME', `${dir} can be written`), locks(written, dir)], dir }
}

function locks(found: Locks, dir: string): Finding {
  if (found === 'hold') return well('locks', `fcntl locks hold in ${dir}`)
  const why = found === 'let others in' ? 'keep nobody out' : `are refused (${found.code})`
  const fix = 'mount the home by karst, or mount its file system with locks (nfs without nolock, a client with lockd)'
  return wrong('locks', `fcntl locks in ${dir} ${why}`, fix)
}

async function space({ room }: Container, dir: string): Promise<Finding> {
  const found = await tried(() => room(dir))
  if (isRefused(found)) return wrong('space', `${dir} does not say: ${found.why}`, fixOf(found.code, dir))
  const { bsize, blocks, bavail, files, ffree } = found
  if (blocks === 0n) return well('space', `${dir} counts none`)
  const more = `remove what is not needed from ${dir}, or ask for a larger quota`
  if (bavail * bsize < LEAST) return wrong('space', `${dir} has ${size(bavail * bsize)} left`, more)
  if (files > 0n && ffree === 0n) return wrong('space', `${dir} takes no more files`, more)
  return well('space', `${dir} has ${size(bavail * bsize)} of ${size(blocks * bsize)} left`)
}

/** Only where there are some: they keep mounts, credentials and scratch, and what was not sent. */
async function leftBehind(container: Container): Promise<Finding[]> {
  const count = await tried(() => container.leftBehind())
  // of whom they may not be looked at they are none
  if (isRefused(count) || count === 0) return []
  const says = `${count} of this user ${count === 1 ? 'was' : 'were'} killed together with what ends them`
  return [wrong('sessions', says, 'start another, which ends them: karst session --partition home -- true')]
}

function size(bytes: bigint): string {
  const mebibytes = Number(bytes) / 2 ** 20
  return mebibytes < 1024 ? `${mebibytes.toFixed(1)} MiB` : `${(mebibytes / 1024).toFixed(1)} GiB`
}

interface Refused {
  readonly code: string
  readonly why: string
}

const isRefused = (found: unknown): found is Refused =>
  typeof found === 'object' && found !== null && 'why' in found && 'code' in found

/** What was refused becomes a finding; what is a bug stays one. */
async function tried<T>(work: () => Promise<T>): Promise<T | Refused> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof Fault) return { code: error.fault, why: error.detail }
    const { code: told, message } = error as NodeJS.ErrnoException
    const code = codeOf(error) ?? told
    if (code === undefined) throw error
    return { code, why: REASONS[code] ?? `${code}: ${message}` }
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is nothing of that name',
  ENOTDIR: 'it is no directory',
  EACCES: 'permission denied',
  EROFS: 'it is read-only',
  ENOSPC: 'it is full',
  EDQUOT: 'its quota is used up',
}

function fixOf(code: string, dir: string): string {
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return `name a directory that is there, or mount it at ${dir}`
    case 'EACCES':
    case 'EPERM':
      return `run as the owner of ${dir}, or have it shared with this user (karst access says why)`
    case 'EROFS':
      return `have ${dir} mounted with access write`
    case 'ENOSPC':
    case 'EDQUOT':
      return `remove what is not needed from ${dir}, or ask for a larger quota`
    default:
      return `see what karst mount status and the log of the driver say about ${dir}`
  }
}
