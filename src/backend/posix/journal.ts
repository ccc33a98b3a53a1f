/**
 * The redo journal of amends in place: three names in `.karst/journal`, of which `N.redo` is the promise. `N.data` are the spooled extents,
 * `N.target` is a second name of the file that is amended, so that a replay finds it wherever it was renamed to.
 */
import {
  close,
  closeSync,
  constants,
  fsync,
  linkSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { promisify } from 'node:util'
import { type NodePath } from '../../vospace/path.ts'
import { type Inode } from './inode.ts'
import { pinned } from './inode-write.ts'
import { type Interval } from './interval.ts'
import { type Staged } from './staging.ts'
import { type Store } from './store.ts'
import { spot, type Spot } from './tree.ts'

const sync = promisify(fsync)
const closed = promisify(close)

/** What is to be done, again after a crash. */
export interface Redo {
  readonly intervals: readonly Interval[]
  readonly length: number
  readonly version: string
  /** nanoseconds */
  readonly mtime?: string
}

export interface Journal {
  readonly dir: number
  readonly redo: Spot
  readonly data: Spot
  readonly target: Spot
}

/**
 * Makes the amend a promise: after this it happens, whatever crashes. The inode must be the one at `path`; `reserve` gets its second
 * name and may still refuse. The caller ends with `withdraw`.
 */
export async function openJournal(store: Store, path: NodePath, inode: Inode, spool: Staged, redo: Redo, reserve: (file: string) => void): Promise<Journal> {
  const keeper = store.tree.keeperOf(path)
  store.kept.add(keeper)
  const dir = store.tree.openReserved(keeper, 'journal')
  const name = `${inode.self}.${redo.version}`
  const journal = { dir, redo: spot(dir, `${name}.redo`), data: spot(dir, `${name}.data`), target: spot(dir, `${name}.target`) }
  try {
    store.tree.at(path, (at) => linkSync(at.file, journal.target.file))
    closeSync(pinned(journal.target.file, inode))
    reserve(journal.target.file)
    linkSync(spool.file, journal.data.file)
    await sync(spool.fd ?? -1)
    await writeDurable(spot(dir, `${name}.part`), JSON.stringify(redo))
    renameSync(spot(dir, `${name}.part`).file, journal.redo.file)
    await syncFolder(dir)
    return journal
  } catch (error) {
    dropJournal(journal)
    closeSync(dir)
    throw error
  }
} // prettier-ignore

/** Nothing is promised any more: the amend is done and durable, or it failed and its caller is told so. Closes `dir`. */
export function withdraw(journal: Journal): void {
  try {
    unlinkSync(journal.redo.file)
    dropJournal(journal)
  } finally {
    closeSync(journal.dir)
  }
}

function dropJournal({ dir, redo, data, target }: Journal): void {
  for (const { file } of [redo, spot(dir, redo.name.replace(/redo$/, 'part')), data, target]) rmSync(file, { force: true })
} // prettier-ignore

/** Does again what was promised before a crash, and drops what was not. `apply` gets target and data open. */
export async function replay(dir: number, apply: (fd: number, data: number, redo: Redo, file: string) => Promise<void>): Promise<void> {
  const names = readdirSync(spot(dir, '.').file)
  for (const name of names.filter((each) => each.endsWith('.redo'))) {
    const base = name.slice(0, -'.redo'.length)
    // somebody else's promise, got here by renames, is none
    if (lstatSync(spot(dir, name).file).uid !== process.geteuid?.()) continue
    const redo = JSON.parse(readFileSync(spot(dir, name).file, 'utf8')) as Redo
    const fd = openSync(spot(dir, `${base}.target`).file, constants.O_RDWR | constants.O_NOFOLLOW)
    const data = openSync(spot(dir, `${base}.data`).file, constants.O_RDONLY | constants.O_NOFOLLOW)
    try {
      await apply(fd, data, redo, spot(dir, `${base}.target`).file)
    } finally {
      closeSync(fd)
      closeSync(data)
    }
    unlinkSync(spot(dir, name).file)
  }
  for (const name of names) rmSync(spot(dir, name).file, { force: true, recursive: true })
} // prettier-ignore

async function writeDurable({ file }: Spot, text: string): Promise<void> {
  const fd = openSync(file, 'wx', 0o600)
  try {
    writeFileSync(fd, text)
    await sync(fd)
  } finally {
    await closed(fd)
  }
}

async function syncFolder(dir: number): Promise<void> {
  const fd = openSync(spot(dir, '.').file, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await sync(fd)
  } finally {
    await closed(fd)
  }
}
