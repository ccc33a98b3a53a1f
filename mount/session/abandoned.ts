// Sessions whose launcher and watcher were killed together: nobody is left to end them, so the next session of the same user on the node has it done.
import path from 'node:path'
import { isAlive, processMark, readIfThere } from '../driver-place.ts'
import { RunFolder, sessionsOf, type Keepers, type SessionNote } from './run-folder.ts'

const fs = process.getBuiltinModule('node:fs')

/** Milliseconds after which a folder without a note is not one that is just being made. */
const MAKING = 60_000

/** These processes, of this kernel and this process's own PID namespace: elsewhere the same numbers mean others. */
export function keepersOf(pids: readonly (number | undefined)[]): Keepers {
  const marks = pids.map((pid) => (pid === undefined ? undefined : processMark(pid)))
  return { ...here(), processes: marks.filter((mark) => mark !== undefined) }
}

function here(): Omit<Keepers, 'processes'> {
  const boot = fs.readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  return { boot, namespace: fs.readlinkSync('/proc/self/ns/pid') }
}

/** Whether nobody is left to end it. Where that cannot be known from here it is not. */
export function isAbandoned({ keepers }: SessionNote): boolean {
  const { boot, namespace } = here()
  return keepers?.boot === boot && keepers.namespace === namespace && !keepers.processes.some(isAlive)
}

/** The folders of abandoned sessions of the same user. One that has no note any more was left while it was being removed. */
export function abandonedBeside(run: RunFolder): RunFolder[] {
  return besides(run).filter(isLeft)
}

/** The same of a user, to whom none of them is new; `runtime`: their folder in memory, where they have one. */
export function abandonedOf(uid: number, runtime: string | undefined): RunFolder[] {
  return sessionsOf(uid, runtime).flatMap(foldersIn).filter(isLeft)
}

function isLeft(run: RunFolder): boolean {
  const note = run.noted()
  return note === undefined ? isOld(run.path) : isAbandoned(note)
}

/** Mount namespaces of the sessions beside one that are not abandoned. */
export function namespacesBeside(run: RunFolder): ReadonlySet<string> {
  const living = besides(run).flatMap((one) => one.noted() ?? [])
  return new Set(living.filter((note) => !isAbandoned(note)).flatMap(({ namespace }) => namespace ?? []))
}

function besides(run: RunFolder): RunFolder[] {
  return foldersIn(path.dirname(run.path)).filter((one) => one.path !== run.path)
}

const foldersIn = (parent: string): RunFolder[] =>
  fs.readdirSync(parent).map((name) => RunFolder.at(path.join(parent, name)))

function isOld(dir: string): boolean {
  const found = fs.statSync(dir, { throwIfNoEntry: false })
  return found !== undefined && Date.now() - found.mtimeMs > MAKING
}

/** Whether a process was started in the session: what it was given as its environment says so. */
export function isOfSession(pid: number, session: string): boolean {
  try {
    return readIfThere(`/proc/${pid}/environ`)?.split('\0').includes(`KARST_SESSION=${session}`) === true
  } catch {
    return false // ended meanwhile, or not ours to look at
  }
}
