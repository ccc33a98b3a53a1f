// A driver that is killed before any of its system calls: whoever goes on finds what a program was told is written, once, and
// has nothing to keep that was sent or never answered.
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import t, { type Test } from 'tap'
import { Directories } from '../../mount/folders.ts'
import { Files } from '../../mount/handle.ts'
import { MountRecord } from '../../mount/record.ts'
import { NO_RECORDER } from '../../mount/recorder.ts'
import { restore, resumeFolder } from '../../mount/resume.ts'
import { recoverSpools, SpoolFolder } from '../../mount/spool.ts'
import { openTree } from '../../mount/tree.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { HOME } from './driver-harness.ts'
import { type FakeRemote } from './fake-remote.ts'
import { O, seeded, walk, type Walked } from './tree-harness.ts'

/** Bytes that wait to be sent, by the name of their file. */
type Unsent = ReadonlyMap<string, string>

/** What a kill at that moment leaves. */
interface Killed {
  readonly at: string
  readonly files: readonly (readonly [string, Buffer])[]
  /** What waited when the last answer went: it has to be somewhere, but for what has arrived meanwhile. */
  readonly told: Unsent
  /** And with what the next answer tells of: may be there. */
  after: Unsent
}

const CALLS = ['openSync', 'writeSync', 'writevSync', 'ftruncateSync', 'renameSync', 'rmSync'] as const

/** Tells of every call that changes something, before it is made. */
function watchCalls(t: Test, told: (call: string) => void): void {
  const real = Object.fromEntries(CALLS.map((name) => [name, fs[name]]))
  for (const name of CALLS) {
    Object.assign(fs, {
      [name]: (...args: unknown[]) => {
        told(`${name} ${String(args[0])}`)
        return (real[name] as (...args: unknown[]) => unknown)(...args)
      },
    })
  }
  syncBuiltinESMExports()
  t.teardown(() => {
    Object.assign(fs, real)
    syncBuiltinESMExports()
  })
}

function filesBelow(folder: string): [string, Buffer][] {
  const entries = fs.readdirSync(folder, { recursive: true, withFileTypes: true })
  return entries.flatMap((entry) => {
    const file = path.join(entry.parentPath, entry.name)
    return entry.isDirectory() ? [] : [[path.relative(folder, file), fs.readFileSync(file)]]
  })
}

class Programs {
  readonly #killed: Killed[] = []
  readonly #mount: Walked
  readonly #unsent = new Map<string, string>()
  #answered: Unsent = new Map()
  #unique = 0
  /** Of `#killed` with what is answered already. */
  #whole = 0
  #isLooking = false

