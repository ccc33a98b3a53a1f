/**
 * What `/availability` and `/readyz` tell (VOSI 1.1, availability): whether the database takes a write and every storage answers. Storage that can
 * only be read is available, with a note; without its database the gateway is not, nor without one of several storages: it may be only this
 * gateway that has lost it (a dead file system client), and then others are to be asked.
 */
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { isFault } from './vospace/fault.ts'
import { ROOT } from './vospace/path.ts'
import { type Backend } from './backend/backend.ts'

export interface Availability {
  readonly available: boolean
  /** milliseconds since 1970 */
  readonly upSince: number
  /** for anybody to read: nothing of where things are */
  readonly notes: readonly string[]
}

export interface Probed {
  /** Throws when it cannot be written. */
  readonly database: () => void
  /** by the name of the profile; told when there are several */
  readonly storages: ReadonlyMap<string, Pick<Backend, 'probe' | 'usage'>>
  /** folders that must be writable */
  readonly folders: readonly string[]
  readonly upSince: number
  /** Told what is not for anybody. */
  readonly log: { warn(fields: object, text: string): void }
}

/** What was found is good for so long, milliseconds: anybody may ask, and as often as they like. */
const KEEP_MS = 1000

/** Answers how to look: one look at a time, however many ask and however long it takes. */
export function healthOf(probed: Probed): () => Promise<Availability> {
  let last: Promise<Availability> | undefined
  let goodUntil = Infinity
  return async () => {
    if (last === undefined || performance.now() > goodUntil) {
      goodUntil = Infinity
      last = look(probed)
      void last.finally(() => (goodUntil = performance.now() + KEEP_MS))
    }
    return last
  }
}

async function look(probed: Probed): Promise<Availability> {
  const { database, storages, folders, upSince } = probed
  const fatal = [...(await failed(probed, 'the database cannot be written', database))]
  for (const [name, storage] of storages) {
    fatal.push(...(await failed(probed, `${title(probed, name)} does not answer`, () => storage.probe())))
  }
  if (fatal.length > 0) return { available: false, upSince, notes: fatal }
  const notes: string[] = []
  for (const folder of folders) {
    const writable = (): Promise<void> => access(folder, constants.W_OK)
    notes.push(...(await failed(probed, 'the storage cannot be written', writable)))
  }
  for (const [name, storage] of storages) notes.push(...(await roomless(probed, title(probed, name), storage)))
  return { available: true, upSince, notes }
}

/** What is to be told when `work` fails; nothing when it does not. */
async function failed({ log }: Probed, note: string, work: () => unknown): Promise<string[]> {
  try {
    await work()
    return []
  } catch (error) {
    log.warn({ err: error }, note)
    return [`${note}: ${errnoOf(error)}`]
  }
}

const title = ({ storages }: Probed, name: string): string =>
  storages.size === 1 ? 'the storage' : `the storage ${name}`

async function roomless(probed: Probed, what: string, storage: Pick<Backend, 'usage'>): Promise<string[]> {
  let notes: string[] = []
  const unknown = await failed(probed, `${what} does not tell what room it has`, async () => {
    const { free, filesFree } = await storage.usage(ROOT)
    if (free <= 0) notes = [`${what} is full: there is no room for bytes`]
    else if (filesFree !== null && filesFree <= 0) notes = [`${what} is full: there is no room for nodes`]
  })
  return [...notes, ...unknown]
}

function errnoOf(error: unknown): string {
  if (isFault(error)) return error.errno
  return error instanceof Error && 'code' in error ? String(error.code) : 'EIO'
}
