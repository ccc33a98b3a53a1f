// Serves a FUSE mount from a child process, so that a test that touches the mount never waits for itself.
import { spawn, type ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { probeMount, unmountFuse } from '../../mount/fuse/unmount.ts'
import type { ServerCommand, ServerOptions, ServerState } from './fuse-server.ts'

export { fuseSkip } from '../parts.ts'

interface Teardown {
  teardown(cleanUp: () => Promise<void>): void
}

export interface Served {
  readonly dir: string
  readonly child: ChildProcess
  readonly ask: (command: ServerCommand) => Promise<ServerState>
  /** What the server says when its session is over. */
  readonly closed: Promise<ServerState>
}

/**
 * Runs what follows without the test runner's hooks, which write into the checkout at exit: another user cannot. The
 * runner adds them to whatever environment spawn is given, so they are taken out behind it.
 */
const UNHOOKED = ['-u', 'NODE_OPTIONS']

const SERVER = path.join(import.meta.dirname, 'fuse-server.ts')

/** A directory to mount on, owned by `uid`. */
export function mountPoint(uid?: number): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'karst-fuse-'))
  if (uid !== undefined) fs.chownSync(dir, uid, uid)
  return dir
}

/** Mounts and serves; takes everything away again when the test is over. With `uid` as that user. */
export async function serve(
  t: Teardown,
  options: Omit<ServerOptions, 'dir'> & { dir?: string },
  uid?: number,
): Promise<Served> {
  const dir = options.dir ?? mountPoint(uid)
  const child = spawn('env', [...UNHOOKED, process.execPath, SERVER, JSON.stringify({ ...options, dir })], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    cwd: '/',
    ...(uid !== undefined && { uid, gid: uid }),
  })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  t.teardown(async () => {
    child.kill('SIGCONT')
    // refused as busy perhaps, but it aborts the connection, so that nothing stays stuck when a test has failed
    if (process.getuid?.() === 0) await run('umount', ['-f', dir])
    if ((await probeMount(dir)) !== 'none') await unmountFuse(dir, { lazy: true })
    child.kill('SIGKILL')
    await exited
    fs.rmdirSync(dir)
  })
  const ready = await reply(child, ['ready', 'failed'])
  if (ready.kind === 'failed') throw new Error(ready.detail)
  return {
    dir,
    child,
    closed: reply(child, ['closed']),
    ask(command) {
      const answer = reply(child, ['state'])
      child.send(command)
      return answer
    },
  }
}

function reply(child: ChildProcess, kinds: readonly string[]): Promise<ServerState> {
  return new Promise((resolve, reject) => {
    const hear = (message: unknown) => {
      const state = message as ServerState
      if (!kinds.includes(state.kind)) return
      child.off('message', hear)
      child.off('exit', ended)
      resolve(state)
    }
    const ended = () => {
      // a server that is killed on purpose never says that it closed
      if (!kinds.includes('closed')) reject(new Error('the server ended'))
    }
    child.on('message', hear)
    child.on('exit', ended)
  })
}

export interface Run {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly output: string
}

/** Runs a program on the mount from outside. `started` hears the child, to send it signals. */
export function run(
  program: string,
  args: readonly string[],
  { uid, started }: { uid?: number; started?: (child: ChildProcess) => void } = {},
): Promise<Run> {
  return new Promise((resolve, reject) => {
    const child = spawn('env', [...UNHOOKED, program, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: '/',
      ...(uid !== undefined && { uid, gid: uid }),
    })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.on('error', reject)
    child.on('close', (status, signal) => resolve({ status, signal, output }))
    started?.(child)
  })
}

/** Runs a script in another node. */
export function runNode(
  script: string,
  args: readonly string[] = [],
  options: Parameters<typeof run>[2] = {},
): Promise<Run> {
  return run(process.execPath, ['--input-type=module', '-e', script, '--', ...args], options)
}

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}

/** Asks until the answer is there: for what the kernel does in its own time (RELEASE, FORGET). */
export async function until<T>(ask: () => Promise<T>, holds: (answer: T) => boolean): Promise<T> {
  for (let left = 100; ; left--) {
    const answer = await ask()
    if (holds(answer) || left === 0) return answer
    await sleep(50)
  }
}