  constructor(t: Test, mount: Walked) {
    this.#mount = mount
    watchCalls(t, (at) => {
      if (this.#isLooking) return
      this.#isLooking = true
      const told = new Map([...this.#answered].filter(([name, text]) => !this.#hasArrived(name, text)))
      this.#killed.push({ at, files: filesBelow(mount.state), told, after: told })
      this.#isLooking = false
    })
  }

  /** The kernel gets its answer. */
  #answer(): void {
    const after = new Map(this.#unsent)
    this.#mount.record?.commit(++this.#unique, [Buffer.from('answer')], 6)
    for (; this.#whole < this.#killed.length; this.#whole++) {
      const killed = this.#killed[this.#whole]
      if (killed !== undefined) killed.after = after
    }
    this.#answered = after
  }

  /** At the gateway; nothing is written twice. */
  #hasArrived(name: string, text: string): boolean {
    const bytes = this.#mount.remote.bytes(`${HOME}/${name}`)?.toString('latin1') ?? ''
    return bytes.replaceAll('\0', '').includes(text)
  }

  /** No call is looked at any more. */
  end(): readonly Killed[] {
    this.#isLooking = true
    return this.#killed
  }

  async open(name: string, flags: number): Promise<number> {
    const fh = await this.#mount.open(name, flags)
    this.#answer()
    return fh
  }

  write(name: string, fh: number, at: number, text: string): void {
    this.#mount.write(fh, at, text)
    this.#unsent.set(name, (this.#unsent.get(name) ?? '') + text)
    this.#answer()
  }

  async close(name: string, fh: number): Promise<void> {
    await this.#mount.files.flush(fh)
    this.#unsent.delete(name)
    this.#answer()
    await this.#mount.files.release(fh)
    this.#answer()
  }

  /** Without being asked for its error. */
  async release(name: string, fh: number): Promise<void> {
    await this.#mount.files.release(fh)
    this.#unsent.delete(name)
    this.#answer()
  }
}

function nothingIsRead(): never {
  throw new Error('all of it was written here')
}

/** What the next driver finds to be sent, by name. */
async function takenOver(state: string, remote: FakeRemote, log: string[]): Promise<Unsent> {
  const tree = await openTree(remote, nodePath(HOME), { uid: 1234, gid: 1234, ttl: 0 })
  const told = (message: string) => void log.push(message)
  const spools = new SpoolFolder(state, 'mount', told)
  const files = new Files(tree, { spools, openReader: nothingIsRead, log: told })
  const folders = new Directories(tree, NO_RECORDER)
  restore({ tree, files, folders, spools }, new MountRecord(resumeFolder(state, 'mount'), told).restored())
  const unsent = new Map<string, string>()
  for (const { content, name } of files.openInodes()) {
    let text = ''
    for (const { start, end } of content?.save().dirty ?? []) {
      text += Buffer.concat((await content?.read(start, end - start)) ?? []).toString()
    }
    if (text !== '') unsent.set(name, text)
  }
  return unsent
}

function placed(t: Test, { files }: Killed): string {
  const state = fs.mkdtempSync(path.join(os.tmpdir(), 'karst-killed-'))
  t.teardown(() => fs.rmSync(state, { recursive: true, force: true }))
  for (const [name, bytes] of files) {
    fs.mkdirSync(path.dirname(path.join(state, name)), { recursive: true })
    fs.writeFileSync(path.join(state, name), bytes)
  }
  return state
}

function keptIn(state: string): string[] {
  const folder = path.join(state, 'recovered')
  if (!fs.existsSync(folder)) return []
  const kept = fs.readdirSync(folder).filter((name) => !name.endsWith('.origin'))
  // without its holes
  return kept.map((name) => fs.readFileSync(path.join(folder, name), 'latin1').replaceAll('\0', ''))
}

/** Whether all went as it should; says where not. */
async function check(t: Test, killed: Killed, remote: FakeRemote): Promise<boolean> {
  const { told, after, at } = killed
  const state = placed(t, killed)
  const log: string[] = []
  const found = await takenOver(state, remote, log)
  const says = `killed before ${at}: ${JSON.stringify([...found])} of ${JSON.stringify([...told])}`
  const kept = keptIn(state)
  for (const [name, text] of told) {
    const there = found.get(name)
    if (there === text || (there !== undefined && there === after.get(name)) || kept.includes(text)) continue
    return t.fail(`taken over without ${name}: ${says}`)
  }
  if (log.length > 0) return t.same(log, [], `nothing is kept: ${says}`)
  // nobody goes on; killed once, and once more
  for (const left of [placed(t, killed), state]) {
    recoverSpools(left, () => undefined)
    const all = keptIn(left)
    for (const [name, text] of told) {
      if (all.some((one) => one.includes(text))) continue
      return t.fail(`recovered without ${name}: ${says}`)
    }
  }
  return true
}

void t.test('files that are written, appended to beside others, and refused', async (t) => {
  for (let seed = 1; seed <= 6; seed++) {
    const pick = seeded(seed)
    const mount = await walk(t, { survives: true })
    await t.test(`seed ${seed}`, async (t) => {
      const programs = new Programs(t, mount)
      mount.remote.write(`${HOME}/log`, 'first ')
      const open = new Map<string, number>()
      for (let i = 0; i < 40; i++) {
        const name = pick(3) === 0 ? 'log' : `f${pick(4)}`
        const fh = open.get(name)
        if (fh === undefined) {
          const flags = O.O_WRONLY | O.O_CREAT | (name === 'log' ? O.O_APPEND : O.O_TRUNC)
          open.set(name, await programs.open(name, flags))
          continue
        }
        const kind = pick(5)
        if (kind < 3) {
          programs.write(name, fh, name === 'log' ? 0 : 10 * i, `${name}-${i} `)
          continue
        }
        open.delete(name)
        // somebody else appends
        if (name === 'log') mount.remote.write(`${HOME}/log`, `${mount.remote.bytes(`${HOME}/log`)?.toString()}${i} `)
        if (kind === 3 || name === 'log') await programs.close(name, fh)
        else {
          mount.remote.failNext(2, new Fault('QuotaExceeded', 'on order'), 'put', 'amend')
          await programs.release(name, fh)
          mount.remote.heal()
        }
      }
      const points = programs.end()
      t.ok(points.length > 50, `${points.length} points of kill`)
      for (const killed of points) if (!(await check(t, killed, mount.remote))) return
    })
  }
})
