// Mounts by `karst mount` of a gateway in this process, and the killing of what serves them.
import { spawn, type ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { type Test } from 'tap'
import { askDriver, type ControlReply } from '../../mount/control.ts'
import { mountCommand, umountCommand, type MountCommandOptions } from '../../mount/daemon.ts'
import { probeMount, unmountFuse } from '../../mount/fuse/unmount.ts'
import { socketOf } from '../../mount/state.ts'
import { writeCredential } from '../../src/identity/pem.ts'
import { startGateway, type Gateway } from '../http/gateway.ts'
import { authority, credentials } from '../http/people.ts'
import { sleep, until } from './driver-harness.ts'

export interface Survivors {
  readonly gateway: Gateway
  readonly state: string
  /** Mounts a node of the gateway as alice; answers the directory. */
  readonly mount: (node: string, more?: Partial<MountCommandOptions>) => Promise<string>
  readonly umount: (dir: string) => Promise<string[]>
  readonly status: () => Promise<Extract<ControlReply, { ok: true }> | undefined>
  readonly log: () => string
}

/** Everything is taken away when the test is over. */
export async function survivors(t: Test, gatewayIs?: Gateway): Promise<Survivors> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'karst-survival-'))
  const ca = path.join(folder, 'ca.pem')
  const certificate = path.join(folder, 'alice.pem')
  const state = path.join(folder, 'state')
  fs.writeFileSync(ca, authority.certificate)
  await writeCredential(certificate, credentials.alice)
  const gateway = gatewayIs ?? (await startGateway(t))
  const dirs: string[] = []
  t.teardown(async () => {
    for (const dir of dirs) if ((await probeMount(dir)) !== 'none') await unmountFuse(dir, { lazy: true })
    await ended(state)
    fs.rmSync(folder, { recursive: true, force: true })
  })
  const mount: Survivors['mount'] = async (node, more = {}) => {
    const dir = fs.mkdtempSync(path.join(folder, 'mnt-'))
    dirs.push(dir)
    await mountCommand({
      ...{ uri: `vos://karst.local~karst${node}`, dir, certificate, ca, url: gateway.url, stateDir: state },
      ...{ foreground: false, readOnly: false, allowOther: false, ...more },
    })
    return dir
  }
  const status = async () => {
    const reply = await askDriver(socketOf(state), { command: 'status' }, 5000)
    return reply?.ok === true ? reply : undefined
  }
  const umount = (dir: string) => umountCommand({ dir, stateDir: state })
  return { gateway, state, mount, umount, status, log: () => fs.readFileSync(path.join(state, 'driver.log'), 'utf8') }
}

/** A driver whose mounts are gone ends by itself; one that was let down is helped. */
async function ended(state: string): Promise<void> {
  const owner = await until(
    () => ownerOf(state),
    (pid) => pid === undefined,
  )
  if (owner === undefined) return
  for (const pid of [supervisorOf(state), owner]) if (pid !== undefined) kill(pid)
}

function pidIn(file: string): number | undefined {
  try {
    return Number(fs.readFileSync(file, 'utf8').split(' ')[0]) || undefined
  } catch {
    return undefined // there is none just now
  }
}

/** The driver of a state directory. */
export function ownerOf(state: string): number | undefined {
  return pidIn(path.join(state, 'driver.lock'))
}

export function supervisorOf(state: string): number | undefined {
  return pidIn(path.join(state, 'supervisor'))
}

/** SIGKILL; whether there was such a process. */
export function kill(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL')
  } catch {
    return false // it had ended by itself
  }
}

/** Waits until another process than `before` owns the state directory. */
export async function another(state: string, before: number | undefined): Promise<number> {
  for (let left = 3000; left > 0; left--) {
    const owner = ownerOf(state)
    if (owner !== undefined && owner !== before) return owner
    await sleep(10)
  }
  throw new Error('no other driver came')
}

export interface Work {
  readonly name: string
  readonly done: Promise<{ readonly status: number | null; readonly output: string }>
  readonly child: ChildProcess
}

/** A program that is under way while things are killed. */
export function work(name: string, program: string, args: readonly string[]): Work {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const done = new Promise<{ status: number | null; output: string }>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status) => resolve({ status, output }))
  })
  return { name, done, child }
}
