/**
 * What a test needs of the machine besides Node and npm. What is missing is the reason why the test is skipped, by name.
 * What every Debian has is not asked for: sh, perl, the core, diff, find and mount utilities, tar.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { whyNoFuse } from '../mount/fuse/privilege.ts'
import { lackingPrivileges } from '../src/backend/posix/privilege.ts'

/** Parts that are no program and no path. */
const OTHERS: Record<string, () => boolean> = {
  root: () => process.getuid?.() === 0,
  // root in a container is often without
  'root with CAP_SYS_ADMIN': () => lackingPrivileges().length === 0,
  'an ordinary user': () => process.getuid?.() !== 0,
  // Debian's python3-minimal is without
  'python3 with sqlite3': () => hasProgram('python3') && spawnSync('python3', ['-c', 'import sqlite3']).status === 0,
  // Debian has both in a package of their own
  'python3-venv': () => hasProgram('python3') && spawnSync('python3', ['-c', 'import ensurepip, venv']).status === 0,
  // macOS and Debian's java-common have commands of these names that only say where to get Java
  java: () => ['java', 'keytool'].every((name) => hasProgram(name)) && spawnSync('java', ['-version']).status === 0,
}

/**
 * For `t.test(name, { skip: needs('curl', 'root') }, ...)`: false when all is there, else one sentence that names what is
 * not. A part is a program, a path (with a slash), or one of `OTHERS`.
 */
export function needs(...parts: string[]): string | false {
  const missing = parts.filter((part) => !isHere(part))
  return missing.length === 0 ? false : `needs ${missing.join(', ')}`
}

/** The same for a FUSE mount of whoever runs the tests. */
export async function fuseSkip(): Promise<string | false> {
  return (await whyNoFuse()) ?? false
}

function isHere(part: string): boolean {
  return OTHERS[part]?.() ?? (part.includes('/') ? existsSync(part) : hasProgram(part))
}

function hasProgram(name: string): boolean {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  return folders.some((folder) => isExecutable(join(folder, name)))
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false // why does not matter: it cannot be run
  }
}
