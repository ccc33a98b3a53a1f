// Random sequences on the tree and on a real folder must have the same outcome, errors included.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import t, { type Test } from 'tap'
import { Fault } from '../../src/vospace/fault.ts'
import { spoolsWithBytes } from './driver-harness.ts'
import { O, seeded, walk, type Walked } from './tree-harness.ts'

const NAMES = ['a', 'b', 'c', 'd']
const FLAGS = [
  O.O_RDONLY,
  O.O_RDWR,
  O.O_WRONLY | O.O_CREAT,
  O.O_RDWR | O.O_CREAT,
  O.O_RDWR | O.O_CREAT | O.O_EXCL,
  O.O_WRONLY | O.O_CREAT | O.O_TRUNC,
  O.O_RDWR | O.O_CREAT | O.O_TRUNC,
  O.O_RDWR | O.O_CREAT | O.O_APPEND,
  O.O_WRONLY | O.O_APPEND,
]
const HOME = '/home/alice'
/** Kinds of files where the errno depends on the file system, not on the standard. */
const ALIKE = new Map([['EEXIST', 'ENOTEMPTY']])

interface Pair {
  readonly fh: number
  readonly fd: number
  readonly flags: number
}

class Twins {
  readonly #mount: Walked
  readonly #folder: string
  readonly #pick: (below: number) => number
  readonly #open: Pair[] = []
  readonly trace: string[] = []

  constructor(mount: Walked, folder: string, seed: number) {
    this.#mount = mount
    this.#folder = folder
    this.#pick = seeded(seed)
  }

  #name(): string {
    return NAMES[this.#pick(NAMES.length)] ?? 'a'
  }

