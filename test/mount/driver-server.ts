// A process of its own that serves a gateway, which the test keeps in its own process, through the whole driver.
import { serveMount, type Mounted } from '../../mount/mounted.ts'
import { ReadBudget } from '../../mount/read-budget.ts'
import { StateDirectory } from '../../mount/state.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { remoteOverChannel } from './remote-channel.ts'

export interface DriverServerOptions {
  readonly dir: string
  readonly state: string
  readonly root: string
  readonly ttl?: number
  readonly readOnly?: boolean
}

export type Order = 'log' | 'openFiles' | 'unmount'

const options = JSON.parse(process.argv[2] ?? '{}') as DriverServerOptions
const lines: string[] = []
const log = (message: string) => void lines.push(message)

function obey(mounted: Mounted, order: Order): unknown {
  if (order === 'log') return lines
  return order === 'openFiles' ? mounted.status.openFiles : mounted.unmount(500).then(({ unsent }) => unsent)
}

async function answer(mounted: Mounted, id: number, order: Order): Promise<void> {
  try {
    process.send?.({ kind: 'answer', id, value: await obey(mounted, order) })
  } catch (error) {
    process.send?.({ kind: 'answer', id, failure: String(error) })
  }
}

async function main(): Promise<void> {
  const state = await StateDirectory.own(options.state, log)
  const { dir, ttl, readOnly } = options
  const mounted = await serveMount({
    ...{
      dir,
      remote: remoteOverChannel(),
      root: nodePath(options.root),
      source: `vos://karst.local~karst${options.root}`,
    },
    ...{ state: state.path, budget: new ReadBudget(64 << 20), log },
    ...(ttl !== undefined && { ttl }),
    ...(readOnly !== undefined && { readOnly }),
    logger: {
      error: (message, error) => log(`${message} ${error instanceof Error ? (error.stack ?? '') : String(error)}`),
    },
  })
  state.record([dir])
  process.on('message', ({ kind, id, order }: { kind: string; id: number; order: Order }) => {
    if (kind === 'order') void answer(mounted, id, order)
  })
  process.send?.({ kind: 'ready' })
  await mounted.ended
  state.release()
}

try {
  await main()
} catch (error) {
  process.send?.({ kind: 'failed', failure: String(error) })
}
process.disconnect?.()
