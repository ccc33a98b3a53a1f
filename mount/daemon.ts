// One driver process serves many mounts. `karst mount` asks the running driver, or starts it; `karst umount` always ends.
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { type Server } from 'node:net'
import * as path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault } from '../src/vospace/fault.ts'
import { nodePath } from '../src/vospace/path.ts'
import { parseVosUri, service } from '../src/vospace/uri.ts'
import { BlockStore, roomFor } from './block-store.ts'
import { Client, type ConnectOptions } from './client.ts'
import { listenForControl, reachable } from './control.ts'
import { type ControlReply, type ControlRequest, type MountRequest, type MountStatus } from './control.ts'
import { closeDevice, type DescriptorStore } from './fuse/descriptor-store.ts'
import { HandedDevices } from './fuse/handed-devices.ts'
import { MountError } from './fuse/mount-options.ts'
import { detachedUnder, detachStale, unmountFuse } from './fuse/unmount.ts'
import { locate } from './locate.ts'
import { notingLog, type DriverLog, type NotingLog } from './log.ts'
import { serveMount, type Mounted, type Resumed, type ServeOptions } from './mounted.ts'
import { ReadBudget } from './read-budget.ts'
import { type Identity, type Remote } from './remote.ts'
import { devicesOf } from './driver-place.ts'
import { loadMount } from './resume.ts'
import { SharedBytes } from './shared-bytes.ts'
import type { Agreement, AgreementRequest } from './session/agreement-request.ts'
import { Agreements } from './session/agreements.ts'
import { recordSupervisor, StateDirectory, StateInUse } from './state.ts'
import { startSupervisor, STORE_ENDS } from './supervisor.ts'

/** Bytes; the whole process is to stay below 250 MiB with twenty mounts that read, and garbage counts until it is collected. */
const READ_AHEAD = 24 << 20
/** Bytes on disk, or a tenth of what is free there. */
const SHARED = 1 << 30

type Sharing = Pick<ServeOptions, 'sharedRemote'>

/** The mounts of one process. */
export class Driver {
  readonly #state: StateDirectory
  readonly #log: DriverLog
  readonly #budget = new ReadBudget(READ_AHEAD)
  readonly #mounts = new Map<string, Mounted>()
  /** Detached while in use: no longer anybody's directory, served until the last user lets go. */
  readonly #detached = new Set<Mounted>()
  readonly #store: DescriptorStore | undefined
  readonly #devices: HandedDevices | undefined
  readonly #logs = new WeakMap<Mounted, NotingLog>()
  readonly #agreements = new Agreements()
  #shared: SharedBytes | undefined

  /** The state directory is owned by the caller. With a store the mounts survive this process. */
  constructor(state: StateDirectory, log: DriverLog, store?: DescriptorStore, devices?: HandedDevices) {
    this.#devices = devices
    this.#state = state
    this.#log = log
    this.#store = store
  }

