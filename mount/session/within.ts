// The rest of a session, once the gateway has been asked: what it has agreed to is mounted, and the command run in it.
import path from 'node:path'
import { attach, bindMount, letGo, ownMountNamespace } from '../../src/libc/namespace.ts'
import { LibcError } from '../../src/libc/ffi.ts'
import { variableOf } from '../../src/vospace/partition.ts'
import { abandonedBeside } from './abandoned.ts'
import { isSupervised } from '../driver-place.ts'
import { MountError } from '../fuse/mount-options.ts'
import { mountAt } from '../fuse/mountinfo.ts'
import { agreedIn, type Agreement, type Outcome } from './agreement-request.ts'
import { certificateFolder, copyOpen, type NewProxy, renewing } from './credential.ts'
import { runCommand, wordsBefore } from './command.ts'
import { accountFiles, type SessionUser, sessionUser } from './identity-files.ts'
import { notMounted, prepareMount, type MountWith, type PreparedMount } from './mounts.ts'
import { renewTokens } from './renewals.ts'
import { checkPlace, checkPlaces, settled } from './plan.ts'
import { checkRoom, makeRoom, missing, realPlace } from './room.ts'
import { type RunFolder, type SessionNote, writeWhole } from './run-folder.ts'
import { type SessionOptions } from './session.ts'
import { type Agreed, type SessionName } from './terms.ts'
import { type Watcher } from './watch.ts'
import type * as NewProxies from './new-proxy.ts'

const fs = process.getBuiltinModule('node:fs')

/**
 * What stands at a place is not mounted over: programs would have something else there than whoever mounted it meant. Without a namespace of its own
 * it may be another session's, and must not be taken away with this one.
 */
async function withRoom(options: SessionOptions, agreed: readonly Agreed[], { outside }: Owner): Promise<Agreed[]> {
  const looked = async (one: Agreed): Promise<Agreed> => {
    const place = realPlace(one.at)
    if ((await mountAt(place)) === undefined) {
      if (options.way !== 'fusermount') checkRoom(place, outside.uid)
      return one
    }
    throw new MountError(
      `${one.planned.partition} cannot be mounted at ${one.at}: something is already; name another place (at)`,
      'EBUSY',
    )
  }
  return settled(
    options,
    agreed.map((one) => [one.planned, looked(one)]),
  )
}

/** As this process and the command see them; they differ in a user namespace. */
interface Owner {
  readonly user: SessionUser
  readonly outside: { readonly uid: number; readonly gid: number }
}

function ownerOf({ way, inside, user, manifest }: SessionOptions, [first]: readonly Agreed[]): Owner {
  const passwd = fs.readFileSync('/etc/passwd', 'utf8')
  const told = first?.terms.user ?? { name: 'user', uid: 1000, gid: 1000, groups: [] }
  if (way === 'root') {
    const found = sessionUser(user ?? manifest.user, told, passwd)
    return { user: found, outside: found }
  }
  const own = inside ?? { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 }
  const outside = way === 'userns' ? { uid: 0, gid: 0 } : own
  return { user: { ...own, name: sessionUser(String(own.uid), told, passwd).name, groups: [] }, outside }
}

const driverDirOf = ({ way }: SessionOptions, run: RunFolder, { at }: Agreed, index: number): string =>
  way === 'fusermount' ? at : path.join(run.path, 'at', String(index))

/** Each once, the deepest first. */
function toMake(agreed: readonly Agreed[]): string[] {
  const all = new Set(agreed.flatMap(({ at }) => missing(at)))
  return [...all].sort((a, b) => b.length - a.length)
}

/** What the gateway has been asked for, and the proxy that is being made meanwhile. */
export interface Begun {
  readonly run: RunFolder
  readonly name: SessionName
  /** as long as nothing is mounted */
  readonly note: SessionNote
  readonly agreement: Promise<Agreement>
  readonly watcher: Watcher
}

