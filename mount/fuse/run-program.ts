// Runs mount(8), umount(8), fusermount3 and stat: asynchronously always, since a file system's own process that waits
// for a program looking at its mount would wait for ever.
import { spawn } from 'node:child_process'

/** Where such programs are; the caller's PATH is not asked, a set-user-ID program would not take it either. */
export const PROGRAM_FOLDERS = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

/** Mounts for whoever is not root; of the package fuse3. */
export const FUSERMOUNT = 'fusermount3'

export interface ProgramRun {
  /** Exit code; null when it was killed or did not end in time. */
  readonly status: number | null
  /** Both outputs, trimmed. */
  readonly output: string
  readonly timedOut: boolean
}

export interface RunOptions {
  /** Given to the program as descriptor 3. */
  readonly descriptor?: number
  readonly env?: Readonly<Record<string, string>>
  /** Milliseconds; a program still running then is killed and not waited for, since it may be stuck in the kernel. */
  readonly limit?: number
}

/** Rejects when the program cannot be started. Messages come in English. */
export function runProgram(program: string, args: readonly string[], options: RunOptions = {}): Promise<ProgramRun> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe', options.descriptor ?? 'ignore'],
      env: { PATH: PROGRAM_FOLDERS.join(':'), LC_ALL: 'C', ...options.env },
    })
    let output = ''
    const collect = (chunk: Buffer) => (output += chunk.toString())
    child.stdout?.on('data', collect)
    child.stderr?.on('data', collect)
    const timer =
      options.limit === undefined
        ? undefined
        : setTimeout(() => {
            child.kill('SIGKILL')
            child.unref()
            child.stdout?.destroy()
            child.stderr?.destroy()
            resolve({ status: null, output: output.trim(), timedOut: true })
          }, options.limit)
    child.on('error', reject)
    child.on('close', (status) => {
      clearTimeout(timer)
      resolve({ status, output: output.trim(), timedOut: false })
    })
  })
}
