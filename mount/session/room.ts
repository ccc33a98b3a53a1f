// Directories to mount on, in a mount namespace of one's own: one that is missing is made in memory, so that nothing is left on the disk of the node.
// What stands beside it is seen as before.
import * as fs from 'node:fs'
import path from 'node:path'
import {
  attach,
  bindMount,
  changeRoot,
  detachedBind,
  detachMount,
  letGo,
  memoryMount,
} from '../../src/libc/namespace.ts'
import { MountError } from '../fuse/mount-options.ts'

/** Names beside a missing directory that are taken along at most. */
const MOST = 1000

/** Makes `places` directories. `hold` is an empty directory of the session. Throws MountError, LibcError. */
export function makeRoom(places: readonly string[], hold: string): void {
  const made = new Set<string>()
  for (const place of places) {
    const there = deepest(place)
    if (there === place) continue
    if (![...made].some((dir) => there === dir || there.startsWith(`${dir}/`))) {
      const dir = path.join(hold, String(made.size))
      fs.mkdirSync(dir)
      if (there === '/') renewRoot(dir)
      else renew(there, dir)
      made.add(there)
    }
    fs.mkdirSync(place, { recursive: true, mode: 0o755 })
  }
}

/** The deepest directory on the way that is there. Throws MountError where something else stands on it. */
function deepest(place: string): string {
  for (let dir = place; ; dir = path.dirname(dir)) {
    const found = fs.statSync(dir, { throwIfNoEntry: false })
    if (found?.isDirectory() === true) return dir
    if (found !== undefined) throw new MountError(`cannot mount at ${place}: ${dir} is not a directory`, 'ENOTDIR')
  }
}

/** Puts a directory in memory in place of `dir`, with all that is in it. */
function renew(dir: string, hold: string): void {
  const whole = detachedBind(dir, false)
  attach(whole, hold)
  letGo(whole)
  const names = namesIn(hold, dir)
  memoryMount(dir)
  for (const name of names) take(path.join(hold, name), path.join(dir, name))
  detachMount(hold)
}

/** A root in memory, with all that is in the old one. */
function renewRoot(root: string): void {
  const names = namesIn('/', '/')
  // else it would stand in itself, in what is bound of the folder that it is made in
  memoryMount(root, true)
  for (const name of names) take(path.join('/', name), path.join(root, name))
  changeRoot(root)
}

function namesIn(dir: string, shown: string): string[] {
  const names = fs.readdirSync(dir)
  if (names.length <= MOST) return names
  throw new MountError(
    `${shown} has more than ${MOST} names: make the directory to mount on before the session`,
    'E2BIG',
  )
}

function take(from: string, to: string): void {
  const found = fs.lstatSync(from)
  if (found.isSymbolicLink()) {
    fs.symlinkSync(fs.readlinkSync(from), to)
    return
  }
  if (found.isDirectory()) fs.mkdirSync(to)
  else fs.closeSync(fs.openSync(to, 'wx'))
  bindMount(from, to)
}
