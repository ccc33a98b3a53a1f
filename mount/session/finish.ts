// The end of a session, however it comes: who is left in it is ended, what waits is sent, mounts and credentials go, and its scratch is given back. By the
// launcher, or in its place by whoever finds the note of one that was killed.
import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { umountCommand } from '../command.ts'
import { isSupervised } from '../driver-place.ts'
import { type RunFolder, type SessionNote } from './run-folder.ts'

/** Milliseconds that programs left behind have to end by themselves. */
const GRACE = 2000

export interface FinishOptions {
  /** Gives back what the session had of the gateway. */
  readonly leave?: (note: SessionNote) => Promise<void>
  /** Seconds that the gateway is waited for. */
  readonly timeout?: number
}

/** Answers what could not be saved or put in order, a line each. Again: nothing happens. */
export async function finishSession(run: RunFolder, options: FinishOptions = {}): Promise<string[]> {
  const note = run.noted()
  if (note === undefined) {
    run.remove()
    return []
  }
  if (note.namespace !== undefined) await endAll(note.namespace)
  const ended = await Promise.all(note.mounts.map((dir) => unmounted(dir, note.stateDir, options.timeout)))
  const left = ended.flat()
  note.made?.forEach(removeEmpty)
  if (note.mounts.length > 0) left.push(...(await keptOf(note.stateDir)))
  if (note.scratch !== undefined && options.leave !== undefined) {
    try {
      await options.leave(note)
    } catch (error) {
      left.push(`the scratch of session ${note.session} was not given back, and goes when it expires: ${reason(error)}`)
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

const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Ends everybody in a mount namespace but this process. */
async function endAll(namespace: string): Promise<void> {
  for (const until = performance.now() + GRACE; ; await sleep(20)) {
    const left = processesIn(namespace)
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

/**
 * Starts who ends the session should this process be killed: a shell that reads from a pipe until nobody holds its other end. `finish`: the command
 * line that does it. Before there is a note there are only empty folders.
 */
export function watchOver(run: RunFolder, finish: readonly string[]): void {
  const script = `exec >/dev/null 2>&1; cat; [ -e "$1/session.json" ] || { rm -f "$1"/*.new; rmdir "$1"/* "$1"; exit 0; }
    shift; exec "$@" </dev/null`
  const child = spawn('/bin/sh', ['-c', script, 'karst-session', run.path, ...finish], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  child.unref()
  // it lives as long as this process does, and keeps it from nothing
  ;(child.stdin as unknown as { unref?: () => void }).unref?.()
}
