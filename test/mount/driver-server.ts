// A process of its own that serves a FakeRemote through the whole driver. Started by driver-harness.
import { serveMount, type Mounted } from '../../mount/mounted.ts'
import { ReadBudget } from '../../mount/read-budget.ts'
import { Fault, type FaultName } from '../../src/vospace/fault.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { FakeRemote, type RemoteCall } from './fake-remote.ts'

export interface DriverServerOptions {
  readonly dir: string
  readonly state: string
  readonly root?: string
  readonly ttl?: number
  readonly readOnly?: boolean
}

/** What a test can have done to the gateway behind the mount's back, and asked of it. */
export interface Orders {
  write: (path: string, base64: string) => void
  bytes: (path: string) => string | undefined
  paths: () => string[]
  count: (name: RemoteCall) => number
  forgetCalls: () => void
  fail: (count: number, fault: FaultName, errno: string | undefined, ...names: RemoteCall[]) => void
  heal: () => void
  latency: (milliseconds: number) => void
  stat: (path: string) => Promise<{ mode: number; mtime: string; size: number }>
  rename: (from: string, to: string) => Promise<void>
  remove: (path: string) => Promise<void>
  openFiles: () => number
  log: () => string[]
  unmount: () => Promise<number>
}

const options = JSON.parse(process.argv[2] ?? '{}') as DriverServerOptions
const remote = new FakeRemote()
const log: string[] = []

function ordersOf(mounted: Mounted): Orders {
  return {
    write: (path, base64) => void remote.write(path, Buffer.from(base64, 'base64')),
    bytes: (path) => remote.bytes(path)?.toString('base64'),
    paths: () => remote.paths(),
    count: (name) => remote.count(name),
    forgetCalls: () => void remote.calls.splice(0),
    fail: (count, fault, errno, ...names) =>
      remote.failNext(count, new Fault(fault, 'on order', errno === undefined ? {} : { errno }), ...names),
    heal: () => remote.heal(),
    latency: (milliseconds) => void (remote.latency = milliseconds),
    async stat(path) {
      const { mode, mtime, size } = await remote.entry({ path: nodePath(path) })
      return { mode, mtime: String(mtime), size }
    },
    async rename(from, to) {
      await remote.rename(nodePath(from), nodePath(to), 'replace')
    },
    remove: (path) => remote.remove(nodePath(path), 'leaf'),
    openFiles: () => mounted.openFiles,
    log: () => log,
    unmount: () => mounted.unmount(500),
  }
}

async function main(): Promise<void> {
  try {
    remote.makeContainer(options.root ?? '/home/alice')
    const mounted = await serveMount({
      remote,
      root: nodePath(options.root ?? '/home/alice'),
      dir: options.dir,
      source: 'vos://karst.local~karst/home/alice',
      state: options.state,
      budget: new ReadBudget(64 << 20),
      ...(options.ttl !== undefined && { ttl: options.ttl }),
      ...(options.readOnly !== undefined && { readOnly: options.readOnly }),
      log: (message) => log.push(message),
      logger: {
        error: (message, error) => log.push(`${message} ${error instanceof Error ? error.stack : String(error)}`),
      },
    })
    const orders = ordersOf(mounted)
    process.on('message', ({ id, name, args }: { id: number; name: keyof Orders; args: never[] }) => {
      void (async () => {
        try {
          const order: (...args: never[]) => unknown = orders[name]
          process.send?.({ id, answer: await order(...args) })
        } catch (error) {
          process.send?.({ id, failure: String(error) })
        }
      })()
    })
    process.send?.({ ready: true })
    await mounted.ended
    process.disconnect?.()
  } catch (error) {
    process.send?.({ ready: false, failure: String(error) })
    process.disconnect?.()
  }
}

await main()
