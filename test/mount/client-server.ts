// A process of its own that mounts a tree of a gateway over HTTPS, as the driver does.
import { Client, type ConnectOptions } from '../../mount/client.ts'
import { serveMount } from '../../mount/mounted.ts'
import { ReadBudget } from '../../mount/read-budget.ts'
import { StateDirectory } from '../../mount/state.ts'
import { nodePath } from '../../src/vospace/path.ts'

export interface ClientServerOptions {
  readonly dir: string
  readonly state: string
  readonly root: string
  readonly ttl?: number
  readonly readOnly?: boolean
  readonly gateway: Omit<ConnectOptions, 'logger'>
}

export type ClientOrder = 'log' | 'unmount' | 'rss'

const options = JSON.parse(process.argv[2] ?? '{}') as ClientServerOptions
const lines: string[] = []
const log = (message: string) => void lines.push(message)

async function main(): Promise<void> {
  const state = await StateDirectory.own(options.state, log)
  const remote = new Client({
    ...options.gateway,
    logger: { warn: (fields, text) => log(`${text} ${JSON.stringify(fields)}`) },
  })
  const { dir, root, ttl, readOnly } = options
  const mounted = await serveMount({
    ...{ dir, remote, root: nodePath(root), source: `vos://karst.local~karst${root}` },
    ...{ state: state.path, budget: new ReadBudget(64 << 20), log },
    ...(ttl !== undefined && { ttl }),
    ...(readOnly !== undefined && { readOnly }),
    logger: {
      error: (text, error) => log(`${text} ${error instanceof Error ? (error.stack ?? '') : String(error)}`),
    },
  })
  state.record([dir])
  process.on('message', ({ kind, id, order }: { kind: string; id: number; order: ClientOrder }) => {
    if (kind !== 'order') return
    const said = {
      log: () => lines,
      rss: () => process.memoryUsage().rss,
      unmount: () => mounted.unmount(500).then(({ unsent }) => unsent),
    }[order]()
    void Promise.resolve(said).then((value) => process.send?.({ kind: 'answer', id, value }))
  })
  process.send?.({ kind: 'ready' })
  await mounted.ended
  await remote.close()
  state.release()
}

try {
  await main()
} catch (error) {
  process.send?.({ kind: 'failed', failure: error instanceof Error ? error.stack : String(error) })
}
process.disconnect?.()
