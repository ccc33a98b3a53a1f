/** Lines of JSON from bytes as they come. Holds one line and one part, whatever the length of the whole. */
import { malformed } from './refusal.ts'

/** bytes; an entry with hundreds of groups is far below it */
const LONGEST_LINE = 1 << 20
const NEWLINE = 10

/**
 * The values, one a line, those of each part as it comes; a last line without its newline is one too. Throws InternalFault for what is no JSON
 * or too long, after the values before it.
 */
export async function* jsonLines(body: AsyncIterable<Buffer> | Iterable<Buffer>): AsyncGenerator<readonly unknown[]> {
  let held: Buffer[] = []
  let length = 0
  for await (const part of body) {
    const end = part.lastIndexOf(NEWLINE)
    if (end >= 0) {
      yield* valuesOf(held.length === 0 ? part.toString('utf8', 0, end) : textOf([...held, part.subarray(0, end)]))
      held = []
      length = 0
    }
    if (end + 1 < part.length) held.push(part.subarray(end + 1))
    if ((length += part.length - end - 1) > LONGEST_LINE) throw malformed('a line that does not end')
  }
  if (length > 0) yield* valuesOf(textOf(held))
}

/** The same one by one. */
export async function* jsonValues(body: AsyncIterable<Buffer> | Iterable<Buffer>): AsyncGenerator<unknown> {
  for await (const values of jsonLines(body)) yield* values
}

const textOf = (parts: readonly Buffer[]): string => Buffer.concat(parts).toString('utf8')

function* valuesOf(text: string): Generator<readonly unknown[]> {
  const values: unknown[] = []
  for (const line of text.split('\n')) {
    try {
      values.push(JSON.parse(line))
    } catch (error) {
      yield values
      throw malformed(`no JSON: ${line.slice(0, 100)}`, error)
    }
  }
  yield values
}
