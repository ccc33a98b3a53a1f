/** What a command is, and how its words are read. */
import type { ParseArgsConfig } from 'node:util'

// An import statement asks a module of Node for all that is in it. Of node:util and node:fs that loads a quarter of Node (streams, the terminal,
// worker threads), a third of the time that a command takes to start: what every command loads, and karst session, gets them in this way.
const { parseArgs } = process.getBuiltinModule('node:util')

export interface Command {
  readonly name: string
  /** `karst NAME ...` */
  readonly usage: string
  readonly summary: string
  /** Exit code when it throws: 1 unless said otherwise. */
  readonly failed?: number
  /** Answers the exit code: 0 done, 1 failed, 2 wrong words. */
  readonly run: (words: readonly string[]) => Promise<number>
}

/** Wrong words on the command line: said with the usage, exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

type Options = NonNullable<ParseArgsConfig['options']>

/** Options and the given count of other words. Throws UsageError. */
export function readWords<const T extends Options>(
  words: readonly string[],
  options: T,
  positionals: { readonly min: number; readonly max: number } = { min: 0, max: 0 },
): ReturnType<typeof parseArgs<{ options: T; args: string[]; allowPositionals: true; strict: true }>> {
  try {
    const parsed = parseArgs({ args: [...words], options, allowPositionals: true, strict: true })
    const count = parsed.positionals.length
    if (count < positionals.min) throw new UsageError('something is missing')
    if (count > positionals.max) throw new UsageError(`unexpected: ${String(parsed.positionals[positionals.max])}`)
    return parsed
  } catch (error) {
    if (error instanceof UsageError) throw error
    // the first sentence: what follows is advice for programmers
    throw new UsageError((error as Error).message.replace(/\. .*$/s, ''), { cause: error })
  }
}

/** Of a command that can do several things: how many words may stand after the name of one. */
export interface Wordy {
  readonly words: readonly [min: number, max: number]
}

/** The act that the first word names, with as many more words as it takes. Throws UsageError. */
export function actOf<T extends Wordy>(acts: Readonly<Record<string, T>>, [what = '', ...more]: readonly string[]): T {
  const act = Object.hasOwn(acts, what) ? acts[what] : undefined
  if (act === undefined) throw new UsageError(`it is one of ${Object.keys(acts).join(', ')}`)
  const [min, max] = act.words
  if (more.length < min) throw new UsageError('something is missing')
  if (more.length > max) throw new UsageError(`unexpected: ${String(more[max])}`)
  return act
}

/** Rows in columns: as wide as their widest, two spaces apart, the last as it comes. */
export function columns(rows: readonly (readonly (string | number)[])[]): string[] {
  const cells = rows.map((row) => row.map(String))
  const widths = cells.reduce<number[]>((most, row) => row.map((cell, at) => Math.max(cell.length, most[at] ?? 0)), [])
  return cells.map((row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

/** A line for people, on standard output. */
export function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

/**
 * What went wrong, on standard error. It may have names in it that somebody else has chosen: what would speak to the terminal, or turn the
 * direction of writing, is escaped.
 */
export function complain(line: string): void {
  const safe = line.replace(/[\p{Cc}\p{Cf}]/gu, (one) => (one === '\n' || one === '\t' ? one : encodeURIComponent(one)))
  process.stderr.write(`${safe}\n`)
}
