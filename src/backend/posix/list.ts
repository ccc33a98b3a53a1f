/** Listing: names, and what is kept of each, a batch at a time between other work. */
import { closeSync } from 'node:fs'
import { setImmediate as pause } from 'node:timers/promises'
import { codeOf } from '../../libc/errno.ts'
import { Fault } from '../../vospace/fault.ts'
import { type Entry } from '../../vospace/node.ts'
import { type NodePath } from '../../vospace/path.ts'
import { openBeneath } from '../../libc/openat.ts'
import { type ListOptions } from '../backend.ts'
import { refuseAborted, RESERVED, reservesIn, wrongType } from '../contract.ts'
import { entryOf, readInodeAt } from './inode.ts'
import { namesAsRead, namesInOrder, type Unservable } from './names.ts'
import { refusal, refusing } from './refusal.ts'
import { onNode, type Store } from './store.ts'
import { spot, type Spot } from './tree.ts'

const BATCH = 100

export async function* list(store: Store, container: NodePath, options: ListOptions, all: Unservable): AsyncGenerator<Entry, void> {
  refuseAborted(options.signal)
  const unservable = { ...all, count: 0 }
  const dir = onNode(store, { path: container }, (at, inode) => {
    if (inode.type !== 'container') throw wrongType(container, 'container', inode.type)
    return openContainer(at)
  })
  try {
    const { order, from } = options
    const parts = order === 'any' ? namesAsRead(dir, unservable) : namesInOrder(dir, from, unservable)
    const hidden = reservesIn(container, store.allocationParents)
    const prefix = container === '/' ? '/' : `${container}/`
    for await (const names of slices(refusals(container, parts))) {
      for (const name of names) {
        if (hidden && name === RESERVED) continue
        const inode = refusing(name, () => readInodeAt(spot(dir, name), store.keeping, unservable.special))
        // gone this instant, or a socket, FIFO or device
        if (inode === undefined) unservable.count++
        else yield entryOf(inode, `${prefix}${name}` as NodePath, store.keeping, unservable.special)
      }
      await pause()
      refuseAborted(options.signal)
    }
    if (options.whole === true && unservable.count > 0) throw unlisted(container, unservable.count)
  } finally {
    all.count += unservable.count
    closeSync(dir)
  }
} // prettier-ignore

function unlisted(container: NodePath, count: number): Fault {
  const detail = `${count} in ${container} can be no node: the name is not UTF-8, or it is a socket, FIFO or device`
  return new Fault('OperationNotSupported', detail)
}

function openContainer(at: Spot): number {
  try {
    return openBeneath(at.dir, at.name)
  } catch (error) {
    if (codeOf(error) === 'ELOOP') throw new Fault('TypeNotSupported', 'a link', { errno: 'ENOTDIR', cause: error })
    throw error
  }
}

async function* slices(parts: AsyncIterable<readonly string[]>): AsyncGenerator<readonly string[]> {
  for await (const names of parts) {
    for (let at = 0; at < names.length; at += BATCH) yield names.slice(at, at + BATCH)
  }
}

async function* refusals<T>(container: NodePath, parts: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* parts
  } catch (error) {
    throw refusal(error, container)
  }
}
