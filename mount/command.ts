// `karst mount` asks the running driver, or starts it; `karst umount` always ends. Neither loads more than that needs.
import { randomUUID } from 'node:crypto'
import * as path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { askDriver, reachable, type ControlReply, type ControlRequest, type MountRequest } from './control.ts'
import { MountError } from './fuse/mount-options.ts'
import { holdersOf } from './fuse/holders.ts'
import { mountAt, placeOf } from './fuse/mountinfo.ts'
import { detachedUnder, probeMount, unmountFuse } from './fuse/unmount.ts'
import { driverLog } from './log.ts'
import { expectOutside } from './outside.ts'
import { devicesOf, isSupervised, socketOf } from './driver-place.ts'

const fs = process.getBuiltinModule('node:fs')

/** Milliseconds. */
const MOUNT_LIMIT = 120_000
const UNMOUNT_LIMIT = 90_000
/** Beside what the gateway is waited for. */
const UNMOUNT_SLACK = 20_000
const START_LIMIT = 60_000

export interface MountCommandOptions extends Omit<MountRequest, 'command'> {
  readonly stateDir: string
  /** An open /dev/fuse of this process that somebody has mounted at `dir`. */
  readonly fd?: number
  /** Serve in this process until it is unmounted or `signal` is aborted, instead of in a driver of its own. */
  readonly foreground: boolean
  readonly signal?: AbortSignal
  /** Foreground: hears when the mount is there. */
  readonly ready?: () => void
}

