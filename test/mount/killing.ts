// Killing what serves mounts, and programs that are under way meanwhile.
import { spawn, type ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { sleep } from './driver-harness.ts'

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
