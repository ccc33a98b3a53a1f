// A mount served by a child process, of a gateway in memory that the test holds in its hands.
import { spawn, type ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { probeMount, unmountFuse } from '../../mount/fuse/unmount.ts'
import type { DriverServerOptions, Order } from './driver-server.ts'
import { FakeRemote } from './fake-remote.ts'
import { serveRemote } from './remote-channel.ts'

export { fuseSkip } from '../parts.ts'

const SERVER = path.join(import.meta.dirname, 'driver-server.ts')
export const HOME = '/home/alice'

interface Teardown {
  teardown(cleanUp: () => Promise<void>): void
}

export interface Driven {
  readonly dir: string
  readonly state: string
  readonly child: ChildProcess
  readonly exited: Promise<void>
  readonly remote: FakeRemote
  readonly ask: (order: Order) => Promise<unknown>
  /** The bytes that the gateway has, below the mount's root. */
  readonly at: (name: string) => string | undefined
}

export type DriveOptions = Partial<DriverServerOptions> & { readonly remote?: FakeRemote }

/** Mounts, and takes everything away when the test is over. */
export async function drive(t: Teardown, options: DriveOptions = {}): Promise<Driven> {
  const { remote = new FakeRemote(), root = HOME, ...rest } = options
  remote.makeContainer(root)
  const dir = options.dir ?? fs.mkdtempSync(path.join(os.tmpdir(), 'karst-driver-'))
  const state = options.state ?? fs.mkdtempSync(path.join(os.tmpdir(), 'karst-state-'))
  const child = spawn(process.execPath, [SERVER, JSON.stringify({ ...rest, root, dir, state })], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    serialization: 'advanced',
    cwd: '/',
  })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  t.teardown(async () => {
    if ((await probeMount(dir)) !== 'none') await unmountFuse(dir, { lazy: true })
    child.kill('SIGKILL')
    await exited
    for (const folder of [dir, state]) fs.rmSync(folder, { recursive: true, force: true })
  })
  serveRemote(child, remote)
  await ready(child)
  const at = (name: string) => remote.bytes(`${root}/${name}`)?.toString()
  return { dir, state, child, exited, remote, ask: asking(child), at }
}

export function ready(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.on('message', ({ kind, failure }: { kind: string; failure?: string }) => {
      if (kind === 'ready') resolve()
      else if (kind === 'failed') reject(new Error(failure))
    })
    child.once('exit', () => reject(new Error('the server ended')))
  })
}

export function asking(child: ChildProcess): (order: string) => Promise<unknown> {
  let last = 0
  return (order) =>
    new Promise((resolve, reject) => {
      const id = ++last
      const hear = (message: { kind: string; id: number; value?: unknown; failure?: string }) => {
        if (message.kind !== 'answer' || message.id !== id) return
        child.off('message', hear)
        if (message.failure === undefined) resolve(message.value)
        else reject(new Error(message.failure))
      }
      child.on('message', hear)
      child.send({ kind: 'order', id, order })
    })
}

export interface Run {
  readonly status: number | null
  readonly output: string
}

/** Runs a program in a process of its own, since it touches the mount. `started` hears the child. */
export function run(program: string, args: readonly string[], started?: (child: ChildProcess) => void): Promise<Run> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.on('error', reject)
    child.on('close', (status) => resolve({ status, output }))
    started?.(child)
  })
}

/** A shell script that stops at the first failure; `$1`, `$2` are the arguments, the working directory is `$1`. */
export function sh(script: string, ...args: string[]): Promise<Run> {
  return run('sh', ['-euc', `cd "$1"; ${script}`, 'sh', ...args])
}

/** A program of the language of this file: `fs`, `argv` and `attempt` (the error's code, or the result) are there; answers what it returns. */
export async function js<T = unknown>(script: string, ...args: string[]): Promise<T> {
  const body = `const fs = require('fs'), os = require('os'), argv = process.argv.slice(1)
    const attempt = (call) => { try { return call() ?? null } catch (error) { return error.code } }
    Promise.resolve((async () => { ${script} })()).then((v) => process.stdout.write(JSON.stringify(v ?? null)))`
  const { status, output } = await run(process.execPath, ['-e', body, '--', ...args])
  if (status !== 0) throw new Error(output)
  return JSON.parse(output) as T
}

/** Whether a program is there. */
export async function hasProgram(name: string): Promise<boolean> {
  return (await run('sh', ['-c', `command -v ${name}`])).status === 0
}

/** Spool files of a driver's mounts that hold anything; empty ones wait to be used again. */
export function spoolsWithBytes(state: string): string[] {
  return fs
    .readdirSync(path.join(state, 'spool'), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\/\d+$/.test(name) && fs.statSync(path.join(state, 'spool', name)).size > 0)
}

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}

/** Asks until the answer is there: for what the kernel does in its own time (RELEASE). */
export async function until<T>(ask: () => T | Promise<T>, holds: (answer: T) => boolean): Promise<T> {
  for (let left = 100; ; left--) {
    const answer = await ask()
    if (holds(answer) || left === 0) return answer
    await sleep(50)
  }
}
