/** pjdfstest, case by case, against what is expected of each; and fsx with a fixed seed. */
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Ground } from './ground.ts'
import { programOf } from './programs.ts'

export type Verdict = 'passed' | 'failed' | 'skipped'

export interface Case {
  readonly name: string
  readonly verdict: Verdict
  /** what the suite says of a failure, or why it skips */
  readonly why: string
}

/** A suite that hangs is killed after so many milliseconds. */
const LIMIT = 30 * 60_000

/** Runs all cases, or those whose names contain one of the words. */
export async function pjdfstest(ground: Ground, words: readonly string[] = []): Promise<Case[]> {
  // another file system, for what must be refused as EXDEV
  const other = mkdtempSync('/dev/shm/karst-posix-')
  const file = join(ground.folder, 'pjdfstest.toml')
  writeFileSync(file, configuration())
  const place = join(ground.dir, 'pjdfstest')
  mkdirSync(place, { recursive: true, mode: 0o755 })
  const args = ['-c', file, '-p', place, '-s', other, ...words]
  const tools = remountTools(ground.folder)
  const output = await outputOf(programOf('pjdfstest'), args, join(ground.folder, 'pjdfstest.log'), tools)
  rmSync(other, { recursive: true, force: true })
  return casesOf(output)
}

/** mount(8) asks a helper to remount a FUSE file system, and there is none that could; the kernel can by itself. */
function remountTools(folder: string): string {
  const tools = join(folder, 'tools')
  mkdirSync(tools)
  writeFileSync(join(tools, 'mount'), '#!/bin/sh\nPATH=/usr/sbin:/usr/bin:/sbin:/bin exec mount -i "$@"\n', {
    mode: 0o755,
  })
  return tools
}

function configuration(): string {
  const [one, two] = people()
  const entries = [one, two].map((entry) => JSON.stringify(entry)).join(', ')
  return `[features]
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}
[settings]
naptime = 0.02
allow_remount = true
[dummy_auth]
entries = [${entries}]
`
}

/** Two accounts of this machine that are not root, with their groups. */
function people(): (readonly [string, string])[] {
  const fields = (file: string) =>
    readFileSync(file, 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
  const groups = new Map(fields('/etc/group').map(([name = '', , gid = '']) => [gid, name]))
  const found = fields('/etc/passwd').flatMap(([name = '', , uid, gid = '']) => {
    const group = groups.get(gid)
    return uid === '0' || group === undefined || gid === '0' ? [] : [[name, group] as const]
  })
  return found.slice(0, 2)
}

/** The output, also when it ends badly: a suite with a failure does. */
function outputOf(program: string, args: readonly string[], log: string, tools: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { NO_COLOR: '1', PATH: `${tools}:/usr/sbin:/usr/bin:/sbin:/bin` },
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT)
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (part: Buffer) => (output += part.toString()))
    child.on('error', reject)
    child.on('close', (status, signal) => {
      clearTimeout(timer)
      writeFileSync(log, output)
      resolve(`${output}\nended: ${String(status ?? signal)}\n`)
    })
  })
}

/** Reads `name ok|FAILED|skipped` and the indented lines after it. */
export function casesOf(output: string): Case[] {
  const cases: { name: string; verdict: Verdict; why: string }[] = []
  for (const line of output.split('\n')) {
    const [, name, word] = /^(\S+::\S+)\s+(ok|FAILED|skipped)$/.exec(line) ?? []
    if (name !== undefined) {
      cases.push({ name, verdict: word === 'ok' ? 'passed' : word === 'FAILED' ? 'failed' : 'skipped', why: '' })
    } else if (/^\s+\S/.test(line)) {
      const last = cases.at(-1)
      if (last !== undefined && last.why.length < 400) last.why = `${last.why} ${line.trim()}`.trim()
    }
  }
  return cases
}
