/** A second process on the store of a test: `node store-process.ts FILE TASK [ARGUMENTS]`, one line of JSON out when it is done. */
import { once } from 'node:events'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { openStore, type Store } from '../../src/store/store.ts'
import { nodePath } from '../../src/vospace/path.ts'

const TASKS: Record<string, (store: Store, ...rest: string[]) => unknown> = {
  /** begins an operation, notes, and hangs until it is killed */
  begin: (store, id = '') => {
    const begun = store.operations.begin('alice', id, 'mkdir /a')
    if (begun.state === 'new') begun.attempt.note('node-1')
    setInterval(() => undefined, 60_000)
    return begun.state
  },
  /** one of several that begin the same operations at once; answers which it may do */
  race: (store, count = '0') =>
    Array.from({ length: Number(count) }, (_, i) => i).filter((i) => {
      const begun = store.operations.begin('alice', `race-${i}`, 'x')
      return begun.state === 'new' && !begun.attempt.repeated
    }),
  append: (store, count = '0') =>
    Array.from({ length: Number(count) }, () => store.changes.append({ id: 'n', path: nodePath('/n'), kind: 'bytes' })),
  users: (store, prefix = '', count = '0') =>
    Array.from({ length: Number(count) }, (_, i) => store.users.create({ name: `${prefix}${i}` }).uid),
  leave: (store, uri = '', user = '') => store.groups.remove(uri, user) ?? null,
  addUser: (store, name = '', uid = '') => store.users.create({ name, uid: Number(uid) }).uid,
}

const [file, task, ...rest] = process.argv.slice(2)
if (process.argv[1] === fileURLToPath(import.meta.url) && file !== undefined && task !== undefined) {
  const answer = TASKS[task]?.(openStore(file), ...rest)
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}

export interface Running {
  readonly process: ChildProcess
  readonly answer: unknown
}

/** Starts the task in a process of its own and waits for its line. */
export async function run(file: string, task: string, ...rest: string[]): Promise<Running> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), file, task, ...rest], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  for await (const line of createInterface({ input: child.stdout }))
    return { process: child, answer: JSON.parse(line) as unknown }
  throw new Error(`${task} ended with nothing to say`)
}

export async function kill({ process: child }: Running): Promise<void> {
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

/** A path for a store, in a folder that goes when the test ends. */
export function storeFile(t: { teardown(clean: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), 'karst-store-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return join(folder, 'karst.db')
}
