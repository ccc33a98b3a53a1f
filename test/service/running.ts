/** A quickstart of one's own for a test: started as a user starts it, in a folder that goes away, driven by curl, programs and requests. */
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import https from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type QuickstartReport } from '../../src/cli/quickstart.ts'
import { driversEnded } from './mounting.ts'

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly input?: string | Buffer
  readonly cwd?: string
  readonly env?: Record<string, string>
  readonly uid?: number
  readonly gid?: number
  /** milliseconds; the program is killed then */
  readonly limit?: number
}

/** Runs a program to its end without blocking: the mount may be served by who waits for it. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const { input, limit = 120_000, env, ...rest } = options
    const child = spawn(program, args, { ...rest, env: { ...process.env, ...env } })
    // not spawn's own timeout: that goes on, and keeps this process, when the program is not there
    const timer = setTimeout(() => child.kill('SIGKILL'), limit)
    child.on('error', () => clearTimeout(timer))
    child.on('close', () => clearTimeout(timer))
    const out: Buffer[] = []
    const err: Buffer[] = []
    child.stdout.on('data', (part: Buffer) => out.push(part))
    child.stderr.on('data', (part: Buffer) => err.push(part))
    child.stdin.on('error', () => undefined) // a program need not read all
    child.stdin.end(input)
    child.on('error', reject)
    child.on('close', (code, signal) =>
      resolve({ code, signal, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }),
    )
  })
}

/** Runs a shell script with `sh -euc`; rejects with its output when it fails. */
export async function sh(script: string, options: RunOptions = {}): Promise<string> {
  const ended = await run('sh', ['-euc', script], options)
  if (ended.code !== 0) {
    throw new Error(`${script}\nended with ${String(ended.code ?? ended.signal)}\n${ended.stdout}${ended.stderr}`)
  }
  return ended.stdout
}

