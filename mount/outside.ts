// What a driver needs to go on with may not be under its own mount: it would wait for itself.
import * as path from 'node:path'
import { MountError } from './fuse/mount-options.ts'

const fs = process.getBuiltinModule('node:fs')

/** Throws MountError for the first of `files`, each by what it is, that a mount at `dir` (no symbolic links in it) would hide. */
export function expectOutside(dir: string, files: Readonly<Record<string, string | undefined>>): void {
  for (const [what, file] of Object.entries(files)) {
    if (file === undefined || !`${real(file)}/`.startsWith(`${dir}/`)) continue
    throw new MountError(`${what} ${file} would be hidden by the mount, which needs it: keep it elsewhere`, 'EINVAL')
  }
}

/** Symbolic links resolved, of as much of it as is there. */
function real(file: string): string {
  try {
    return fs.realpathSync.native(file)
  } catch {
    const parent = path.dirname(file)
    return parent === file ? file : path.join(real(parent), path.basename(file))
  }
}
