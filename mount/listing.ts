/** A listing as it comes over the wire: pages of entries put together, a broken page taken up where it ended. */
import { entryFromJson, type SeenEntry } from '../src/codec/fs-v1.ts'
import { Fault, isFault } from '../src/vospace/fault.ts'
import { nameOf } from '../src/vospace/path.ts'
import { isPassing, partsOf, type Answer } from './exchange.ts'
import { jsonLines } from './ndjson.ts'
import { malformed, refusalIn } from './refusal.ts'
import { type Page } from './remote.ts'

/** How one page ended: `next` is the cursor of the page after it; broken without one. */
type PageEnd = { readonly next: string | null } | { readonly broken: unknown }

/** Pages in a row that break without an entry before the listing is given up. */
const FRUITLESS = 5

/**
 * Entries in the order they come, together those that come together; holds one part of one page. A refusal, also one in the midst, is thrown as
 * its Fault, after the entries before it.
 * `page` fetches the answer that starts at a cursor, with its own retries.
 */
export async function* listing(
  page: (cursor: string | undefined) => Promise<Answer>,
  signal: AbortSignal | undefined,
): AsyncGenerator<readonly SeenEntry[]> {
  let cursor: string | undefined
  let last: string | undefined
  for (let fruitless = 0; ;) {
    const before = last
    const end = yield* entriesOf(await page(cursor), signal, last, (name) => (last = name))
    if ('next' in end && end.next === null) return
    fruitless = last === before ? fruitless + 1 : 0
    const next = 'next' in end ? (end.next ?? undefined) : last
    if ('next' in end && next === cursor && last === before) throw malformed(`a cursor that stays: ${next}`)
    if (fruitless >= FRUITLESS) throw brokenOff(end)
    cursor = next ?? cursor
  }
}

/** One page, to its end. A refusal in it is thrown as its Fault; one that breaks off, as the connection's failure. */
export async function pageOf(answer: Answer): Promise<Page> {
  const entries: SeenEntry[] = []
  let next: string | null | undefined
  for await (const values of jsonLines(partsOf(answer))) {
    for (const value of values) {
      next = cursorIn(value)
      if (next === undefined) entries.push(entryIn(value))
    }
  }
  if (next === undefined) throw malformed('a listing without its last line')
  return { entries, isLast: next === null }
}

function brokenOff(end: PageEnd): Fault {
  const cause = 'broken' in end ? end.broken : undefined
  return new Fault('ServiceBusy', `the listing breaks off again and again: ${String(cause)}`, { errno: 'EIO', cause })
}

/**
 * The entries of one page but `skip`, which the page before had already (a cursor is inclusive); tells the last name of each part to `seen`.
 * Whoever stops in the midst ends the iteration of the body, and with it the request.
 */
async function* entriesOf(
  answer: Answer,
  signal: AbortSignal | undefined,
  skip: string | undefined,
  seen: (name: string) => void,
): AsyncGenerator<readonly SeenEntry[], PageEnd> {
  let end: PageEnd = { broken: 'no last line' }
  try {
    for await (const values of jsonLines(partsOf(answer))) {
      if ('next' in end && values.length > 0) throw malformed('something after the last line')
      const { entries, next, failure } = taken(values, skip)
      const last = entries.at(-1)
      if (last !== undefined) {
        seen(nameOf(last.path))
        yield entries
      }
      if (failure !== undefined) throw failure
      // read on to the end, so that the connection can be used again
      if (next !== undefined) end = { next }
    }
    return end
  } catch (error) {
    signal?.throwIfAborted()
    if (!isPassing(error)) throw error
    return 'next' in end ? end : { broken: error }
  }
}

interface Taken {
  readonly entries: SeenEntry[]
  /** of a last line */
  readonly next?: string | null
  /** what ended it in the midst */
  readonly failure?: Error
}

function taken(values: readonly unknown[], skip: string | undefined): Taken {
  const entries: SeenEntry[] = []
  try {
    for (const [at, value] of values.entries()) {
      const next = cursorIn(value)
      if (next !== undefined) {
        if (at + 1 < values.length) throw malformed('something after the last line')
        return { entries, next }
      }
      const entry = entryIn(value)
      if (skip === undefined || nameOf(entry.path) !== skip) entries.push(entry)
    }
    return { entries }
  } catch (error) {
    if (!isFault(error)) throw error
    return { entries, failure: error }
  }
}

function entryIn(value: unknown): SeenEntry {
  const refusal = refusalIn(value)
  if (refusal !== undefined) throw refusal
  try {
    return entryFromJson(value)
  } catch (error) {
    throw isFault(error) ? malformed(error.detail, error) : error
  }
}

/** undefined when the line is no last line */
function cursorIn(value: unknown): string | null | undefined {
  if (typeof value !== 'object' || value === null || !('cursor' in value)) return undefined
  if (value.cursor !== null && typeof value.cursor !== 'string') throw malformed('a cursor of another type')
  return value.cursor
}
