// `karst session`: partitions mounted into a mount namespace of its own, an environment that is the same at every site, and a command in it.
import * as fs from 'node:fs'
import path from 'node:path'
import { randomUUID } from 'node:crypto'
import { attach, bindMount, letGo, ownMountNamespace } from '../../src/libc/namespace.ts'
import { LibcError } from '../../src/libc/ffi.ts'
import { partitionWord, variableOf } from '../../src/vospace/partition.ts'
import { isSupervised } from '../driver-place.ts'
import { MountError } from '../fuse/mount-options.ts'
import { mountAt } from '../fuse/mountinfo.ts'
import { certificateFolder, copyOpen, renewing, writeProxy } from './credential.ts'
import { runCommand, wordsBefore } from './command.ts'
import { finishSession, watchOver } from './finish.ts'
import { accountFiles, type SessionUser, sessionUser } from './identity-files.ts'
import { notMounted, prepareMount, type MountWith, type PreparedMount } from './mounts.ts'
import { renewTokens } from './renewals.ts'
import { checkPlace, checkPlaces, type Manifest, type PlannedPartition } from './plan.ts'
import { checkRoom, makeRoom, missing, realPlace } from './room.ts'
import { RunFolder, type SessionNote, writeWhole } from './run-folder.ts'
import { type Agreed, type Ask, negotiate, type SessionName } from './terms.ts'
import { type Way } from './ways.ts'

export interface SessionOptions {
  readonly way: Way
  /** user and group of whoever called, where a user namespace has them as root */
  readonly inside?: { readonly uid: number; readonly gid: number }
  readonly plan: readonly PlannedPartition[]
  readonly manifest: Manifest
  /** id of the session; absent: one of its own */
  readonly id?: string
  readonly user?: string | number
  readonly command: readonly string[]
  readonly ask: Ask
  readonly url: string
  readonly ca?: string
  /** PEM of the user; absent: a token, and no proxy is made */
  readonly certificate?: string
  readonly tokenFile?: string
  readonly proxyHours: number
  readonly stateDir: string
  /** a folder in memory of the user's own */
  readonly runtime?: string
  readonly binds: Readonly<Record<string, string>>
  readonly environment: Readonly<Record<string, string>>
  /** of the command that ends the session should this process be killed */
  readonly finish: (run: string) => readonly string[]
  readonly leave: (note: SessionNote) => Promise<void>
  /** Seconds that the gateway is waited for. */
  readonly timeout?: number
  readonly tell: (line: string) => void
}

/** Runs it to its end; answers the exit code of the command. Throws Faults and MountErrors, with nothing left mounted. */
export async function runSession(options: SessionOptions): Promise<number> {
  const session = options.id ?? options.manifest.session ?? randomUUID()
  const name = { session, member: randomUUID() }
  const run = RunFolder.place(options.inside?.uid ?? process.geteuid?.() ?? 0, options.runtime)
  // before there is anything: it is all taken away again, a scratch given back too, however far this one comes
  watchOver(run, options.finish(run.path))
  run.create()
  run.note(noteOf(options, name, run, []))
  try {
    const all = await negotiated(options, name)
    const owner = ownerOf(options, all)
    const agreed = await withRoom(options, all, owner)
    for (const { terms } of agreed) for (const notice of terms.notices) options.tell(notice)
    const note = noteOf(options, name, run, agreed)
    run.note(note)
    return await within(options, { run, note, name, agreed, owner })
  } finally {
    const how = { leave: options.leave, ...(options.timeout !== undefined && { timeout: options.timeout }) }
    for (const line of await finishSession(run, how)) options.tell(line)
  }
}