/** Mounts and runs, to the end of the command: its exit code. Throws Faults, MountErrors. */
export async function runWithin(options: SessionOptions, begun: Begun): Promise<number> {
  const { run, name, watcher } = begun
  const { outcomes, proxy, authorities } = await begun.agreement
  const all = await partitionsOf(options, outcomes)
  const owner = ownerOf(options, all)
  const agreed = await withRoom(options, all, owner)
  for (const { terms } of agreed) for (const notice of terms.notices) options.tell(notice)
  const note = noteOf(options, begun, agreed)
  run.note(note)
  const isCovered = agreed.some(({ at }) => isHere(realPlace(at)))
  if (isCovered) await certificates()
  return within(options, { run, note, name, agreed, owner, proxy, authorities, watcher, isCovered })
}

/** What makes proxies: where it is not to be covered by a mount it is loaded when the command runs. */
const certificates = (): Promise<typeof NewProxies> => import('./new-proxy.ts')

const isHere = (place: string): boolean => `${fs.realpathSync(import.meta.dirname)}/`.startsWith(`${place}/`)

async function partitionsOf(options: SessionOptions, outcomes: Agreement['outcomes']): Promise<Agreed[]> {
  const one = async (outcome: Outcome): Promise<Agreed> => agreedIn(outcome)
  const all = await settled(
    options,
    options.plan.flatMap((planned, i) => {
      const outcome = outcomes[i]
      return outcome === undefined ? [] : [[planned, one(outcome)] as const]
    }),
  )
  checkPlaces(all.map(({ planned, at }) => ({ partition: planned.partition, at })))
  return all
}

function noteOf(options: SessionOptions, { run, note }: Begun, agreed: readonly Agreed[]): SessionNote {
  return {
    ...note,
    mounts: agreed.map((one, i) => driverDirOf(options, run, one, i)),
    // elsewhere they are in memory
    ...(options.way === 'fusermount' && { made: toMake(agreed) }),
  }
}

interface Parts {
  readonly run: RunFolder
  readonly note: SessionNote
  readonly name: SessionName
  readonly agreed: readonly Agreed[]
  readonly owner: Owner
  readonly proxy: NewProxy | undefined
  readonly authorities: Agreement['authorities']
  readonly watcher: Watcher
  readonly isCovered: boolean
}

async function within(options: SessionOptions, parts: Parts): Promise<number> {
  const { run, note, owner, agreed, proxy } = parts
  const { way, url, ca, stateDir, binds, timeout } = options
  const how: MountWith = {
    ...{ run, way, url, stateDir, binds, ...owner.outside },
    ...(ca !== undefined && { ca }),
    ...(timeout !== undefined && { timeout }),
  }
  const mounts = await mountAll(options, agreed, how)
  if (proxy !== undefined) writeProxy(options, parts, proxy)
  const environment = environmentOf(options, parts, mounts)
  if (way !== 'fusermount') {
    ownMountNamespace()
    run.note({ ...note, namespace: fs.readlinkSync('/proc/self/ns/mnt') })
    arrange(run, mounts, owner, environment['HOME'] ?? '/')
  }
  const stop = [...(proxy === undefined ? [] : [renewProxy(options, parts, proxy)]), ...renewTokens(options, parts)]
  try {
    const before = wordsBefore(way, owner.user)
    // HOME may be the launcher's, where the user is not let in
    const cwd = mounts.find(isHome)?.at ?? '/'
    const surroundings = { env: environment, launcher: options.environment, cwd }
    const ended = runCommand(before, options.command, surroundings)
    if (!parts.isCovered && proxy !== undefined) await certificates().catch(() => undefined)
    sweep(options, parts)
    return (await ended).code
  } finally {
    stop.forEach((end) => end())
  }
}

/** What others have left keeps nobody from their work: it is looked for while the command runs, and ended by another process. */
function sweep({ tell }: SessionOptions, { run, watcher }: Parts): void {
  try {
    if (abandonedBeside(run).length > 0) watcher.sweep()
  } catch (error) {
    tell(`whether other sessions were left behind could not be seen: ${String(error)}`)
  }
}

function writeProxy({ way }: SessionOptions, { run, owner }: Parts, { text }: NewProxy): void {
  writeWhole(run.own('x509up'), text, 0o600, way === 'root' ? owner.user : undefined)
}

