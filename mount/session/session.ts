// `karst session`: partitions mounted into a mount namespace of its own, an environment that is the same at every site, and a command in it. Here the
// gateway is asked; what is not needed for that is loaded while it answers.
import { randomUUID } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { partitionWord } from '../../src/vospace/partition.ts'
import { keepersOf } from './abandoned.ts'
import { checkPlaces, type Manifest, type PlannedPartition, settled } from './plan.ts'
import { RunFolder, type SessionNote } from './run-folder.ts'
import { type Agreed, type Ask, negotiate, type SessionName } from './terms.ts'
import { watchOver } from './watch.ts'
import { type Way } from './ways.ts'
// not inline: that would load it
import type { Begun } from './within.ts'

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
  // before there is anything: it is all taken away again, a scratch given back too, however far this one comes
  const watcher = watchOver(run, options.finish(run.path))
  run.create()
  const note = { ...noteOf(options, name), keepers: keepersOf([process.pid, watcher.pid]) }
  run.note(note)
  try {
    const { runWithin, ...begun } = await begin(options, name)
    return await runWithin(options, { run, name, note, watcher, ...begun })
  } finally {
    const { finishSession } = await import('./finish.ts')
    const how = { leave: options.leave, ...(options.timeout !== undefined && { timeout: options.timeout }) }
    for (const line of await finishSession(run, how)) options.tell(line)
  }
}

/** Asks the gateway, and loads what comes after while it answers: piece by piece, since the handshake wants its turn in between. */
async function begin(
  options: SessionOptions,
  name: SessionName,
): Promise<
  Pick<Begun, 'asked' | 'proxy'> & { readonly runWithin: (options: SessionOptions, begun: Begun) => Promise<number> }
> {
  const { certificate, proxyHours } = options
  const asked = negotiated(options, name)
  // how they fail is heard by who waits for them later
  asked.catch(() => undefined)
  await turn()
  const { newProxy } = await import('./credential.ts')
  const proxy = certificate === undefined ? undefined : newProxy(certificate, proxyHours)
  proxy?.catch(() => undefined)
  await turn()
  await import('./mounts.ts')
  await turn()
  const { runWithin } = await import('./within.ts')
  // also before a mount may stand over where this program is
  await import('./finish.ts')
  return { asked, proxy, runWithin }
}

async function negotiated(options: SessionOptions, name: SessionName): Promise<Agreed[]> {
  const { plan, ask, binds, way } = options
  const known = way === 'root' ? Object.keys(binds) : []
  const agreed = await settled(
    options,
    plan.map((one) => [one, negotiate(ask, one, name, known)]),
  )
  checkPlaces(agreed.map(({ planned, at }) => ({ partition: planned.partition, at })))
  return agreed
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
