/** A refusal as the text of a response (wire.md 3.0). */
import { type Fault } from '../vospace/fault.ts'

const MAX_BYTES = 2048

/**
 * `Name: detail` and a line feed, 2 KiB at most. Details quote what clients sent, and end up in terminals and logs:
 * control characters (C0, C1, the bidirectional ones) become blanks.
 */
export function writeFault(fault: Fault): string {
  const text = `${fault.fault}: ${fault.detail}`.toWellFormed()
  return `${capped(text.replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]+/gu, ' ').trimEnd())}\n`
}

/** Cut at a character's end, so that the line feed still fits. */
function capped(text: string): string {
  const bytes = Buffer.from(text)
  if (bytes.length < MAX_BYTES) return text
  let end = MAX_BYTES - 1
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--
  return bytes.toString('utf8', 0, end)
}
