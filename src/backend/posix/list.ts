/** Listing: names of one readdir in byte order, then what is kept of each, a batch at a time between other work. */
import { isUtf8 } from 'node:buffer'
import { closeSync, readdir } from 'node:fs'
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
    const names = await refusingAsync(container, () => namesIn(dir, options, unservable))
    const hidden = reservesIn(container, store.allocationParents)
    const prefix = container === '/' ? '/' : `${container}/`
    for (const [i, name] of names.entries()) {
      if (i % BATCH === BATCH - 1) {
        await pause()
        refuseAborted(options.signal)
      }
      if (hidden && name === RESERVED) continue
      const inode = refusing(name, () => readInode(`/proc/self/fd/${dir}/${name}`, store.keeping))
      // gone this instant, or a socket, FIFO or device
      if (inode === undefined) unservable.count++
      else yield entryOf(inode, `${prefix}${name}` as NodePath, store.keeping)
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

/** Names that are UTF-8; in byte order and from `from` on when that is asked for. */
async function namesIn(dir: number, { order, from }: ListOptions, unservable: Unservable): Promise<string[]> {
  const raw = await read(`/proc/self/fd/${dir}/.`, { encoding: 'buffer' })
  const names = raw.filter((name) => isUtf8(name))
  unservable.count += raw.length - names.length
  if (order === 'any') return names.map(String)
  names.sort((a, b) => Buffer.compare(a, b))
  const first = from === undefined ? undefined : Buffer.from(from)
  return names.filter((name) => first === undefined || Buffer.compare(name, first) >= 0).map(String)
}