  #path(): string {
    return this.#pick(3) === 0 ? `/${this.#name()}/${this.#name()}` : `/${this.#name()}`
  }

  #real(at: string): string {
    return path.join(this.#folder, at)
  }

  #bytes(): Buffer {
    // mostly small; now and then across the size up to which files are sent whole
    const size = this.#pick(8) === 0 ? 1 + this.#pick(200_000) : 1 + this.#pick(300)
    return Buffer.alloc(size, 97 + this.#pick(26))
  }

  async step(t: Test): Promise<void> {
    const steps = [
      () => this.#openOne(t),
      () => this.#openOne(t),
      () => this.#openOne(t),
      () => this.#write(t),
      () => this.#write(t),
      () => this.#write(t),
      () => this.#write(t),
      () => this.#readOne(t),
      () => this.#readOne(t),
      () => this.#closeOne(),
      () => this.#closeOne(),
      () => this.#sync(),
      () => this.#resize(t),
      () => this.#resize(t),
      () => this.#both(t, 'mkdir', this.#path()),
      () => this.#both(t, 'rmdir', this.#path()),
      () => this.#both(t, 'unlink', this.#path()),
      () => this.#both(t, 'unlink', this.#path()),
      () => this.#rename(t),
      () => this.#rename(t),
      () => this.#listOne(t),
      () => this.#behind(),
      () => this.#statOne(t),
    ]
    await steps[this.#pick(steps.length)]?.()
  }

  async #same<T>(t: Test, what: string, mine: () => Promise<T>, real: () => T): Promise<[T, T] | undefined> {
    const theirs = attempt(real)
    const ours = await attemptLater(mine)
    this.trace.push(`${what}: ${String(theirs.error ?? 'ok')}`)
    if (!t.equal(alike(ours.error), alike(theirs.error), what)) t.comment(this.trace.slice(-30).join('\n'))
    return ours.error === undefined && theirs.error === undefined ? [ours.value as T, theirs.value as T] : undefined
  }

  async #openOne(t: Test): Promise<void> {
    if (this.#open.length > 8) return
    const at = this.#path()
    const flags = FLAGS[this.#pick(FLAGS.length)] ?? 0
    // a real folder can be opened for reading like a file
    if (fs.existsSync(this.#real(at)) && fs.statSync(this.#real(at)).isDirectory()) return
    const opened = await this.#same(
      t,
      `open ${at} ${flags.toString(8)}`,
      () => this.#mount.open(at, flags),
      () => fs.openSync(this.#real(at), flags),
    )
    if (opened !== undefined) this.#open.push({ fh: opened[0], fd: opened[1], flags })
  }

  #handle(): Pair | undefined {
    return this.#open[this.#pick(this.#open.length)]
  }

  async #write(t: Test): Promise<void> {
    const pair = this.#handle()
    if (pair === undefined || (pair.flags & 3) === O.O_RDONLY) return
    const data = this.#bytes()
    const offset = this.#pick(2) === 0 ? this.#pick(400) : this.#pick(150_000)
    await this.#same(
      t,
      `write ${pair.fh} ${offset}+${data.length}`,
      async () => this.#mount.write(pair.fh, offset, data),
      () => fs.writeSync(pair.fd, data, 0, data.length, offset),
    )
  }

  async #readOne(t: Test): Promise<void> {
    const pair = this.#handle()
    if (pair === undefined || (pair.flags & 3) === O.O_WRONLY) return
    const [offset, size] = this.#pick(2) === 0 ? [0, 400_000] : [this.#pick(100_000), this.#pick(70_000)]
    const real = Buffer.alloc(size)
    const got = await this.#same(
      t,
      `read ${pair.fh} ${offset}+${size}`,
      () => this.#mount.read(pair.fh, offset, size),
      () => real.subarray(0, fs.readSync(pair.fd, real, 0, size, offset)),
    )
    if (got !== undefined && !t.ok(got[0].equals(got[1]), `read ${pair.fh}`))
      t.comment(this.trace.slice(-30).join('\n'))
  }

  async #closeOne(): Promise<void> {
    const index = this.#pick(this.#open.length)
    const [pair] = this.#open.splice(index, 1)
    if (pair === undefined) return
    this.trace.push(`close ${pair.fh}`)
    fs.closeSync(pair.fd)
    await this.#mount.close(pair.fh)
  }

  async #sync(): Promise<void> {
    const pair = this.#handle()
    if (pair === undefined) return
    this.trace.push(`fsync ${pair.fh}`)
    await this.#mount.files.fsync(pair.fh)
  }

  async #resize(t: Test): Promise<void> {
    const at = this.#path()
    const size = this.#pick(2) === 0 ? this.#pick(300) : this.#pick(150_000)
    if (fs.existsSync(this.#real(at)) && fs.statSync(this.#real(at)).isDirectory()) return
    await this.#same(
      t,
      `truncate ${at} ${size}`,
      () => this.#mount.setattr(at, { size }),
      () => fs.truncateSync(this.#real(at), size),
    )
  }

  async #both(t: Test, call: 'mkdir' | 'rmdir' | 'unlink', at: string): Promise<void> {
    await this.#same(
      t,
      `${call} ${at}`,
      () => this.#mount[call](at),
      () => void fs[`${call}Sync`](this.#real(at)),
    )
  }

  async #rename(t: Test): Promise<void> {
    const [from, to] = [this.#path(), this.#path()]
    if (from === to || from.startsWith(`${to}/`) || to.startsWith(`${from}/`)) return
    await this.#same(
      t,
      `rename ${from} ${to}`,
      () => this.#mount.rename(from, to),
      () => fs.renameSync(this.#real(from), this.#real(to)),
    )
  }

  async #listOne(t: Test): Promise<void> {
    const at = this.#pick(2) === 0 ? '/' : `/${this.#name()}`
    if (!fs.existsSync(this.#real(at)) || !fs.statSync(this.#real(at)).isDirectory()) return
    const names = (await this.#mount.list(at)).slice(2)
    if (!t.same(names, fs.readdirSync(this.#real(at)).sort(), `list ${at}`)) t.comment(this.trace.slice(-30).join('\n'))
  }

  async #statOne(t: Test): Promise<void> {
    const at = this.#path()
    const got = await this.#same(
      t,
      `stat ${at}`,
      async () => this.#mount.stat(at),
      () => fs.statSync(this.#real(at)) as unknown as { size: number; mode: number; ino: number },
    )
    if (got === undefined || (got[0].mode & 0o170000) === 0o040000) return
    if (!t.equal(got[0].size, got[1].size, `size ${at}`)) t.comment(this.trace.slice(-30).join('\n'))
  }

  /** Somebody else replaces a file that nobody has open here. */
  async #behind(): Promise<void> {
    if (this.#open.length > 0) return
    const at = this.#path()
    const real = this.#real(at)
    if (!fs.existsSync(real) || fs.statSync(real).isDirectory()) return
    const data = this.#bytes()
    this.trace.push(`behind ${at}`)
    fs.writeFileSync(real, data)
    this.#mount.remote.write(HOME + at, data)
    // attributes may be old for as long as they are believed; an open never is
    await this.#mount.close(await this.#mount.open(at, O.O_RDONLY))
  }

  async finish(t: Test): Promise<void> {
    while (this.#open.length > 0) await this.#closeOne()
    const real = fs.readdirSync(this.#folder, { recursive: true, encoding: 'utf8' }).sort()
    const ours = this.#mount.remote
      .paths()
      .flatMap((at) => (at.startsWith(`${HOME}/`) ? [at.slice(HOME.length + 1)] : []))
    t.same(ours.sort(), real, 'the same tree')
    for (const at of real) {
      if (fs.statSync(this.#real(at)).isDirectory()) continue
      const bytes = this.#mount.remote.bytes(`${HOME}/${at}`)
      if (!t.ok(bytes?.equals(fs.readFileSync(this.#real(at))), `the bytes of ${at}`)) t.comment(this.trace.join('\n'))
    }
    t.same(spoolsWithBytes(this.#mount.state), [], 'no spool file with bytes is left')
    t.same(this.#mount.log, [], 'nothing was kept or logged')
  }
}

interface Outcome<T> {
  readonly value?: T
  readonly error?: string
}

function attempt<T>(call: () => T): Outcome<T> {
  try {
    return { value: call() }
  } catch (error) {
    return { error: (error as NodeJS.ErrnoException).code ?? 'thrown' }
  }
}

async function attemptLater<T>(call: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await call() }
  } catch (error) {
    if (error instanceof Fault) return { error: error.errno }
    throw error
  }
}

function alike(error: string | undefined): string | undefined {
  return error === undefined ? undefined : (ALIKE.get(error) ?? error)
}

for (const seed of [1, 2, 3, 4, 5, 6]) {
  for (const [ttl, ahead] of [
    [0, false],
    [60, false],
    [0.02, true],
    [60, true],
  ] as const) {
    // prettier-ignore
    void t.test(`it does what a real folder does (seed ${seed}, ttl ${ttl}${ahead ? ', reading ahead' : ''})`, async (t) => {
      const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'karst-twin-'))
      t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }))
      const twins = new Twins(await walk(t, { ttl, ahead }), folder, seed)
      for (let i = 0; i < 600 && t.passing(); i++) await twins.step(t)
      if (t.passing()) await twins.finish(t)
    })
  }
}
