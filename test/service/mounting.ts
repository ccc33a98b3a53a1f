/** `karst mount` as a user calls it, in a driver of its own, of a gateway that runs. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type QuickstartReport } from '../../src/cli/quickstart.ts'

/** Something that can be mounted, again and again. */
export interface Mounting {
  readonly name: string
  /** Where it is mounted. */
  readonly dir: string
  mount(): Promise<void>
  unmount(): Promise<void>
  end(): Promise<void>
}

const LAUNCHER = path.join(import.meta.dirname, '..', '..', 'bin', 'karst')

export async function isMounted(dir: string): Promise<boolean> {
  return (await fs.promises.readFile('/proc/self/mountinfo', 'utf8')).includes(` ${dir} `)
}

export async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let i = 0; i < 3000; i++) {
    if (await holds()) return
    await sleep(10)
  }
  throw new Error(`${what}: not within half a minute`)
}

/**
 * Waits for the end of the drivers whose state is below a folder, and kills those that stay: the last that a driver does is to keep its compiled
 * code there, so a folder that was removed before would come back.
 */
export async function driversEnded(folder: string): Promise<void> {
  for (let waited = 0; ; waited += 50) {
    const left = fs.readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && keepsCodeBelow(folder, pid))
    if (left.length === 0) return
    if (waited === 5000) for (const pid of left) kill(Number(pid))
    await sleep(50)
  }
}

function keepsCodeBelow(folder: string, pid: string): boolean {
  try {
    const variables = fs.readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0')
    return variables.some((one) => one.startsWith(`NODE_COMPILE_CACHE=${folder}/`))
  } catch {
    return false // it has ended, or is not ours to look at
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // it has ended by itself
  }
}

/** Rejects where it fails. */
export async function call(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<void> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'], env })
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${String(code)}`)
}

export function folder(name: string): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), `karst-bench-${name}-`))
}

/** Ours: a container of the gateway, by `karst mount` as a user calls it; with others in one driver where they share its state directory. */
export function karst(report: QuickstartReport, node: string, shared?: string): Mounting & { readonly state: string } {
  const dir = folder('karst')
  const state = shared ?? folder('state')
  const env = { ...process.env, KARST_MOUNT_STATE: state, KARST_URL: report.url, KARST_CA: report.ca }
  const uri = `vos://karst.local~karst${node}`
  const unmount = () => call(LAUNCHER, ['umount', dir], env)
  return {
    ...{ name: 'karst', dir, state, unmount },
    mount: () => call(LAUNCHER, ['mount', uri, dir, '--certificate', report.users['alice']?.proxy ?? ''], env),
    end: async () => {
      if (await isMounted(dir)) await unmount()
      fs.rmSync(dir, { recursive: true, force: true })
      if (shared !== undefined) return
      // the driver goes with its last mount
      await driversEnded(state)
      fs.rmSync(state, { recursive: true, force: true })
    },
  }
}
