/** The suites of others, built by cargo from crates.io into a folder that git ignores. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '../../.karst-posix')

const VERSIONS = { pjdfstest: '0.2.2', fsx: '0.3.2' } as const

/** The file of a program, built when it is not there (some minutes, once). Throws with cargo's words. */
export function programOf(name: keyof typeof VERSIONS): string {
  const file = join(ROOT, 'bin', name)
  if (existsSync(file)) return file
  const args = ['install', name, '--version', VERSIONS[name], '--locked', '--root', ROOT]
  const { status, error, stderr } = spawnSync('cargo', args, { encoding: 'utf8', maxBuffer: 1 << 26 })
  if (error !== undefined) throw error
  if (status !== 0) throw new Error(`cargo ${args.join(' ')} ended with ${String(status)}\n${stderr.slice(-4000)}`)
  return file
}
