/** Lines of JSON from bytes as they come. Holds one line and one part, whatever the length of the whole. */
import { malformed } from './refusal.ts'

/** bytes; an entry with hundreds of groups is far below it */
const LONGEST_LINE = 1 << 20
const NEWLINE = 10

/** The values, one a line; a last line without its newline is one too. Throws InternalFault for what is no JSON or too long. */
export async function* jsonLines(body: AsyncIterable<Buffer>): AsyncGenerator<unknown> {
  let held: Buffer[] = []
  let length = 0
  for await (const part of body) {
    let start = 0
    for (let end = part.indexOf(NEWLINE); end >= 0; end = part.indexOf(NEWLINE, start)) {
      const line = part.subarray(start, end)
      yield valueOf(held.length === 0 ? line : Buffer.concat([...held, line]))
      held = []
      length = 0
      start = end + 1
    }
    if (start < part.length) held.push(part.subarray(start))
    if ((length += part.length - start) > LONGEST_LINE) throw malformed('a line that does not end')
  }
  if (length > 0) yield valueOf(Buffer.concat(held))
}

function valueOf(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString('utf8'))
  } catch (error) {
    throw malformed(`no JSON: ${line.toString('utf8', 0, 100)}`, error)
  }
}