/** What a start has written; undefined: nothing yet, or what a killed one left was just taken away. */
function reportIn(file: string): QuickstartReport | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as QuickstartReport
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Removes a folder, unless something is still mounted in it: what is removed through a mount is gone at the gateway too. */
export function removeUnmounted(folder: string): void {
  if (readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${folder}/`))
    throw new Error(`a mount is left in ${folder}`)
  rmSync(folder, { recursive: true, force: true })
}

export interface Answer {
  readonly status: number
  readonly headers: Map<string, string>
  readonly body: Buffer
}

export interface Asking {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: string | Buffer
}

/** One HTTPS request on a connection of its own, for machines without curl. `credential`: a PEM file as for curl's --cert. */
export function request(url: string, ca: string, credential?: string, asking: Asking = {}): Promise<Answer> {
  const { method = 'GET', headers = {}, body } = asking
  const pem = credential === undefined ? undefined : readFileSync(credential)
  const secrets = { ca: readFileSync(ca), ...(pem !== undefined && { cert: pem, key: pem }) }
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(60_000)
    const sent = https.request(url, { method, headers, agent: false, signal, ...secrets }, (response) => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.on('error', reject)
      response.on('end', () => {
        const told = Object.entries(response.headers).map(([name, value]) => [name, String(value)] as const)
        resolve({ status: response.statusCode ?? 0, headers: new Map(told), body: Buffer.concat(parts) })
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

export class Quickstart {
  readonly folder: string
  readonly state: string
  #process: ChildProcess | undefined
  #output = ''
  #args: readonly string[]
  #ended: Promise<void> = Promise.resolve()

  constructor(args: readonly string[] = []) {
    this.folder = mkdtempSync(join(tmpdir(), 'karst-quickstart-'))
    this.state = join(this.folder, 'state')
    this.#args = args
  }

  get output(): string {
    return this.#output
  }

  get report(): QuickstartReport {
    return JSON.parse(readFileSync(join(this.state, 'quickstart.json'), 'utf8')) as QuickstartReport
  }

  /** Resolves when quickstart.json is written; rejects with the output when it ends before. */
  async start(args: readonly string[] = this.#args, port = '0'): Promise<QuickstartReport> {
    const child = spawn('bin/karst', ['quickstart', ...args], {
      env: { ...process.env, KARST_STATE: this.state, KARST_PORT: port },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#process = child
    // when the test itself ends early nobody is left to stop it
    const kill = (): void => void child.kill('SIGKILL')
    process.once('exit', kill)
    child.once('close', () => process.off('exit', kill))
    this.#output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (this.#output += String(part)))
    this.#ended = new Promise((resolve) => child.once('close', () => resolve()))
    const file = join(this.state, 'quickstart.json')
    for (let waited = 0; waited < 60_000; waited += 50) {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`quickstart ended:\n${this.#output}`)
      if (reportIn(file)?.pid === child.pid) return this.report
      await new Promise((done) => setTimeout(done, 50))
    }
    throw new Error(`quickstart does not answer:\n${this.#output}`)
  }

  /** Ends it as Ctrl-C would; resolves with the exit code. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const child = this.#process
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null
    child.kill(signal)
    const timer = setTimeout(() => child.kill('SIGKILL'), 60_000)
    await this.#ended
    clearTimeout(timer)
    return child.exitCode
  }

  async dispose(): Promise<void> {
    await this.stop()
    await run('sh', ['-c', `umount -l "${this.state}/mnt/alice" 2>/dev/null; true`])
    await driversEnded(this.folder)
    removeUnmounted(this.folder)
  }

  /** A request to a path below the service, or to a whole URL; without a user: anonymous. */
  async ask(user: string | undefined, path: string, asking: Asking = {}): Promise<Answer> {
    const report = this.report
    const url = path.startsWith('https:') ? path : report.url + path
    return request(url, report.ca, user === undefined ? undefined : (report.users[user]?.proxy ?? ''), asking)
  }

  /** curl as a user would call it; without a user: anonymous. */
  async curl(user: string | undefined, path: string, ...args: string[]): Promise<Answer> {
    const report = this.report
    const credential = user === undefined ? [] : ['--cert', report.users[user]?.proxy ?? '']
    const head = join(this.folder, `head-${Math.random().toString(36).slice(2)}`)
    const body = `${head}.body`
    const url = path.startsWith('https:') ? path : report.url + path
    const ended = await run('curl', ['-sS', '--cacert', report.ca, ...credential, '-D', head, '-o', body, ...args, url])
    if (ended.code !== 0) throw new Error(`curl ${args.join(' ')} ${url}: ${ended.stderr}`)
    const answer = readAnswer(readFileSync(head, 'latin1'), existsSync(body) ? readFileSync(body) : Buffer.alloc(0))
    for (const file of [head, body]) rmSync(file, { force: true })
    return answer
  }
}

/** The last of the headers curl wrote (100 and redirects come before). */
function readAnswer(head: string, body: Buffer): Answer {
  const last =
    head
      .trim()
      .split(/\r?\n\r?\n/)
      .at(-1) ?? ''
  const [first = '', ...lines] = last.split(/\r?\n/)
  const headers = new Map(
    lines.map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
    }),
  )
  return { status: Number(first.split(' ')[1]), headers, body }
}

/** The document of a node with these properties (null: nil). */
export function nodeDocument(uri: string, type: string, properties: Record<string, string | null> = {}): string {
  const lines = Object.entries(properties).map(([key, value]) =>
    value === null
      ? `<vos:property uri="${key}" xsi:nil="true"/>`
      : `<vos:property uri="${key}">${value}</vos:property>`,
  )
  return `<?xml version="1.0" encoding="UTF-8"?>
<vos:node xmlns:vos="http://www.ivoa.net/xml/VOSpace/v2.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  uri="${uri}" xsi:type="vos:${type}"><vos:properties>${lines.join('')}</vos:properties></vos:node>`
}