/** What could not be had is left out where the plan says so; else it is thrown. */
async function settled<T>(
  { tell }: SessionOptions,
  work: readonly (readonly [PlannedPartition, Promise<T>])[],
): Promise<T[]> {
  const results = await Promise.allSettled(work.map(([, one]) => one))
  const failed = results.findIndex(({ status }, i) => status === 'rejected' && work[i]?.[0].optional !== true)
  if (failed !== -1) throw (results[failed] as PromiseRejectedResult).reason
  return results.flatMap((result) => {
    if (result.status === 'fulfilled') return [result.value]
    const { reason } = result as { reason: unknown }
    tell(`left out: ${reason instanceof Error ? reason.message : String(reason)}`)
    return []
  })
}

async function negotiated(options: SessionOptions, name: SessionName): Promise<Agreed[]> {
  const { plan, ask, binds, way } = options
  const known = way === 'root' ? Object.keys(binds) : []
  const agreed = await settled(
    options,
    plan.map((one) => [one, negotiate(ask, one, name, known)]),
  )
  checkPlaces(agreed.map(({ planned, at }) => ({ partition: planned.partition, at })))
  return agreed
}

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

function noteOf(options: SessionOptions, name: SessionName, run: RunFolder, agreed: readonly Agreed[]): SessionNote {
  const { stateDir, url, ca, certificate, tokenFile: token } = options
  const hasScratch = options.plan.some(({ partition }) => isScratch(partition))
  return {
    ...name,
    stateDir,
    mounts: agreed.map((one, i) => driverDirOf(options, run, one, i)),
    // elsewhere they are in memory
    ...(options.way === 'fusermount' && { made: toMake(agreed) }),
    ...(hasScratch && {
      scratch: {
        url,
        ...(ca !== undefined && { ca }),
        ...(certificate !== undefined && { certificate }),
        ...(token !== undefined && { tokenFile: token }),
      },
    }),
  }
}

function isScratch(partition: string): boolean {
  const word = partitionWord(partition)
  return 'kind' in word && word.kind === 'scratch'
}

/** Each once, the deepest first. */
function toMake(agreed: readonly Agreed[]): string[] {
  const all = new Set(agreed.flatMap(({ at }) => missing(at)))
  return [...all].sort((a, b) => b.length - a.length)
}

interface Parts {
  readonly run: RunFolder
  readonly note: SessionNote
  readonly name: SessionName
  readonly agreed: readonly Agreed[]
  readonly owner: Owner
}

async function within(options: SessionOptions, parts: Parts): Promise<number> {
  const { run, note, owner, agreed } = parts
  const { way, certificate, url, ca, stateDir, binds, timeout, proxyHours } = options
  const owned = way === 'root' && { owner: owner.user }
  const proxy = { source: certificate ?? '', file: run.own('x509up'), hours: proxyHours, ...owned }
  const how: MountWith = {
    ...{ run, way, url, stateDir, binds, ...owner.outside },
    ...(ca !== undefined && { ca }),
    ...(timeout !== undefined && { timeout }),
  }
  // both take long enough not to wait for each other
  const [due, mounts] = await Promise.all([
    certificate === undefined ? undefined : writeProxy(proxy),
    mountAll(options, agreed, how),
  ])
  const environment = environmentOf(options, parts, mounts)
  if (way !== 'fusermount') {
    ownMountNamespace()
    run.note({ ...note, namespace: fs.readlinkSync('/proc/self/ns/mnt') })
    arrange(run, mounts, owner, environment['HOME'] ?? '/')
  }
  const stop = [
    due === undefined
      ? () => undefined
      : renewing(
          due,
          () => writeProxy(proxy),
          (error) => options.tell(`the proxy could not be renewed: ${String(error)}`),
        ),
    ...renewTokens(options, parts),
  ]
  try {
    const before = wordsBefore(way, owner.user)
    // HOME may be the launcher's, where the user is not let in
    const cwd = mounts.find(isHome)?.at ?? '/'
    const surroundings = { env: environment, launcher: options.environment, cwd }
    return (await runCommand(before, options.command, surroundings)).code
  } finally {
    stop.forEach((end) => end())
  }
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
  { run, name, owner }: Parts,
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
  const folder = certificateFolder(path.dirname(run.certificate('x')), ca)
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