/** `karst mount`. Resolves when the mount answers; in the foreground when it is gone. Throws Faults, MountError, StateInUse. */
export async function mountCommand(options: MountCommandOptions): Promise<void> {
  const { stateDir, foreground, signal, ready = () => undefined, fd, ...rest } = options
  const device = fd === undefined ? undefined : randomUUID()
  if (fd !== undefined) expectDevice(fd)
  const asked = { ...absolute(rest), dir: await placeOf(rest.dir) }
  // what is mounted already may be asked nothing
  if (fd === undefined) expectOutside(asked.dir, needed(asked, stateDir))
  const request: MountRequest = { command: 'mount', ...asked, ...(device !== undefined && { device }) }
  const handed = device === undefined || fd === undefined ? undefined : hand(stateDir, device, fd)
  if (foreground) {
    const stop = signal ?? terminationSignal()
    const log = driverLog((line) => process.stderr.write(line))
    const { runDriver } = await import('./daemon.ts')
    await Promise.all([handed, runDriver(stateDir, { log, signal: stop, ready, first: request })])
    return
  }
  // the driver says so too when the device did not come
  handed?.catch(() => undefined)
  for (let attempt = 1; ; attempt++) {
    const reply = await ask(stateDir, request, MOUNT_LIMIT)
    if (reply?.ok === true) break
    if (reply !== undefined) throw new MountError(reply.error, reply.code)
    const failure = await startDaemon(stateDir, request)
    if (failure === undefined) break
    // another `karst mount` was starting the driver, or the last one was just ending
    if (failure.code !== 'StateInUse' || attempt === 20) throw new MountError(failure.error, failure.code)
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
  if (fd === undefined) await lookAt(request.dir)
}

/**
 * The kernel has no mode of a root before somebody looks at it, and when the first two programs come at the same moment it may refuse one of them
 * (EACCES; seen on Linux 6.18). What is wrong with the mount otherwise they hear by themselves.
 */
function lookAt(dir: string): Promise<void> {
  return new Promise((resolve) => fs.stat(dir, () => resolve()))
}

/** By what they are called where one of them is refused. */
function needed({ certificate, tokenFile, ca }: Omit<MountRequest, 'command'>, stateDir: string) {
  return {
    'the state directory (KARST_MOUNT_STATE)': path.resolve(stateDir),
    ...{ 'the certificate': certificate, 'the token': tokenFile, 'the CA': ca },
    'the program': import.meta.dirname,
  }
}

/** Number of /dev/fuse in Linux's list of devices: character, 10:229. */
const FUSE_DEVICE = (10 << 8) | 229

/** Another descriptor would be waited on in vain. Throws MountError. */
function expectDevice(fd: number): void {
  try {
    const stat = fs.fstatSync(fd)
    if (stat.isCharacterDevice() && stat.rdev === FUSE_DEVICE) return
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EBADF') throw error
  }
  throw new MountError(`descriptor ${fd} is no open /dev/fuse`, 'EBADF')
}

async function hand(stateDir: string, device: string, fd: number): Promise<void> {
  const { handDevice } = await import('./fuse/handed-devices.ts')
  fs.mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  const place = reachable(devicesOf(stateDir))
  try {
    await handDevice(place.path, device, fd)
  } finally {
    place.release()
  }
}

/** Milliseconds that another driver has to come in place of one that does not answer. */
const CHANGE_LIMIT = 10_000

/** Asks the driver, or the one that comes after it; `undefined` where there is none. */
async function ask(stateDir: string, request: ControlRequest, limit: number): Promise<ControlReply | undefined> {
  const until = performance.now() + CHANGE_LIMIT
  for (;;) {
    const reply = await askDriver(socketOf(stateDir), request, limit)
    if (reply !== undefined || !isSupervised(stateDir) || performance.now() > until) return reply
    await sleep(50)
  }
}

/** The driver has another working directory. */
function absolute(request: Omit<MountRequest, 'command'>): Omit<MountRequest, 'command'> {
  const { certificate, tokenFile, ca, registry } = request
  return {
    ...request,
    ...(certificate !== undefined && { certificate: path.resolve(certificate) }),
    ...(tokenFile !== undefined && { tokenFile: path.resolve(tokenFile) }),
    ...(ca !== undefined && { ca: path.resolve(ca) }),
    ...(registry !== undefined && !/^[a-z]+:\/\//i.test(registry) && { registry: path.resolve(registry) }),
  }
}

function terminationSignal(): AbortSignal {
  const controller = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => controller.abort())
  return controller.signal
}

/** What the daemon's process tells the one that started it. */
export interface DaemonMessage {
  readonly error?: string
  readonly code?: string
}

/** Starts a driver that outlives this process; answers what went wrong. */
async function startDaemon(
  stateDir: string,
  request: MountRequest,
): Promise<{ error: string; code: string } | undefined> {
  fs.mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  const log = fs.openSync(path.join(stateDir, 'driver.log'), 'a', 0o600)
  const { startSupervisor } = await import('./supervisor.ts')
  const child = startSupervisor({ state: stateDir, request: JSON.stringify(request), log })
  fs.closeSync(log)
  const message = await new Promise<DaemonMessage>((resolve) => {
    const timer = setTimeout(() => resolve({ error: 'the driver does not start', code: 'ETIMEDOUT' }), START_LIMIT)
    const hear = (said: DaemonMessage) => {
      clearTimeout(timer)
      resolve(said)
    }
    child.once('message', hear)
    child.once('error', (error) => hear({ error: error.message, code: 'EIO' }))
    child.once('exit', () => hear({ error: `the driver ended; see ${stateDir}/driver.log`, code: 'EIO' }))
  })
  if (child.connected) child.disconnect()
  child.unref()
  return message.error === undefined ? undefined : { error: message.error, code: message.code ?? 'EIO' }
}

export interface UmountCommandOptions {
  readonly dir: string
  readonly stateDir: string
  /** Seconds to wait for the gateway: 60 unless said otherwise. */
  readonly timeout?: number
}

/**
 * `karst umount`: asks the driver to send what waits and unmount; where there is none, or it does not answer, takes the mount
 * away anyhow. Answers what could not be saved, one line each; nothing where nothing is mounted. Throws MountError.
 */
export async function umountCommand(options: UmountCommandOptions): Promise<string[]> {
  const dir = await placeOf(options.dir)
  const { timeout } = options
  const limit = timeout === undefined ? UNMOUNT_LIMIT : timeout * 1000 + UNMOUNT_SLACK
  const reply = await ask(
    options.stateDir,
    { command: 'umount', dir, ...(timeout !== undefined && { timeout }) },
    limit,
  )
  if (reply?.ok === true) return [...reply.left]
  const mount = await mountAt(dir)
  if (mount === undefined || !/^fuse\b/.test(mount.type)) return []
  const state = await probeMount(dir)
  try {
    await unmountFuse(dir, { lazy: state !== 'answers' })
  } catch (error) {
    if (!(error instanceof MountError) || error.code !== 'EBUSY') throw error
    const holders = await holdersOf(mount.device)
    await unmountFuse(dir, { lazy: true })
    return [detachedUnder(dir, holders)]
  }
  return state === 'silent' ? [`${dir}: the driver did not answer; detached`] : []
}
