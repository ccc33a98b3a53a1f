/** A quickstart and sessions on it, as users start them, and what must not be left of them. */
import { spawn, type ChildProcess } from 'node:child_process'
import { chmodSync, chownSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
// not inline: that would load tap in the bench too, which ends it after half a minute
import type { Test } from 'tap'
import { Quickstart, run, type Ended } from '../service/running.ts'
import { sessionTurn } from './turn.ts'

/** Whom the commands run as, as in most images. */
export const UID = 1000

export interface SessionWords {
  readonly user?: 'alice' | 'bob'
  /** the launcher is not root */
  readonly as?: number
  /** the command runs under the user's own number, as the gateway gives it */
  readonly isOwn?: boolean
  readonly env?: Record<string, string>
}

export class Place {
  readonly karst = new Quickstart(['--no-mount'])
  #giveBack: (() => void) | undefined

  async start(): Promise<void> {
    this.#giveBack = await sessionTurn()
    await this.karst.start()
    // so that who is not root finds their own in it
    chmodSync(this.karst.folder, 0o755)
  }

  get tree(): string {
    return join(this.karst.state, 'tree')
  }

  get driver(): string {
    return join(this.karst.folder, 'driver')
  }

  env({ user = 'alice', as, env = {} }: SessionWords = {}): Record<string, string> {
    const { url, ca, users } = this.karst.report
    const proxy = users[user]?.proxy ?? ''
    const compiled = join(this.karst.folder, 'compiled')
    const theirs = as === undefined ? { proxy, ca, driver: this.driver, compiled } : this.#handed(proxy, ca, as)
    return {
      ...{ KARST_URL: url, KARST_CA: theirs.ca, X509_USER_PROXY: theirs.proxy, KARST_MOUNT_STATE: theirs.driver },
      // what the runner of the tests has in every Node would write into folders of root's
      ...{ HOME: '/nonexistent', XDG_RUNTIME_DIR: '', NODE_OPTIONS: '' },
      // as users have it in their home: a start costs half
      NODE_COMPILE_CACHE: theirs.compiled,
      ...env,
    }
  }

  /** Copies that another user may read. */
  #handed(proxy: string, ca: string, uid: number): { proxy: string; ca: string; driver: string; compiled: string } {
    const dir = join(this.karst.folder, `of-${uid}`)
    for (const name of ['driver', 'compiled']) mkdirSync(join(dir, name), { recursive: true })
    const [driver, compiled] = [join(dir, 'driver'), join(dir, 'compiled')]
    const own = { proxy: join(dir, 'proxy.pem'), ca: join(dir, 'ca.pem'), driver, compiled }
    copyFileSync(proxy, own.proxy)
    copyFileSync(ca, own.ca)
    for (const file of [dir, ...Object.values(own)]) chownSync(file, uid, uid)
    chmodSync(own.proxy, 0o600)
    return own
  }

  /** `karst session WORDS -- sh -c SCRIPT`, to its end. */
  session(words: readonly string[], script: string, how: SessionWords = {}): Promise<Ended> {
    const { as } = how
    return run('bin/karst', [...this.#words(words, how), '--', 'sh', '-euc', script], {
      env: this.env(how),
      ...(as !== undefined && { uid: as, gid: as }),
    })
  }

  /** The same, going on; it is ended with the test. */
  running(t: Pick<Test, 'teardown'>, words: readonly string[], script: string, how: SessionWords = {}): Running {
    const env = { ...process.env, ...this.env(how) }
    const { as } = how
    const child = spawn('bin/karst', [...this.#words(words, how), '--', 'sh', '-euc', script], {
      env,
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(as !== undefined && { uid: as, gid: as }),
    })
    const running = new Running(child)
    t.teardown(() => void child.kill('SIGKILL'))
    return running
  }

  #words(words: readonly string[], { as, isOwn = as !== undefined }: SessionWords): string[] {
    return ['session', ...(!isOwn && !words.includes('--user') ? ['--user', `${UID}`] : []), ...words]
  }

  async dispose(): Promise<void> {
    await this.karst.dispose()
    this.#giveBack?.()
  }
}

export class Running {
  readonly child: ChildProcess
  output = ''
  readonly ended: Promise<number | null>

  constructor(child: ChildProcess) {
    this.child = child
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (part) => (this.output += String(part)))
    this.ended = new Promise((resolve) => child.once('close', (code) => resolve(code)))
  }

  /** Resolves when it has said so. */
  async says(text: string): Promise<void> {
    await until(
      () => this.output.includes(text),
      () => `never said ${text}: ${this.output}`,
    )
  }

  /** A line on the standard input of the command. */
  tell(line: string): void {
    this.child.stdin?.write(`${line}\n`)
  }
}

/** Rejects after half a minute with what is wrong. */
export async function until(isSo: () => boolean | Promise<boolean>, why: () => string): Promise<void> {
  for (const end = performance.now() + 30_000; performance.now() < end;) {
    if (await isSo()) return
    await new Promise((done) => setTimeout(done, 50))
  }
  throw new Error(why())
}

/** What others left on this machine before is no fault of this test file. */
const before = new Set(found())

/** Folders of sessions that are there since this file began, and mounts of them in this namespace. */
export const leftOver = (): string[] => found().filter((one) => !before.has(one))

function found(): string[] {
  const folders = ['/run', '/dev/shm']
    .flatMap((base) => [join(base, 'karst-sessions'), join(base, `karst-sessions-${UID}`)])
    .filter((dir) => existsSync(dir))
    .flatMap((dir) => readdirSync(dir).map((name) => join(dir, name)))
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes('karst-sessions'))
  return [...folders, ...mounts]
}

/** For what goes after a killed launcher, by others. */
export const nothingLeft = (): Promise<void> =>
  until(
    () => leftOver().length === 0,
    () => leftOver().join('\n'),
  )
