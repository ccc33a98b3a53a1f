/** A Python environment with the client `vos` from PyPI in it, made once and kept in `.karst-interop`. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { needs } from '../parts.ts'
import { run } from '../service/running.ts'

const REQUIREMENTS = join(import.meta.dirname, 'requirements.txt')
const KEPT = join(import.meta.dirname, '..', '..', '.karst-interop')

/** What pip says when nobody answers, in whatever words its libraries have for it. */
const UNREACHABLE =
  /NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|ProxyError|Connection(Reset|Refused)?Error|Max retries|timed out/i

export interface PythonEnvironment {
  /** where vls, vcp and the others are */
  readonly bin: string
  /** the package that says which CAs the client trusts: it asks nothing else (wire.md trap 20) */
  readonly certifi: string
}

/** The environment, or one sentence why there is none. Rejects when it could not be made for another reason than this machine's. */
export async function pythonEnvironment(): Promise<PythonEnvironment | string> {
  const lacking = needs('python3', 'python3-venv')
  if (lacking !== false) return lacking
  const { stdout: version } = await run('python3', ['-VV'])
  const key = createHash('sha256').update(version).update(readFileSync(REQUIREMENTS)).digest('hex').slice(0, 12)
  const folder = join(KEPT, key)
  if (existsSync(join(folder, 'bin', 'vls'))) return found(folder)
  // programs in it carry its name, so it is made where it stays; a name in common then leads to the first that is whole
  const made = `${folder}.${process.pid}`
  const refusal = await make(made)
  if (refusal !== undefined) {
    rmSync(made, { recursive: true, force: true })
    return refusal
  }
  try {
    symlinkSync(made, folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    rmSync(made, { recursive: true, force: true })
  }
  return found(folder)
}

async function make(folder: string): Promise<string | undefined> {
  mkdirSync(KEPT, { recursive: true })
  const venv = await run('python3', ['-m', 'venv', folder])
  if (venv.code !== 0) throw new Error(`python3 -m venv: ${venv.stdout}${venv.stderr}`)
  const words = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--retries', '1', '--timeout', '20']
  const pip = await run(join(folder, 'bin', 'python'), [...words, '-r', REQUIREMENTS], { limit: 300_000 })
  if (pip.code === 0) return undefined
  const said = pip.stdout + pip.stderr
  if (UNREACHABLE.test(said)) return 'needs PyPI, which does not answer'
  throw new Error(`pip install: ${said}`)
}

function found(folder: string): PythonEnvironment {
  const lib = join(folder, 'lib')
  const python = readdirSync(lib).find((name) => name.startsWith('python3')) ?? ''
  return { bin: join(folder, 'bin'), certifi: join(lib, python, 'site-packages', 'certifi') }
}
