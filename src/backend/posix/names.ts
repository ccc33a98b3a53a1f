/** The names in a directory: as it is read, or in the order of their bytes; never more than some of them at a time, however many there are. */
import { closeSync, constants, openSync } from 'node:fs'
import { setImmediate as pause } from 'node:timers/promises'
import { readEntries } from '../../libc/directory.ts'
import { byteOrder } from '../../vospace/path.ts'
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

/** The same in the order of their bytes, from a name on, inclusive. Of a huge directory each part is picked out in a reading of its own. */
export async function* namesInOrder(
  dir: number,
  from: string | undefined,
  unservable: Unservable,
  most: number = MOST_HELD,
): AsyncGenerator<readonly string[]> {
  let part = await firstNames(dir, (name) => from === undefined || byteOrder(name, from) >= 0, unservable, most)
  for (;;) {
    yield part.names
    const last = part.names.at(-1)
    if (!part.more || last === undefined) return
    // they were counted already
    part = await firstNames(dir, (name) => byteOrder(name, last) > 0, { ...unservable, count: 0 }, most)
  }
}

async function firstNames(
  dir: number,
  isWanted: (name: string) => boolean,
  unservable: Unservable,
  most: number,
): Promise<{ names: string[]; more: boolean }> {
  let names: string[] = []
  let bound: string | undefined
  for await (const read of namesAsRead(dir, unservable)) {
    for (const name of read) {
      if (isWanted(name) && (bound === undefined || byteOrder(name, bound) < 0)) names.push(name)
    }
    if (names.length < 2 * most) continue
    names = names.sort(byteOrder).slice(0, most)
    bound = names.at(-1)
  }
  names.sort(byteOrder)
  return { names: names.slice(0, most), more: bound !== undefined || names.length > most }
}
