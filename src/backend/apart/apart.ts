/**
 * A storage in a process of its own, for file systems of the network: one that hangs then holds up neither the gateway's event loop, by the calls of
 * the C library, nor its pool of threads, by those of Node. While it does not answer everybody is refused at once (ServiceBusy, ETIMEDOUT) and
 * it is asked again and again; a process that has ended is started anew.
 */
import { Readable } from 'node:stream'
import { Fault } from '../../vospace/fault.ts'
import { type Entry } from '../../vospace/node.ts'
import { type NodePath } from '../../vospace/path.ts'
// prettier-ignore
import {
  type AmendOptions, type Backend, type Cancel, type Capabilities, type Changes, type Child, type Choose, type ContainerDraft, type Extent,
  type LinkDraft, type ListOptions, type PosixCalls, type PutOptions, type ReadOptions, type Ref, type Removal, type Seen, type Snapshots, type Trash, type Usage,
} from '../backend.ts'
import { refuseAborted } from '../contract.ts'
import { PastTree } from '../snapshots.ts'
import { type ToldRemoval } from './served.ts'
import { type Consumer } from './streams.ts'
import { heard } from './told.ts'

/** Has the storage's process do something. `choose` answers what it asks meanwhile. */
export interface Line {
  call(method: string, args: readonly unknown[], choose?: Choose): Promise<unknown>
  /** Starts the process and the storage in it. */
  start(): Promise<{ readonly capabilities: Capabilities }>
  stop(): Promise<void>
}

export class BackendApart implements Backend {
  readonly #line: Line
  readonly #like: Backend
  #capabilities: Capabilities
  readonly posix?: PosixCalls
  readonly trash?: Trash
  readonly snapshots?: Snapshots

  /** `like`: the same storage in this process, never started: what it has, this one has. */
  constructor(line: Line, like: Backend) {
    this.#line = line
    this.#like = like
    this.#capabilities = like.capabilities
    if (like.posix !== undefined) this.posix = posixOver(line)
    if (like.trash !== undefined) this.trash = trashOver(line)
    if (like.snapshots !== undefined) this.snapshots = snapshotsOver(line, this)
  }

  get capabilities(): Capabilities {
    return this.#capabilities
  }

  async start(): Promise<void> {
    this.#capabilities = (await this.#line.start()).capabilities
  }

  async stop(): Promise<void> {
    await this.#line.stop()
  }

  async probe(): Promise<void> {
    await this.#line.call('probe', [])
  }

