// What a driver needs to go on with a mount of the one before it, beside the record: where it is, of which gateway, and what
// was agreed with the kernel.
import fs from 'node:fs'
import path from 'node:path'
import { entryFromJson, entryToJson, type EntryJson } from '../src/codec/fs-v1.ts'
import { nodePath } from '../src/vospace/path.ts'
import { type MountRequest } from './control.ts'
import { type Directories } from './folders.ts'
import { INIT2 } from './fuse/constants.ts'
import { type Negotiated } from './fuse/init.ts'
import { MountError } from './fuse/mount-options.ts'
import { type Files } from './handle.ts'
import { type Restored } from './record-lines.ts'
import { type Identity, type Remote } from './remote.ts'
import { type SpoolFolder } from './spool.ts'
import { Tree, type TreeOptions } from './tree.ts'

const VERSION = 1

/** A mount as its state directory has it. */
export interface SavedMount {
  readonly version: typeof VERSION
  readonly id: string
  readonly request: Omit<MountRequest, 'command'>
  /** Service base. */
  readonly url: string
  /** Node path of the mount's root. */
  readonly root: string
  readonly identity: Identity
  readonly entry: EntryJson
  readonly negotiated: Negotiated
}

/** The kernel asks again what a dead driver left unanswered (6.9). Without it whoever waits would wait for ever. */
export function canResend({ flags2 }: Negotiated): boolean {
  return (flags2 & INIT2.HAS_RESEND) !== 0
}

/** The folder of a mount that can be resumed. */
export function resumeFolder(state: string, id: string): string {
  return path.join(state, 'resume', id)
}

export function saveMount(state: string, saved: Omit<SavedMount, 'version' | 'identity' | 'entry'>, tree: Tree): void {
  const { identity } = tree
  const whole: SavedMount = { version: VERSION, ...saved, identity, entry: entryToJson(tree.table.root.entry) }
  const file = path.join(resumeFolder(state, saved.id), 'mount.json')
  fs.writeFileSync(`${file}.new`, JSON.stringify(whole), { mode: 0o600 })
  fs.renameSync(`${file}.new`, file)
}

/** undefined where there is none, or one of another version. */
export function loadMount(state: string, id: string): SavedMount | undefined {
  const file = path.join(resumeFolder(state, id), 'mount.json')
  if (!/^[0-9a-f-]{36}$/.test(id) || !fs.existsSync(file)) return undefined
  const saved = JSON.parse(fs.readFileSync(file, 'utf8')) as SavedMount
  return (saved.version as number) === VERSION && canResend(saved.negotiated) ? saved : undefined
}

/** The tree as it was opened: the gateway may be away while drivers change. */
export function reopenTree(remote: Remote, { identity, entry, root }: SavedMount, options: TreeOptions): Tree {
  return new Tree(remote, identity, entryFromJson(entry), nodePath(root), options)
}

/** The parts of a mount that a driver goes on with. */
interface Parts {
  readonly tree: Tree
  readonly files: Files
  readonly folders: Directories
  readonly spools: SpoolFolder
}

/** Everything as the driver before this one had it. */
export function restore({ tree, files, folders, spools }: Parts, restored: Restored | undefined): void {
  if (restored === undefined) throw new MountError('the record of the mount is gone', 'ENOTCONN')
  const [node, file, folder] = restored.last
  tree.table.restore(restored.inodes, node)
  files.restore(restored.handles, restored.contents, file)
  folders.restore(restored.folders, folder)
  const contents = [...restored.contents.values()]
  const numbers = (of: 'spool' | 'other') => new Set(contents.map((content) => content[of]))
  spools.settle(numbers('spool'), numbers('other'))
}

/** Takes away what was kept of mounts that no driver goes on with. */
export function dropOthers(state: string, kept: ReadonlySet<string>): void {
  const folder = path.join(state, 'resume')
  if (!fs.existsSync(folder)) return
  for (const id of fs.readdirSync(folder)) {
    if (!kept.has(id)) fs.rmSync(path.join(folder, id), { recursive: true, force: true })
  }
}
