/** pjdfstest, case by case, against what is expected of each; and fsx with fixed seeds. */
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

/** A case that is known not to pass, and why that is. */
export interface Exception {
  readonly case: string
  /** sometimes: it depends on who is faster */
  readonly verdict: 'failed' | 'skipped' | 'sometimes'
  readonly reason: string
}

/** A suite that hangs is killed after so many milliseconds. */
const LIMIT = 20 * 60_000
/** Cases that remount for reading: not in one process with the others, of which some leave files open. */
const REMOUNTING = 'erofs'

/** Runs all cases, or those whose names contain one of the words. */
export async function pjdfstest(ground: Ground, words: readonly string[] = []): Promise<Case[]> {
  // another file system, for what must be refused as EXDEV
  const other = mkdtempSync('/dev/shm/karst-posix-')
  const place = join(ground.dir, 'pjdfstest')
  mkdirSync(place, { recursive: true, mode: 0o755 })
  const tools = remountTools(ground.folder)
  const run = async (remounting: boolean, names: readonly string[]): Promise<Case[]> => {
    const file = join(ground.folder, 'pjdfstest.toml')
    writeFileSync(file, configuration(remounting))
    const args = ['-c', file, '-p', place, '-s', other, ...names]
    return casesOf((await outputOf(programOf('pjdfstest'), args, tools)).output)
  }
  try {
    const most = await run(false, words)
    const isRemounting = ({ name }: Case): boolean => name.includes(REMOUNTING)
    const late = most.some(isRemounting) ? await run(true, [REMOUNTING]) : []
    const chosen = late.filter(({ name }) => most.some((one) => one.name === name))
    return [...most.filter((one) => !isRemounting(one)), ...chosen]
  } finally {
    rmSync(other, { recursive: true, force: true })
  }
}

/** Operations of one run of fsx. */
const OPERATIONS = 1500
const SEEDS = [1, 2]

/** Random reads, writes, mappings, truncations and holes, checked against a model at every read. */
export async function fsx(ground: Ground): Promise<Case[]> {
  const file = join(ground.folder, 'fsx.toml')
  writeFileSync(file, FSX)
  const cases: Case[] = []
  for (const seed of SEEDS) {
    const args = ['-f', file, '-S', String(seed), '-N', String(OPERATIONS), '-P', ground.folder]
    const { output, ended } = await outputOf(programOf('fsx'), [...args, join(ground.dir, `fsx-${seed}`)])
    const name = `fsx::seed_${seed}`
    const isGood = ended === 0
    cases.push({ name, verdict: isGood ? 'passed' : 'failed', why: isGood ? '' : output.slice(-2000) })
  }
  return cases
}

export const FSX = `flen = 1048576
[opsize]
max = 131072
[weights]
close_open = 1.0
invalidate = 1.0
mapread = 5.0
mapwrite = 5.0
read = 10.0
write = 10.0
truncate = 5.0
fsync = 1.0
fdatasync = 1.0
posix_fallocate = 2.0
punch_hole = 2.0
sendfile = 2.0
copy_file_range = 2.0
`

/** What is not as it should be, one line each: an exception that passes is as wrong as a case that fails. */
export function problemsOf(cases: readonly Case[], exceptions: readonly Exception[], isWhole: boolean): string[] {
  const problems = cases.flatMap(({ name, verdict, why }) => {
    const expected = exceptions.find((one) => one.case === name)?.verdict ?? 'passed'
    const isFine = verdict === expected || (expected === 'sometimes' && verdict !== 'skipped')
    return isFine ? [] : [`${name} ${verdict}, expected: ${expected}\n    ${why}`]
  })
  if (!isWhole) return problems
  const names = new Set(cases.map(({ name }) => name))
  const unknown = exceptions
    .filter((one) => !names.has(one.case))
    .map((one) => `${one.case} is an exception and no case`)
  return [...problems, ...unknown]
}

export function exceptions(): Exception[] {
  return JSON.parse(readFileSync(join(import.meta.dirname, 'exceptions.json'), 'utf8')) as Exception[]
}

/** mount(8) asks a helper to remount a FUSE file system, and there is none that could; the kernel can by itself. */
function remountTools(folder: string): string {
  const tools = join(folder, 'tools')
  mkdirSync(tools, { recursive: true })
  writeFileSync(join(tools, 'mount'), '#!/bin/sh\nPATH=/usr/sbin:/usr/bin:/sbin:/bin exec mount -i "$@"\n', {
    mode: 0o755,
  })
  return tools
}

function configuration(remounting: boolean): string {
  const entries = people().map((entry) => JSON.stringify(entry))
  return `[features]
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}
[settings]
naptime = 0.02
allow_remount = ${remounting}
[dummy_auth]
entries = [${entries.join(', ')}]
`
}

/** Two accounts of this machine that are not root, with their groups. */
function people(): (readonly [string, string])[] {
  const lines = (file: string): string[][] =>
    readFileSync(file, 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
  const groups = new Map(lines('/etc/group').map(([name = '', , gid = '']) => [gid, name]))
  const found = lines('/etc/passwd').flatMap(([name = '', , uid, gid = '']) => {
    const group = groups.get(gid)
    return uid === '0' || group === undefined || gid === '0' ? [] : [[name, group] as const]
  })
  return found.slice(0, 2)
}

interface Output {
  readonly output: string
  readonly ended: number | NodeJS.Signals | null
}

function outputOf(program: string, args: readonly string[], tools?: string): Promise<Output> {
  const path = '/usr/sbin:/usr/bin:/sbin:/bin'
  const env = { NO_COLOR: '1', PATH: tools === undefined ? path : `${tools}:${path}` }
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env, cwd: '/' })
    const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT)
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (part: Buffer) => (output += part.toString()))
    child.on('error', reject)
    child.on('close', (status, signal) => {
      clearTimeout(timer)
      resolve({ output, ended: status ?? signal })
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