/** Answers how to end it. */
function renewProxy(options: SessionOptions, parts: Parts, { due }: NewProxy): () => void {
  const { certificate = '', proxyHours, tell } = options
  const renew = async (): Promise<number> => {
    const { newProxy } = await certificates()
    const proxy = await newProxy(certificate, proxyHours)
    writeProxy(options, parts, proxy)
    return proxy.due
  }
  return renewing(due, renew, (error) => tell(`the proxy could not be renewed: ${String(error)}`))
}

/** At once, but for the first where there is no driver yet: it starts the one that serves all. */
async function mountAll(options: SessionOptions, agreed: readonly Agreed[], how: MountWith): Promise<PreparedMount[]> {
  const mount = (some: readonly Agreed[], from: number): Promise<PreparedMount[]> =>
    settled(
      options,
      some.map((one, i) => [one.planned, prepareMount(one, from + i, how)]),
    )
  const alone = isSupervised(how.stateDir) ? 0 : 1
  return [...(await mount(agreed.slice(0, alone), 0)), ...(await mount(agreed.slice(alone), alone))]
}

/** Where links lead counts as what is said: root would mount there. */
function standing(mounts: readonly PreparedMount[]): PreparedMount[] {
  const real = mounts.map((one) => ({ ...one, at: realPlace(one.at) }))
  for (const { planned, at } of real) checkPlace(planned.partition, at)
  checkPlaces(real.map(({ planned, at }) => ({ partition: planned.partition, at })))
  return real
}

/** Everything at its place. Throws MountError; InvalidArgument where a link on the way leads to what is the system's. */
function arrange(run: RunFolder, mounts: readonly PreparedMount[], { user, outside }: Owner, home: string): void {
  // what is above others first
  const ordered = standing(mounts).sort((a, b) => a.at.length - b.at.length)
  makeRoom(
    ordered.map(({ at }) => at),
    run.hold,
    outside.uid,
  )
  for (const { at, mounted, planned } of ordered) {
    if (mounted === undefined) continue
    try {
      attach(mounted, at)
    } catch (error) {
      if (!(error instanceof LibcError)) throw error
      throw notMounted({ planned }, at, error)
    }
    letGo(mounted)
  }
  const groups = mounts[0]?.terms.user.groups ?? []
  for (const [name, text] of Object.entries(accountFiles(user, home, groups))) {
    writeWhole(run.etc(name), text, 0o644)
    if (fs.existsSync(`/etc/${name}`)) bindMount(run.etc(name), `/etc/${name}`)
  }
}

const isHome = ({ terms }: Pick<Agreed, 'terms'>): boolean => terms.kind === 'user' && terms.name === 'home'

/** README has the table. */
function environmentOf(
  { environment, manifest, url, ca, certificate }: SessionOptions,
  { run, name, owner, authorities }: Parts,
  mounts: readonly PreparedMount[],
): Record<string, string> {
  const found: Record<string, string> = {
    ...environment,
    ...manifest.environment,
    KARST_URL: url,
    KARST_SESSION: name.session,
    USER: owner.user.name,
    LOGNAME: owner.user.name,
  }
  const folder = certificateFolder(path.dirname(run.certificate('x')), ca, authorities)
  if (folder !== undefined) found['X509_CERT_DIR'] = folder
  if (ca !== undefined) {
    if (folder !== path.dirname(run.certificate('x'))) copyOpen(ca, run.certificate('karst-ca.pem'))
    found['KARST_CA'] = run.certificate('karst-ca.pem')
  }
  if (certificate === undefined) delete found['X509_USER_PROXY']
  else found['X509_USER_PROXY'] = run.own('x509up')
  for (const { terms, at } of mounts) {
    const variable = variableOf(terms.name)
    found[`KARST_${variable}_PATH`] = at
    found[`KARST_${variable}_URI`] = terms.uri
    if (isHome({ terms })) found['HOME'] = at
    if (terms.kind === 'scratch') found['SCRATCH'] = at
  }
  return found
}
