// The end of a session, however it comes: who is left in it is ended, what waits is sent, mounts and credentials go, and its scratch is given back. By the
// launcher, or in its place by whoever finds the note of one that was killed.
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { umountCommand } from '../command.ts'
import { isSupervised } from '../driver-place.ts'
import { abandonedBeside, isOfSession, keepersOf, namespacesBeside } from './abandoned.ts'
import { type RunFolder, type SessionNote } from './run-folder.ts'

const fs = process.getBuiltinModule('node:fs')

/** Milliseconds that programs left behind have to end by themselves. */
const GRACE = 2000

export interface FinishOptions {
  /** Gives back what the session had of the gateway. */
  readonly leave?: (note: SessionNote) => Promise<void>
  /** Seconds that the gateway is waited for. */
  readonly timeout?: number
  /** Of the processes in the mount namespace of the session only these are ended. */
  readonly isTheirs?: (pid: number) => boolean
}

/** Answers what could not be saved or put in order, a line each. Again: nothing happens. */
export async function finishSession(run: RunFolder, options: FinishOptions = {}): Promise<string[]> {
  const note = run.noted()
  if (note === undefined) {
    run.remove()
    return []
  }
  if (note.namespace !== undefined) await endAll(note.namespace, options.isTheirs)
  const ended = await Promise.all(note.mounts.map((dir) => unmounted(dir, note.stateDir, options.timeout)))
  const left = ended.flat()
  note.made?.forEach(removeEmpty)
  if (note.mounts.length > 0) left.push(...(await keptOf(note.stateDir)))
  if (note.gateway !== undefined && options.leave !== undefined) {
    try {
      await options.leave(note)
    } catch (error) {
      const late = 'its scratch goes, and bind mounts of it count no more, when they expire'
      left.push(`the gateway was not told of the end of session ${note.session}; ${late}: ${reason(error)}`)
    }
  }
  if (!run.remove()) left.push(`${run.path} is still in use, and was left`)
  return left
}

async function unmounted(dir: string, stateDir: string, timeout: number | undefined): Promise<string[]> {
  try {
    return await umountCommand({ dir, stateDir, ...(timeout !== undefined && { timeout }) })
  } catch (error) {
    // ended with the driver, which keeps what it had to send
    if ((error as { code?: string }).code === 'EINVAL') return []
    return [`${dir}: ${reason(error)}`]
  }
}

/** Of a driver that was killed together with who starts another: what it had not sent is put where people find it, a line a file. */
async function keptOf(stateDir: string): Promise<string[]> {
  const spools = path.join(stateDir, 'spool')
  if (isSupervised(stateDir) || !fs.existsSync(spools) || fs.readdirSync(spools).length === 0) return []
  const { StateDirectory, StateInUse } = await import('../state.ts')
  const said: string[] = []
  try {
    const state = await StateDirectory.own(stateDir, (line) => said.push(line))
    state.release()
  } catch (error) {
    // another driver is there by now, and has done it
    if (!(error instanceof StateInUse)) throw error
  }
  return said
}

/** What was made to mount on; whatever somebody has put there stays, as does what is still mounted. */
function removeEmpty(dir: string): void {
  try {
    fs.rmdirSync(dir)
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY', 'EBUSY'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
}

/** Ends those of the same user that nobody is left to end; `run` is not of them. Answers as finishSession. */
export async function finishAbandoned(run: RunFolder, options: FinishOptions = {}): Promise<string[]> {
  const left: string[] = []
  for (const one of abandonedBeside(run)) {
    const note = one.noted()
    // from now on there is somebody
    if (note !== undefined) one.note({ ...note, keepers: keepersOf([process.pid]) })
    left.push(...(await finishSession(one, { ...options, ...(note !== undefined && strict(one, note)) })))
  }
  return left
}

/** The number of a mount namespace is given again: long after the session it may be that of others. */
function strict(run: RunFolder, { session, namespace }: SessionNote): Pick<FinishOptions, 'isTheirs'> {
  const isOthers = namespace !== undefined && namespacesBeside(run).has(namespace)
  return { isTheirs: (pid) => !isOthers && isOfSession(pid, session) }
}

const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Ends everybody in a mount namespace but this process. */
async function endAll(namespace: string, isTheirs: (pid: number) => boolean = () => true): Promise<void> {
  for (const until = performance.now() + GRACE; ; await sleep(20)) {
    const left = processesIn(namespace).filter(isTheirs)
    if (left.length === 0) return
    const isLate = performance.now() > until
    for (const pid of left) signal(pid, isLate ? 'SIGKILL' : 'SIGTERM')
    if (performance.now() > until + GRACE) return
  }
}

function processesIn(namespace: string): number[] {
  return fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      try {
        return fs.readlinkSync(path.join('/proc', pid, 'ns', 'mnt')) === namespace
      } catch {
        return false // ended meanwhile, or another user's
      }
    })
    .map(Number)
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
