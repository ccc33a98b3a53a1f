// `karst session`: partitions mounted into a mount namespace of its own, an environment that is the same at every site, and a command in it. Here the
// gateway is asked; what is not needed for that is loaded while it answers.
import { randomUUID } from 'node:crypto'
import { partitionWord } from '../../src/vospace/partition.ts'
import { keepersOf } from './abandoned.ts'
import { type Agreement, type AgreementRequest, agreeByDriver, marksOf } from './agreement-request.ts'
import { type Manifest, type PlannedPartition } from './plan.ts'
import { RunFolder, type SessionNote } from './run-folder.ts'
import { type Ask, type SessionName } from './terms.ts'
import { watchOver } from './watch.ts'
import { type Way } from './ways.ts'
// not inline: that would load it
import type { Begun } from './within.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export interface SessionOptions {
  readonly way: Way
  /** user and group of whoever called, where a user namespace has them as root */
  readonly inside?: { readonly uid: number; readonly gid: number }
  readonly plan: readonly PlannedPartition[]
  readonly manifest: Manifest
  /** id of the session; absent: one of its own */
  readonly id?: string
  readonly user?: string | number
  readonly command: readonly string[]
  readonly ask: Ask
  readonly url: string
  readonly ca?: string
  /** PEM of the user; absent: a token, and no proxy is made */
  readonly certificate?: string
  readonly tokenFile?: string
  readonly proxyHours: number
  readonly stateDir: string
  /** a folder in memory of the user's own */
  readonly runtime?: string
  readonly binds: Readonly<Record<string, string>>
  readonly environment: Readonly<Record<string, string>>
  /** of the command that ends the session should this process be killed */
  readonly finish: (run: string) => readonly string[]
  readonly leave: (note: SessionNote) => Promise<void>
  /** Seconds that the gateway is waited for. */
  readonly timeout?: number
  readonly tell: (line: string) => void
}

/** Runs it to its end; answers the exit code of the command. Throws Faults and MountErrors, with nothing left mounted. */
export async function runSession(options: SessionOptions): Promise<number> {
  const session = options.id ?? options.manifest.session ?? randomUUID()
  const name = { session, member: randomUUID() }
  const run = RunFolder.place(options.inside?.uid ?? process.geteuid?.() ?? 0, options.runtime)
  const noted = Promise.withResolvers<undefined>()
  // it may be that no driver hears of it
  noted.promise.catch(() => undefined)
  const byDriver = agreeByDriver(options.stateDir, requestOf(options, name), noted.promise)
  // how it fails is heard by who waits for it later
  byDriver.catch(() => undefined)
  // with this it is asked
  await turn()
  const { watcher, note } = begun(options, name, run, noted)
  try {
    const agreement = agreed(options, { run, name, note, byDriver })
    agreement.catch(() => undefined)
    const { runWithin } = await rest()
    return await runWithin(options, { run, name, note, watcher, agreement })
  } finally {
    const { finishSession } = await import('./finish.ts')
    const how = { leave: options.leave, ...(options.timeout !== undefined && { timeout: options.timeout }) }
    for (const line of await finishSession(run, how)) options.tell(line)
  }
}

/** There is a note, and somebody who ends what it says. A driver that was asked already is told, or hung up on. */
function begun(
  options: SessionOptions,
  name: SessionName,
  run: RunFolder,
  noted: PromiseWithResolvers<undefined>,
): Pick<Begun, 'watcher' | 'note'> {
  try {
    const watcher = watchOver(run, options.finish(run.path))
    run.create()
    const note = { ...noteOf(options, name), keepers: keepersOf([process.pid, watcher.pid]) }
    run.note(note)
    noted.resolve(undefined)
    return { watcher, note }
  } catch (error) {
    noted.reject(error)
    throw error
  }
}

/** What comes after, loaded while the gateway answers; all of it before a mount may stand over where this program is. */
async function rest(): Promise<{ readonly runWithin: (options: SessionOptions, begun: Begun) => Promise<number> }> {
  const { loadCalls } = await import('./mounts.ts')
  loadCalls()
  const { runWithin } = await import('./within.ts')
  await import('./finish.ts')
  return { runWithin }
}

type Asked = Pick<Begun, 'run' | 'name' | 'note'> & { readonly byDriver: Promise<Agreement | undefined> }

async function agreed(options: SessionOptions, { run, name, note, byDriver }: Asked): Promise<Agreement> {
  const found = await byDriver
  if (found !== undefined) return found
  const { agree, checkFiles } = await import('./agreement.ts')
  const request = requestOf(options, name)
  try {
    await checkFiles(request)
  } catch (error) {
    // nothing was asked of the gateway: it has nothing to be given back
    const { gateway: _, ...rest } = note
    run.note(rest)
    throw error
  }
  return agree(request, options.ask)
}

function requestOf(options: SessionOptions, name: SessionName): AgreementRequest {
  const { plan, binds, way, url, ca, certificate, tokenFile, proxyHours } = options
  return {
    ...{ name, plan, url, proxyHours, binds: way === 'root' ? Object.keys(binds) : [], marks: marksOf(options) },
    ...(ca !== undefined && { ca }),
    ...(certificate !== undefined && { certificate }),
    ...(tokenFile !== undefined && { tokenFile }),
  }
}

function noteOf(options: SessionOptions, name: SessionName): SessionNote {
  const { stateDir, url, ca, certificate, tokenFile } = options
  // both count at the gateway until they are given back
  const isCounted = options.plan.some(({ partition }) => isScratch(partition)) || Object.keys(options.binds).length > 0
  return {
    ...{ ...name, stateDir, mounts: [] },
    ...(isCounted && {
      gateway: {
        url,
        ...(ca !== undefined && { ca }),
        ...(certificate !== undefined && { certificate }),
        ...(tokenFile !== undefined && { tokenFile }),
      },
    }),
  }
}

function isScratch(partition: string): boolean {
  const word = partitionWord(partition)
  return 'kind' in word && word.kind === 'scratch'
}
