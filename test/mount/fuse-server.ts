// A process of its own that serves a file system in memory, with files that misbehave by name. Started by fuse-harness.
import { mountFuse } from '../../mount/fuse/mount.ts'
import { PAGE } from '../../mount/fuse/constants.ts'
import { refuse, type Answer, type FileSystem, type RequestContext } from '../../mount/fuse/filesystem.ts'
import { DEFAULT_MAX_WRITE } from '../../mount/fuse/init.ts'
import { Session } from '../../mount/fuse/session.ts'
import { EpollTransport } from '../../mount/fuse/transport-epoll.ts'
import { ReadTransport } from '../../mount/fuse/transport-read.ts'
import { MemoryFileSystem, type Inode, type MemoryOptions } from './memory-filesystem.ts'

export interface ServerOptions extends MemoryOptions {
  readonly dir: string
  readonly transport: 'epoll' | 'read'
  /** Every handler answers by a promise that takes a turn of the event loop. */
  readonly later?: boolean
  readonly fsname?: string
}

export type ServerCommand = 'state' | 'grow' | 'invalidateInode' | 'invalidateEntry'

export interface ServerState {
  readonly kind: 'ready' | 'failed' | 'state' | 'closed'
  readonly detail: string
  readonly inodes: number
  readonly openHandles: number
  readonly log: readonly string[]
  /** How many handlers that never answer were told that their caller is being killed. */
  readonly aborted: number
}

const SLOW = 700
const NEVER = new Promise<never>(() => undefined)

/** Reads of files named throws, rejects, never, slow, greedy and the close of full do what their names say. */
class HostileFileSystem extends MemoryFileSystem {
  aborted = 0
  session: Session | undefined

  override read(nodeid: number, fh: number, offset: number, size: number, context?: RequestContext) {
    const answer = super.read(nodeid, fh, offset, size)
    return this.#misbehave(this.#nameOf(nodeid), answer, context) as typeof answer
  }

  /** A file named stall-* takes its time, and looks at the bytes only then. */
  override write(nodeid: number, fh: number, offset: number, data: Buffer, flags: number): number {
    if (!this.#nameOf(nodeid).startsWith('stall-')) return super.write(nodeid, fh, offset, data, flags)
    const answer = new Promise<number>((resolve) => {
      setTimeout(() => resolve(super.write(nodeid, fh, offset, data, flags)), 300)
    })
    return answer as unknown as number
  }

  override flush(nodeid?: number): undefined {
    if (nodeid !== undefined && this.#nameOf(nodeid) === 'full') return refuse('EDQUOT') as unknown as undefined
    return undefined
  }

  /** A directory named notify-* tells the kernel to forget a name of the parent while the kernel holds the parent. */
  override mkdir(parent: number, name: Buffer, mode: number, umask: number, context: RequestContext) {
    const answer = super.mkdir(parent, name, mode, umask, context)
    if (!name.toString().startsWith('notify-')) return answer
    void this.session?.notifier.invalidateEntry(parent, Buffer.from('other'))
    return new Promise<typeof answer>((resolve) => setTimeout(resolve, 200, answer)) as unknown as typeof answer
  }

  find(name: string): Inode | undefined {
    return this.root.children.get(name)
  }

  #nameOf(nodeid: number): string {
    for (const [name, inode] of this.root.children) if (inode.nodeid === nodeid) return name
    return ''
  }

  #misbehave(name: string, answer: Answer<unknown>, context?: RequestContext): Answer<unknown> {
    if (name === 'throws') throw new Error('thrown on purpose')
    if (name === 'rejects') return Promise.reject(new Error('rejected on purpose'))
    if (name === 'greedy') return Buffer.alloc(1 << 21)
    if (name === 'slow') return new Promise((resolve) => setTimeout(resolve, SLOW, answer))
    if (name === 'never') {
      context?.signal.addEventListener('abort', () => (this.aborted += 1))
      return NEVER
    }
    return answer
  }
}

/** All answers by promise; lookups and forgets stay in order. */
function answeringLater(fs: FileSystem): FileSystem {
  return new Proxy(fs, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function' || name === 'forget') return method
      return (...args: unknown[]) =>
        new Promise((resolve) => setImmediate(() => resolve(Reflect.apply(method, target, args))))
    },
  })
}

async function main(options: ServerOptions): Promise<void> {
  const memory = new HostileFileSystem(options)
  const log: string[] = []
  const tell = (kind: ServerState['kind'], detail = '') =>
    process.send?.({
      kind,
      detail,
      inodes: memory.inodes.size,
      openHandles: memory.openHandles,
      log,
      aborted: memory.aborted,
    })
  try {
    const { fd } = await mountFuse(options.dir, { fsname: options.fsname ?? 'memory' })
    const size = DEFAULT_MAX_WRITE + PAGE
    const transport = options.transport === 'epoll' ? new EpollTransport(fd, size) : new ReadTransport(fd, size)
    const logger = { error: (message: string, error?: unknown) => log.push(`${message} ${String(error)}`) }
    const session = new Session(options.later === true ? answeringLater(memory) : memory, transport, logger, {
      interruptGrace: 100,
    })
    memory.session = session
    session.start()
    process.on('message', (command: ServerCommand) => {
      const file = memory.find('watched')
      if (command === 'grow' && file !== undefined) memory.put(file, 0, Buffer.from('changed behind the kernel'))
      else if (command === 'grow') memory.attach(memory.root, Buffer.from('watched'), memory.make(0o100644, 0, 0))
      if (command === 'invalidateInode')
        void session.notifier.invalidateInode(file?.nodeid ?? 0).then(() => tell('state'))
      else if (command === 'invalidateEntry') {
        void session.notifier.invalidateEntry(1, Buffer.from('watched')).then(() => tell('state'))
      } else tell('state')
    })
    await session.initialized
    tell('ready')
    const error = await session.closed
    tell('closed', error === undefined ? '' : String(error))
  } catch (error) {
    tell('failed', String(error))
  }
  process.disconnect?.()
}

await main(JSON.parse(process.argv[2] ?? '{}') as ServerOptions)
