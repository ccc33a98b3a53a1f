// What a session keeps while it lives: a folder in memory with its credentials, and the note by which whoever comes after a killed launcher ends it.
import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { Fault } from '../../src/vospace/fault.ts'

const fs = process.getBuiltinModule('node:fs')

/** statfs(2): what is in memory, and never on a disk. */
const IN_MEMORY = [0x01021994, 0x858458f6]

/** Who ends a session: its launcher, and who waits to do so in its place. */
export interface Keepers {
  /** of the kernel that numbers them, and the PID namespace that does */
  readonly boot: string
  readonly namespace: string
  /** number and start time of each, as in driver-place.ts */
  readonly processes: readonly string[]
}

/** The end of a session needs no more than this. */
export interface SessionNote {
  readonly session: string
  /** this container of the session */
  readonly member: string
  readonly keepers?: Keepers
  /** of the driver */
  readonly stateDir: string
  /** under which names the driver has its mounts */
  readonly mounts: readonly string[]
  /** directories that were made to mount on, the deepest first */
  readonly made?: readonly string[]
  /** of this thread's mount namespace: whoever is left in it is ended. Absent: they run in the one of the launcher */
  readonly namespace?: string
  /** which is to be told of the end, for scratch and bind mounts, and with whose proxy or token */
  readonly gateway?: {
    readonly url: string
    readonly ca?: string
    readonly certificate?: string
    readonly tokenFile?: string
  }
}

/** With their modes: programs list the CAs, and nobody but the driver sees what is its. */
const FOLDERS = { driver: 0o700, own: 0o711, etc: 0o711, certificates: 0o755, hold: 0o711 } as const

/** Where sessions of a user may be kept: folders in memory, the first that can be written is taken. `runtime`: one of the user's own. */
const placesFor = (uid: number, runtime: string | undefined): string[] => [
  ...(uid === 0 ? ['/run'] : []),
  ...(runtime === undefined ? [] : [runtime]),
  '/dev/shm',
]

const within = (place: string, uid: number): string =>
  path.join(place, uid === 0 ? 'karst-sessions' : `karst-sessions-${uid}`)

/** The directories that have a user's sessions in them, those that there are and that are the user's own. */
export function sessionsOf(uid: number, runtime: string | undefined): string[] {
  const dirs = placesFor(uid, runtime).map((place) => within(place, uid))
  return dirs.filter((dir) => fs.lstatSync(dir, { throwIfNoEntry: false })?.uid === process.geteuid?.())
}

export class RunFolder {
  readonly path: string

  private constructor(dir: string) {
    this.path = dir
  }

  /** A place for one, with nothing at it; else as `make`. */
  static place(uid: number, runtime: string | undefined): RunFolder {
    const places = placesFor(uid, runtime)
    const base = places.find(isInMemory)
    if (base === undefined)
      throw new Fault(
        'InvalidArgument',
        `credentials of a session are kept in memory, and none of ${places.join(', ')} is a tmpfs that can be written`,
      )
    const parent = within(base, uid)
    makeOpen(parent, 0o711)
    const { uid: owner, mode } = fs.lstatSync(parent)
    // in /dev/shm anybody may have made it before
    if (owner !== process.geteuid?.() || (mode & 0o022) !== 0)
      throw new Fault('PermissionDenied', `${parent} is somebody else's: remove it`)
    if ((mode & 0o011) !== 0o011) fs.chmodSync(parent, 0o711)
    return new RunFolder(path.join(parent, randomUUID()))
  }

  /** For a user; `runtime`: their folder in memory, where they have one. InvalidArgument where nothing is in memory, PermissionDenied. */
  static make(uid: number, runtime: string | undefined): RunFolder {
    const run = RunFolder.place(uid, runtime)
    run.create()
    return run
  }

  create(): void {
    makeOpen(this.path, 0o711)
    for (const [name, mode] of Object.entries(FOLDERS)) makeOpen(path.join(this.path, name), mode)
  }

  /** One that is there. */
  static at(dir: string): RunFolder {
    return new RunFolder(dir)
  }

  /** Read by the driver alone. */
  driver(name: string): string {
    return path.join(this.path, 'driver', name)
  }

  /** The session's own. */
  own(name: string): string {
    return path.join(this.path, 'own', name)
  }

  certificate(name: string): string {
    return path.join(this.path, 'certificates', name)
  }

  etc(name: string): string {
    return path.join(this.path, 'etc', name)
  }

  get hold(): string {
    return path.join(this.path, 'hold')
  }

  note(note: SessionNote): void {
    writeWhole(path.join(this.path, 'session.json'), JSON.stringify(note), 0o600)
  }

  /** undefined: the session has ended, or has not begun. */
  noted(): SessionNote | undefined {
    try {
      return JSON.parse(fs.readFileSync(path.join(this.path, 'session.json'), 'utf8')) as SessionNote
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }

  /**
   * Never what lies below a mount: only files of ours and empty directories go, one by one. The note goes first, since with it the session has
   * ended. Answers whether nothing is left.
   */
  remove(): boolean {
    fs.rmSync(path.join(this.path, 'session.json'), { force: true })
    for (const folder of Object.keys(FOLDERS)) {
      const dir = path.join(this.path, folder)
      for (const name of fs.existsSync(dir) ? fs.readdirSync(dir) : []) removeOne(path.join(dir, name))
      removeOne(dir)
    }
    for (const name of fs.existsSync(this.path) ? fs.readdirSync(this.path) : []) removeOne(path.join(this.path, name))
    return removeOne(this.path)
  }
}

function isInMemory(dir: string): boolean {
  try {
    fs.accessSync(dir, fs.constants.W_OK)
    return IN_MEMORY.includes(fs.statfsSync(dir).type)
  } catch {
    return false // not there, or not ours to write
  }
}

function removeOne(place: string): boolean {
  try {
    if (fs.lstatSync(place).isDirectory()) fs.rmdirSync(place)
    else fs.unlinkSync(place)
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return true
    if (code === 'EBUSY' || code === 'ENOTEMPTY') return false
    throw error
  }
}

/** As open as said, whatever the umask of whoever called: the user of the session has to get through. One that is there stays as it is. */
export function makeOpen(dir: string, mode: number): void {
  try {
    fs.mkdirSync(dir, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return
    throw error
  }
  fs.chmodSync(dir, mode)
}

/** Readers see the old file or the new one; the umask counts for nothing. */
export function writeWhole(
  file: string,
  text: string,
  mode: number,
  owner?: { readonly uid: number; readonly gid: number },
): void {
  const draft = `${file}.${process.pid}.new`
  try {
    fs.writeFileSync(draft, text, { mode, flag: 'wx' })
    if (owner !== undefined) fs.chownSync(draft, owner.uid, owner.gid)
    fs.chmodSync(draft, mode)
    fs.renameSync(draft, file)
  } catch (error) {
    // where there was no room: else the next one would fail of what is left of this one
    fs.rmSync(draft, { force: true })
    throw error
  }
}
