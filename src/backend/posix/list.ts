/** Listing: names of one readdir in byte order, then what is kept of each, a batch at a time between other work. */
import { isUtf8 } from 'node:buffer'
import { closeSync, readdir } from 'node:fs'
import { opendir } from 'node:fs/promises'
import { setImmediate as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Fault } from '../../vospace/fault.ts'
import { type Entry } from '../../vospace/node.ts'
import { type NodePath } from '../../vospace/path.ts'
import { openBeneath } from '../../libc/openat.ts'
import { type ListOptions } from '../backend.ts'
import { refuseAborted, RESERVED, reservesIn, wrongType } from '../contract.ts'
import { entryOf, readInode } from './inode.ts'
import { codeOf, refusing, refusingAsync } from './refusal.ts'
import { onNode, type Store } from './store.ts'
import { type Spot } from './tree.ts'

const BATCH = 100
/** Names read from a directory at a time. */
const READ_AHEAD = 512
const read = promisify(readdir)

export interface Unservable {
  count: number
}

export async function* list(store: Store, container: NodePath, options: ListOptions, unservable: Unservable): AsyncGenerator<Entry, void> {
  refuseAborted(options.signal)
  const dir = onNode(store, { path: container }, (at, inode) => {
    if (inode.type !== 'container') throw wrongType(container, 'container', inode.type)
    return openContainer(at)
  })
  try {
    const batches =
      options.order === 'any'
        ? namesAsRead(dir, unservable)
        : slices(await refusingAsync(container, () => namesInOrder(dir, options, unservable)))
    const hidden = reservesIn(container, store.allocationParents)
    const prefix = container === '/' ? '/' : `${container}/`
    for await (const names of batches) {
      for (const name of names) {
        if (hidden && name === RESERVED) continue
        const inode = refusing(name, () => readInode(`/proc/self/fd/${dir}/${name}`, store.keeping))
        // gone this instant, or a socket, FIFO or device
        if (inode === undefined) unservable.count++
        else yield entryOf(inode, `${prefix}${name}` as NodePath, store.keeping)
      }
      await pause()
      refuseAborted(options.signal)
    }
  } finally {
    closeSync(dir)
  }
} // prettier-ignore

function openContainer(at: Spot): number {
  try {
    return openBeneath(at.dir, at.name)
  } catch (error) {
    if (codeOf(error) === 'ELOOP') throw new Fault('TypeNotSupported', 'a link', { errno: 'ENOTDIR', cause: error })
    throw error
  }
}

/** Names that are UTF-8, in byte order and from `from` on. */
async function namesInOrder(dir: number, { from }: ListOptions, unservable: Unservable): Promise<string[]> {
  const raw = await read(`/proc/self/fd/${dir}/.`, { encoding: 'buffer' })
  const names = raw.filter((name) => isUtf8(name))
  unservable.count += raw.length - names.length
  names.sort((a, b) => Buffer.compare(a, b))
  const first = from === undefined ? undefined : Buffer.from(from)
  return names.filter((name) => first === undefined || Buffer.compare(name, first) >= 0).map(String)
}

function* slices(names: readonly string[]): Generator<readonly string[]> {
  for (let at = 0; at < names.length; at += BATCH) yield names.slice(at, at + BATCH)
}

/** Names that are UTF-8, as the directory is read: a million of them take no memory, and may be removed meanwhile. */
async function* namesAsRead(dir: number, unservable: Unservable): AsyncGenerator<readonly string[]> {
  // typed for text only, though it gives bytes too
  const options = { encoding: 'buffer' as BufferEncoding, bufferSize: READ_AHEAD }
  let batch: string[] = []
  for await (const { name } of await opendir(`/proc/self/fd/${dir}/.`, options)) {
    const bytes = Buffer.from(name)
    if (isUtf8(bytes)) batch.push(bytes.toString())
    else unservable.count++
    if (batch.length < BATCH) continue
    yield batch
    batch = []
  }
  yield batch
}
