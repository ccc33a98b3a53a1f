// A mount of a FakeRemote served by a child process, and what a test does to both ends of it.
import { spawn, type ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { probeMount, unmountFuse } from '../../mount/fuse/unmount.ts'
import { type DriverServerOptions, type Orders } from './driver-server.ts'

const SERVER = path.join(import.meta.dirname, 'driver-server.ts')

interface Teardown {
  teardown(cleanUp: () => Promise<void>): void
}

/** Every order, answered by a promise. */
export type Asked = {
  [K in keyof Orders]: (...args: Parameters<Orders[K]>) => Promise<Awaited<ReturnType<Orders[K]>>>
}

export interface Driven {
  readonly dir: string
  readonly state: string
  readonly child: ChildProcess
  readonly gateway: Asked
}

/** Mounts, and takes everything away when the test is over. */
export async function drive(t: Teardown, options: Partial<DriverServerOptions> = {}): Promise<Driven> {
  const dir = options.dir ?? fs.mkdtempSync(path.join(os.tmpdir(), 'karst-driver-'))
  const state = options.state ?? fs.mkdtempSync(path.join(os.tmpdir(), 'karst-state-'))
  const child = spawn(process.execPath, [SERVER, JSON.stringify({ ...options, dir, state })], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    cwd: '/',
  })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  t.teardown(async () => {
    if ((await probeMount(dir)) !== 'none') await unmountFuse(dir, { lazy: true })
    child.kill('SIGKILL')
    await exited
    fs.rmSync(dir, { recursive: true, force: true })
    fs.rmSync(state, { recursive: true, force: true })
  })
  await ready(child)
  return { dir, state, child, gateway: asking(child) }
}

function ready(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('message', (message: { ready: boolean; failure?: string }) => {
      if (message.ready) resolve()
      else reject(new Error(message.failure))
    })
    child.once('exit', () => reject(new Error('the server ended')))
  })
}

function asking(child: ChildProcess): Asked {
  let last = 0
  const ask = (name: string, args: unknown[]) =>
    new Promise((resolve, reject) => {
      const id = ++last
      const hear = (message: { id: number; answer?: unknown; failure?: string }) => {
        if (message.id !== id) return
        child.off('message', hear)
        if (message.failure === undefined) resolve(message.answer)
        else reject(new Error(message.failure))
      }
      child.on('message', hear)
      child.send({ id, name, args })
    })
  return new Proxy({} as Asked, {
    get: (_, name) => (...args: unknown[]) => ask(String(name), args),
  })
}

export interface Run {
  readonly status: number | null
  readonly output: string
}

/** Runs a program outside this process, since it touches the mount. */
export function run(program: string, args: readonly string[], { cwd = '/', input = '' } = {}): Promise<Run> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], cwd: '/', env: { ...process.env, PWD: cwd } })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.on('error', reject)
    child.on('close', (status) => resolve({ status, output }))
    child.stdin.end(input)
  })
}

/** A shell script with `$1` the mount (or what is given); stops at the first failure. */
export function sh(script: string, ...args: string[]): Promise<Run> {
  return run('sh', ['-euc', script, 'sh', ...args])
}

/** A script in another node: `argv` holds the arguments, `fs` is there. Answers what it prints as JSON. */
export async function node(script: string, ...args: string[]): Promise<unknown> {
  const body = `import fs from 'node:fs'; const argv = process.argv.slice(1); const print = (v) => process.stdout.write(JSON.stringify(v ?? null)); ${script}`
  const { status, output } = await run(process.execPath, ['--input-type=module', '-e', body, '--', ...args])
  if (status !== 0) throw new Error(output)
  return output === '' ? undefined : (JSON.parse(output) as unknown)
}
