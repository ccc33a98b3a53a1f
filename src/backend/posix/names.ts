/** The names in a directory: as it is read, or in the order of their bytes; never more than some of them at a time, however many there are. */
import { closeSync, constants, openSync } from 'node:fs'
import { setImmediate as pause } from 'node:timers/promises'
import { readEntries, scanEntries } from '../../libc/directory.ts'
import { compareNames, HeldNames } from './held-names.ts'
import { spot } from './tree.ts'

/** Names passed over. */
export interface Unservable {
  count: number
  /** sockets, FIFOs and devices are served */
  readonly special?: boolean
}

/** Names in order that are found in one reading of the directory; up to twice as many are held. */
export const MOST_HELD = 32_768

/** Names that may be of nodes, as the directory is read: what has been answered may be removed meanwhile. Throws LibcError. */
export async function* namesAsRead(dir: number, unservable: Unservable): AsyncGenerator<readonly string[]> {
  const fd = openSync(spot(dir, '.').file, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    for (let entries = readEntries(fd); entries !== undefined; entries = readEntries(fd)) {
      const names = entries.flatMap(({ name, type }) =>
        name === undefined || (type === 'other' && unservable.special !== true) ? [] : [name],
      )
      unservable.count += entries.length - names.length
      yield names
      await pause()
    }
  } finally {
    closeSync(fd)
  }
}

/** Names handed on at a time. */
const SLICE = 100

/** The same in the order of their bytes, from a name on, inclusive. Of a huge directory each part is picked out in a reading of its own. */
export async function* namesInOrder(
  dir: number,
  from: string | undefined,
  unservable: Unservable,
  most: number = MOST_HELD,
): AsyncGenerator<readonly string[]> {
  const held = new HeldNames()
  const first = Buffer.from(`${from ?? ''}\0`)
  let more = await holdFirst(held, dir, (bytes, start) => compareNames(bytes, start, first, 0) >= 0, unservable, most)
  for (;;) {
    for (let at = 0; at === 0 || at < held.count; at += SLICE) yield held.strings(at, at + SLICE)
    if (!more) return
    const last = held.bytesOf(held.count - 1).slice()
    // they were counted already
    const uncounted = { ...unservable, count: 0 }
    more = await holdFirst(held, dir, (bytes, start) => compareNames(bytes, start, last, 0) > 0, uncounted, most)
  }
}

/** Holds the first of the names that are wanted, in order; false: those are all. */
async function holdFirst(
  held: HeldNames,
  dir: number,
  isWanted: (bytes: Uint8Array, start: number) => boolean,
  unservable: Unservable,
  most: number,
): Promise<boolean> {
  const fd = openSync(spot(dir, '.').file, constants.O_RDONLY | constants.O_DIRECTORY)
  let bound: Uint8Array | undefined
  const take: Parameters<typeof scanEntries>[1] = (bytes, start, end, type, isText) => {
    if (!isText || (type === 'other' && unservable.special !== true)) unservable.count++
    else if (isWanted(bytes, start) && (bound === undefined || compareNames(bytes, start, bound, 0) < 0))
      held.add(bytes, start, end)
  }
  held.clear()
  try {
    while (scanEntries(fd, take)) {
      if (held.count >= 2 * most) {
        held.sort(most)
        bound = held.bytesOf(most - 1).slice()
      }
      await pause()
    }
  } finally {
    closeSync(fd)
  }
  const more = bound !== undefined || held.count > most
  held.sort(most)
  return more
}
