// Directories to mount on, in a mount namespace of one's own: one that is missing is made in memory, so that nothing is left on the disk of the node.
// What stands beside it is seen as before.
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
import { makeOpen } from './run-folder.ts'

const fs = process.getBuiltinModule('node:fs')

/** Names beside a missing directory that are taken along at most. */
const MOST = 1000

/** The place with no link on the way to it: where root would mount whatever the text says. */
export function realPlace(place: string): string {
  const there = deepest(place)
  return path.join(fs.realpathSync(there), path.relative(there, place))
}

/**
 * Makes `places` directories. `hold` is an empty directory of the session, `uid` its user's, as this namespace numbers them. Throws MountError,
 * LibcError.
 */
export function makeRoom(places: readonly string[], hold: string, uid: number): void {
  // what stands in a directory that was made is on the disk of the node as before
  const made = new Set<number>()
  for (const place of places) {
    const there = deepest(place)
    if (there === place) continue
    if (!made.has(fs.statSync(there).dev)) {
      checkUnwritten(there, place, uid)
      const dir = path.join(hold, String(made.size))
      fs.mkdirSync(dir)
      if (there === '/') renewRoot(dir)
      else renew(there, dir)
      made.add(fs.statSync(there).dev)
    }
    for (const dir of missing(place).reverse()) makeOpen(dir, 0o755)
  }
}

/** The directories on the way to a place, itself the first, that are not there. Throws MountError where something else stands on it. */
export function missing(place: string): string[] {
  const there = deepest(place)
  const found: string[] = []
  for (let dir = place; dir !== there; dir = path.dirname(dir)) found.push(dir)
  return found
}

/** The deepest directory on the way that is there. Throws MountError where something else stands on it. */
function deepest(place: string): string {
  for (let dir = place; ; dir = path.dirname(dir)) {
    const found = fs.statSync(dir, { throwIfNoEntry: false })
    if (found?.isDirectory() === true) return dir
    if (found !== undefined)
      throw new MountError(`cannot mount at ${place}: ${dir} is not a directory; name another place (at)`, 'ENOTDIR')
  }
}

/** Throws what makeRoom would about one place, with nothing done. */
export function checkRoom(place: string, uid: number): void {
  const there = deepest(place)
  if (there === place) return
  checkUnwritten(there, place, uid)
  namesIn(there, there)
}

/** What its user writes beside the place would be in memory, and gone with the session. */
function checkUnwritten(dir: string, place: string, uid: number): void {
  const { mode, uid: owner } = fs.statSync(dir)
  if (owner !== uid && (mode & 0o002) === 0) return
  const why = `it is not there, and ${dir} is where the user may write; make the directory before the session`
  throw new MountError(`cannot mount at ${place}: ${why}`, 'ENOENT')
}

/** Puts a directory in memory in place of `dir`, with all that is in it. */
function renew(dir: string, hold: string): void {
  const whole = detachedBind(dir, false)
  attach(whole, hold)
  letGo(whole)
  const names = namesIn(hold, dir)
  memoryIn(dir, hold, false)
  for (const name of names) take(path.join(hold, name), path.join(dir, name))
  detachMount(hold)
}

/** A root in memory, with all that is in the old one. */
function renewRoot(root: string): void {
  const names = namesIn('/', '/')
  // else it would stand in itself, in what is bound of the folder that it is made in
  memoryIn(root, '/', true)
  for (const name of names) take(path.join('/', name), path.join(root, name))
  changeRoot(root)
}

/** As open as what it stands for: to whom that was closed, what is bound in it would be open. */
function memoryIn(dir: string, like: string, alone: boolean): void {
  const { mode } = fs.statSync(like)
  memoryMount(dir, alone)
  fs.chmodSync(dir, mode & 0o7777)
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
  const found = fs.lstatSync(from, { throwIfNoEntry: false })
  // gone meanwhile
  if (found === undefined) return
  if (found.isSymbolicLink()) {
    fs.symlinkSync(fs.readlinkSync(from), to)
    return
  }
  if (found.isDirectory()) fs.mkdirSync(to)
  else fs.closeSync(fs.openSync(to, 'wx'))
  bindMount(from, to)
}