  async walk(path: NodePath, options?: Cancel): Promise<Entry[]> {
    return (await this.#line.call('walk', [path, options])) as Entry[]
  }

  list(container: NodePath, options: ListOptions = {}): AsyncIterable<Entry> {
    return sequence(() => this.#line.call('list', [container, options]), options.signal)
  }

  async make(path: NodePath, draft: ContainerDraft | LinkDraft): Promise<Entry> {
    return (await this.#line.call('make', [path, draft])) as Entry
  }

  async put(path: NodePath, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<Entry> {
    const { after, ...told } = options
    refuseAborted(options.signal)
    // a promise stays in its process
    await after
    return (await this.#line.call('put', [path, body, told])) as Entry
  }

  async read(ref: Ref, options?: ReadOptions): Promise<{ entry: Entry; body: Readable }> {
    refuseAborted(options?.signal)
    return readable(await this.#line.call('read', [ref, options]))
  }

  async amend(ref: Ref, extents: AsyncIterable<Extent>, options: AmendOptions): Promise<Entry> {
    refuseAborted(options.signal)
    return (await this.#line.call('amend', [ref, extents, options])) as Entry
  }

  async set(ref: Ref, changes: Changes): Promise<Entry> {
    return (await this.#line.call('set', [ref, changes])) as Entry
  }

  async move(from: NodePath, to: NodePath, options?: { readonly replace?: boolean; readonly exchange?: boolean }): Promise<Entry> {
    return (await this.#line.call('move', [from, to, options])) as Entry
  } // prettier-ignore

  async copy(from: NodePath, to: NodePath, draft: Parameters<Backend['copy']>[2]): Promise<Entry> {
    refuseAborted(draft.signal)
    return (await this.#line.call('copy', [from, to, draft])) as Entry
  }

  async remove(path: NodePath, type: Parameters<Backend['remove']>[1], seen?: Seen): Promise<void> {
    await this.#line.call('remove', [path, type, seen])
  }

  survey(container: NodePath, options: Cancel = {}): AsyncIterable<readonly Child[]> {
    return sequence(() => this.#line.call('survey', [container, options]), options.signal)
  }

  async *removeChildren(container: Ref, choose: Choose, options: Cancel = {}): AsyncGenerator<readonly Removal[]> {
    const ask = async (): Promise<unknown> =>
      ((await this.#line.call('removeChildren', [container, options], choose)) as Consumer).oneByOne()
    for await (const page of sequence<readonly ToldRemoval[]>(ask, options.signal))
      yield page.map(({ child, fault }) => ({ child, ...(fault !== undefined && { fault: heard(fault) as Fault }) }))
  }

  async link(ref: Ref, to: NodePath): Promise<Entry> {
    return (await this.#line.call('link', [ref, to])) as Entry
  }

  async usage(path: NodePath): Promise<Usage> {
    return (await this.#line.call('usage', [path])) as Usage
  }

  async setQuota(container: NodePath, bytes: number | null): Promise<void> {
    await this.#line.call('setQuota', [container, bytes])
  }

  /** Where nothing can be asked, nor has to be. */
  isFixed(path: NodePath): boolean {
    return this.#like.isFixed?.(path) === true
  }

  async directUrl(...args: Parameters<Backend['directUrl']>): Promise<URL> {
    return new URL(String(await this.#line.call('directUrl', args)))
  }
}

function posixOver(line: Line): PosixCalls {
  const asks = async (method: string, ...args: readonly unknown[]): Promise<Entry> =>
    (await line.call(`posix.${method}`, args)) as Entry
  return {
    walk: async (path, options) => (await line.call('posix.walk', [path, options])) as Entry[],
    list: (container, options = {}) => sequence(() => line.call('posix.list', [container, options]), options.signal),
    move: (from, to, options) => asks('move', from, to, options),
    link: (ref, to) => asks('link', ref, to),
    make: (path, draft) => asks('make', path, draft),
    set: (ref, changes) => asks('set', ref, changes),
    setAcl: (ref, kind, value) => asks('setAcl', ref, kind, value),
    remove: async (path, type) => void (await line.call('posix.remove', [path, type])),
    acl: async (ref, kind) => (await line.call('posix.acl', [ref, kind])) as Buffer | undefined,
  }
}

function trashOver(line: Line): Trash {
  return {
    put: async (path, seen, note) => void (await line.call('trash.put', [path, seen, note])),
    list: (keeper) => sequence(() => line.call('trash.list', [keeper])),
    restore: async (keeper, id, to) => (await line.call('trash.restore', [keeper, id, to])) as Entry,
    purge: async (keeper, id) => void (await line.call('trash.purge', [keeper, id])),
    sweep: async (keeper, before) => (await line.call('trash.sweep', [keeper, before])) as number,
    keepers: () => sequence(() => line.call('trash.keepers', [])),
  }
}

function snapshotsOver(line: Line, now: Backend): Snapshots {
  return {
    list: async (allocation) =>
      (await line.call('snapshots.list', [allocation])) as Awaited<ReturnType<Snapshots['list']>>,
    make: async (allocation, name) =>
      (await line.call('snapshots.make', [allocation, name])) as Awaited<ReturnType<Snapshots['make']>>,
    remove: async (allocation, name) => void (await line.call('snapshots.remove', [allocation, name])),
    at: async (allocation, name) => {
      const then = (method: string, ...args: readonly unknown[]): Promise<unknown> =>
        line.call(`past.${method}`, [allocation, name, ...args])
      // whether it is there
      await then('look')
      const past = {
        walk: async (path: NodePath, options?: Cancel) => (await then('walk', path, options)) as Entry[],
        list: (container: NodePath, options: ListOptions = {}) =>
          sequence<Entry>(() => then('list', container, options), options.signal),
        read: async (ref: Ref, options?: ReadOptions) => readable(await then('read', ref, options)),
      }
      const acl: PosixCalls['acl'] = async (ref, kind) => (await then('posix.acl', ref, kind)) as Buffer | undefined
      return new PastTree(now, { ...past, ...(now.posix !== undefined && { posix: { acl } }) }, allocation)
    },
  }
}

/** What is answered, item by item; it is asked for when it is first read. */
async function* sequence<T>(ask: () => Promise<unknown>, signal?: AbortSignal): AsyncGenerator<T> {
  refuseAborted(signal)
  for await (const item of (await ask()) as AsyncIterable<T>) {
    refuseAborted(signal)
    yield item
  }
}

function readable(answer: unknown): { entry: Entry; body: Readable } {
  const { entry, body } = answer as { entry: Entry; body: Consumer }
  return { entry, body: bytesOf(body) }
}

/** Not Readable.from: that waits for the item under way before it lets go. */
function bytesOf(items: Consumer): Readable {
  const pull = async (stream: Readable): Promise<void> => {
    for (;;) {
      const { done, value } = await items.next()
      if (done === true) return void stream.push(null)
      const bytes = value as Uint8Array
      if (bytes.byteLength > 0) return void stream.push(bytes)
    }
  }
  return new Readable({
    read() {
      pull(this).catch((error: unknown) => this.destroy(error instanceof Error ? error : new Fault('InternalFault', String(error))))
    },
    destroy(error, done) {
      void items.return()
      done(error)
    },
  })
} // prettier-ignore