  /** Mounts what the request names. Throws Faults of gateway and registry, MountError. */
  async mount(request: MountRequest): Promise<Mounted> {
    const { url, path: root } = await locate(request)
    const log = notingLog(this.#log)
    const gateway = gatewayOf(request, url, log)
    const remote = new Client(gateway)
    const { command: _, device, ahead, ...asked } = request
    const survival = this.#store && { store: this.#store, request: asked, url }
    try {
      const greeting = ahead === undefined ? undefined : await this.#agreements.take(ahead)
      const identity = greeting?.identity ?? (await remote.greet())
      checkService(request.uri, identity, url)
      const fd = device === undefined ? undefined : await this.#devices?.take(device)
      return await this.serve(remote, root, request, {
        ...(survival !== undefined && { survival }),
        ...this.#sharing(request, url, remote),
        ...(fd !== undefined && { fd }),
        ...{ identity, log },
        ...(greeting !== undefined && { rootEntry: greeting.root }),
      })
    } catch (error) {
      await remote.close()
      throw error
    }
  }

  /** Goes on with a mount of the driver before this one. Throws where its record cannot be used. */
  async resume(resume: Resumed, store: DescriptorStore): Promise<void> {
    const { request, url, root } = resume.saved
    const log = notingLog(this.#log)
    const remote = new Client(gatewayOf(request, url, log))
    const sharing = this.#sharing(request, url, remote)
    await this.serve(remote, nodePath(root), request, { resume, survival: { store, request, url }, log, ...sharing })
  }

  #sharing({ shared, readOnly, ca }: Omit<MountRequest, 'command'>, url: string, remote: Remote): Sharing {
    if (shared !== true || !readOnly) return {}
    const room = (): number => roomFor(this.#state.path, SHARED)
    const said = (message: string): void => this.#log.info(message)
    this.#shared ??= new SharedBytes(new BlockStore(this.#state.path, room(), said))
    // whom one mount trusts by a CA of its own says nothing to another that does not
    const trusted = ca === undefined ? '' : createHash('sha256').update(fs.readFileSync(ca)).digest('hex')
    return { sharedRemote: this.#shared.of(`${url} ${trusted}`, remote) }
  }

  /** Serves `root` of a gateway at `dir`; closes `remote` when the mount has ended. */
  async serve(
    remote: Remote,
    root: Parameters<typeof serveMount>[0]['root'],
    request: Pick<
      MountRequest,
      'dir' | 'uri' | 'readOnly' | 'allowOther' | 'noExec' | 'trusted' | 'ttl' | 'uid' | 'gid'
    >,
    more: Pick<ServeOptions, 'survival' | 'resume' | 'fd' | 'identity' | 'rootEntry'> &
      Sharing & { readonly log?: NotingLog } = {},
  ): Promise<Mounted> {
    const { log = notingLog(this.#log), ...kept } = more
    const { uri, ...rest } = request
    const dir = path.resolve(request.dir)
    if (this.#mounts.has(dir)) throw new MountError(`${dir} is mounted already`, 'EBUSY')
    // one that is gone on with would be asked before anybody answers
    if (more.resume === undefined && more.fd === undefined) await detachStale(dir)
    const mounted = await serveMount({
      ...rest,
      ...{ dir, remote, root, source: uri, state: this.#state.path, budget: this.#budget },
      ...kept,
      log: (message) => this.#log.info(message),
      logger: log,
    })
    this.#logs.set(mounted, log)
    this.#mounts.set(dir, mounted)
    this.#record()
    void this.#whenEnded(dir, mounted, remote)
    this.#log.info(`${dir}: ${uri} ${more.resume === undefined ? 'mounted' : 'taken over'}`)
    return mounted
  }

  async #whenEnded(dir: string, mounted: Mounted, remote: Remote): Promise<void> {
    await mounted.ended
    if (this.#mounts.get(dir) === mounted) this.#mounts.delete(dir)
    this.#record()
    this.#log.info(`${dir}: unmounted`)
    try {
      await remote.close()
    } catch (error) {
      this.#log.error(`${dir}: closing the connection`, error)
    }
  }

  #record(): void {
    this.#state.record([...this.#mounts.keys()])
  }

  /** Sends what waits and unmounts; answers what could not be sent. Throws MountError with EINVAL where nothing is mounted. */
  async unmount(dir: string, seconds?: number): Promise<string[]> {
    const mounted = this.#mounts.get(path.resolve(dir))
    if (mounted === undefined) throw new MountError(`nothing of ours is mounted at ${dir}`, 'EINVAL')
    const { unsent, holders } = await mounted.unmount(undefined, seconds === undefined ? undefined : seconds * 1000)
    if (holders !== undefined) this.#detach(mounted)
    return [
      ...(unsent === 0 ? [] : [`${dir}: ${unsent} files could not be sent; see ${this.#state.path}/recovered`]),
      ...(holders === undefined ? [] : [detachedUnder(dir, holders)]),
    ]
  }

  #detach(mounted: Mounted): void {
    this.#mounts.delete(mounted.dir)
    this.#detached.add(mounted)
    void mounted.ended.then(() => this.#detached.delete(mounted))
    this.#record()
  }

  list(): MountStatus[] {
    return [...this.#mounts.values()].map((mounted) => {
      const lastError = this.#logs.get(mounted)?.last
      return { ...mounted.status, ...(lastError !== undefined && { lastError }) }
    })
  }

  /** Resolves when no mount is left. */
  async idle(): Promise<void> {
    for (;;) {
      const served = [...this.#mounts.values(), ...this.#detached]
      if (served.length === 0) return
      await Promise.all(served.map(({ ended }) => ended))
    }
  }

  /** Unmounts everything, for the end of the process. */
  async close(): Promise<void> {
    for (const dir of [...this.#mounts.keys()]) {
      try {
        for (const line of await this.unmount(dir)) this.#log.info(line)
      } catch (error) {
        this.#log.error(`${dir}: unmounting`, error)
      }
    }
    this.#shared?.close()
    this.#agreements.close()
  }

  #reply(left: readonly string[]): ControlReply & { readonly ok: true } {
    const cache = { used: this.#budget.used, limit: READ_AHEAD, shared: this.#shared?.used ?? 0 }
    return { ok: true, pid: process.pid, mounts: this.list(), left, cache }
  }

  /** None: whoever asks has to do it by themselves. */
  async #agree(request: AgreementRequest): Promise<{ readonly agreement?: Agreement }> {
    try {
      const agreement = await this.#agreements.make(request)
      return agreement === undefined ? {} : { agreement }
    } catch (error) {
      if (error instanceof Fault || error instanceof MountError) throw error
      this.#log.error('agree', error)
      return {}
    }
  }

  /** Whoever asked has ended before the answer. */
  async unheard(request: ControlRequest): Promise<void> {
    if (request.command !== 'agree') return
    try {
      await this.#agreements.giveBack(request.request)
    } catch (error) {
      this.#log.error('a session that has ended before it began is not given back', error)
    }
  }

  /** Answers a control request; never rejects. */
  async answer(request: ControlRequest): Promise<ControlReply> {
    try {
      let left: string[] = []
      if (request.command === 'agree') return { ...this.#reply(left), ...(await this.#agree(request.request)) }
      if (request.command === 'mount') await this.mount(request)
      else if (request.command === 'umount') left = await this.unmount(request.dir, request.timeout)
      return this.#reply(left)
    } catch (error) {
      if (!(error instanceof Fault) && !(error instanceof MountError)) this.#log.error(request.command, error)
      const { code, errno } = error as { code?: string; errno?: string }
      return { ok: false, error: error instanceof Error ? error.message : String(error), code: code ?? errno ?? 'EIO' }
    }
  }
}

/** The gateway at that URL may be another than the one that was named. */
function checkService(uri: string, { resourceId }: Identity, url: string): void {
  if (parseVosUri(uri).authority === service(resourceId).authority) return
  throw new Fault('InvalidURI', `the gateway at ${url} is ${resourceId}, and ${uri} is not of it`)
}

/** How the gateway of a mount is reached. */
function gatewayOf(
  { certificate, tokenFile, ca, trusted = false, timeout }: Omit<MountRequest, 'command'>,
  url: string,
  logger: DriverLog,
): ConnectOptions {
  return {
    ...{ url, certificate, tokenFile, trusted, logger },
    ...(ca !== undefined && { ca }),
    ...(timeout !== undefined && { timeLimit: timeout }),
  }
}

export interface RunOptions {
  readonly log: DriverLog
  readonly signal: AbortSignal
  /** Hears when all is served. */
  readonly ready: () => void
  /** Mounted before it listens; its refusal is thrown. */
  readonly first?: MountRequest
  /** Where the mounts of the driver before this one lie. */
  readonly store?: DescriptorStore
  /** process that starts another driver when this one is killed; with a store */
  readonly supervisor?: number
}

/** A driver with its control socket, until its last mount is gone or `signal` is aborted (then it unmounts everything). */
export async function runDriver(stateDir: string, options: RunOptions): Promise<void> {
  const { log, signal, ready, first, store, supervisor } = options
  let left: readonly Resumed[] = []
  const resumed = () => {
    left = store === undefined ? [] : leftMounts(stateDir, store)
    return new Map(left.map(({ saved }) => [saved.id, path.resolve(saved.request.dir)]))
  }
  const state = await own(stateDir, log, resumed, first === undefined)
  const place = reachable(devicesOf(stateDir))
  const devices = new HandedDevices(place.path)
  const ending = new AbortController()
  try {
    const driver = new Driver(state, log, store, devices)
    if (store !== undefined) {
      guardSupervisor(state, log, supervisor ?? process.ppid)
      await resumeAll(driver, left, store, log)
    }
    if (first !== undefined) await driver.mount(first)
    const server = await listenForControl(
      state.socket,
      (request) => driver.answer(request),
      (request) => void driver.unheard(request),
      ending.signal,
    )
    const stopped = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
    ready()
    if (!signal.aborted) await Promise.race([driver.idle(), stopped])
    ending.abort()
    await stopListening(server, state.socket)
    await driver.close()
    await driver.idle()
  } finally {
    devices.close()
    place.release()
    state.release()
  }
}

/** As StateDirectory.own. Who takes over may be here before the other has quite gone. */
async function own(
  stateDir: string,
  log: DriverLog,
  resumed: () => ReadonlyMap<string, string>,
  isPatient: boolean,
): Promise<StateDirectory> {
  for (let left = isPatient ? 200 : 0; ; left--) {
    try {
      return await StateDirectory.own(stateDir, (message) => log.info(message), resumed)
    } catch (error) {
      if (!(error instanceof StateInUse) || left === 0) throw error
    }
    await sleep(50)
  }
}

/** The mounts of the driver before this one that can be gone on with; the others go with their descriptors. */
function leftMounts(stateDir: string, store: DescriptorStore): Resumed[] {
  return [...store.recover()].flatMap(([id, fd]) => {
    const saved = loadMount(stateDir, id)
    if (saved !== undefined) return { saved, fd }
    store.drop(id)
    closeDevice(fd)
    return []
  })
}

/** A mount whose record is of no use is detached, as when there were no supervisor. */
async function resumeAll(
  driver: Driver,
  left: readonly Resumed[],
  store: DescriptorStore,
  log: DriverLog,
): Promise<void> {
  for (const resumed of left) {
    const { id, request } = resumed.saved
    try {
      await driver.resume(resumed, store)
    } catch (error) {
      log.error(`${request.dir}: cannot be taken over`, error)
      store.drop(id)
      closeDevice(resumed.fd)
      await unmountFuse(request.dir, { lazy: true }).catch((failure: unknown) => log.error(request.dir, failure))
    }
  }
}

/** Milliseconds between two looks. */
const SUPERVISOR_CHECK = 500

/** When the supervisor is killed another one is started, whose driver goes on in place of this one. */
function guardSupervisor(state: StateDirectory, log: DriverLog, parent: number): void {
  recordSupervisor(state.path, parent)
  const timer = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(timer)
    log.info('the supervisor was killed; starting another')
    startSupervisor({ state: state.path, log: process.stderr.fd, ends: STORE_ENDS }).unref()
    // what is under way is asked of the next driver again, as after any other death
    process.kill(process.pid, 'SIGKILL')
  }, SUPERVISOR_CHECK).unref()
}

/** Requests under way are answered; new ones find no socket and start a driver of their own. */
async function stopListening(server: Server, socket: string): Promise<void> {
  fs.rmSync(socket, { force: true })
  await new Promise<void>((resolve) => server.close(() => resolve()))
}

export {
  mountCommand,
  umountCommand,
  type DaemonMessage,
  type MountCommandOptions,
  type UmountCommandOptions,
} from './command.ts'
export { StateInUse }
