/**
 * Runs the test suites by tap and says what came of them: a line a file, every failure whole, every skipped test by name,
 * and last `N passed, N failed, N skipped`, counted by tap. Arguments are files for tap; the whole report goes to .tap/report.tap.
 * With `--no-skips` a test that was skipped is as bad as one that failed. One run at a time in a checkout: tap has one folder there.
 */
import { spawn } from 'node:child_process'
import { createWriteStream, mkdirSync, openSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { tryLock } from '../src/libc/openat.ts'

const LOST = /^\s*Error: (cannot create subtest after|subtest after) parent /

/** What a TAP report (version 14, with subtests) has said so far. */
export class Report {
  readonly skipped: string[] = []
  readonly failures: string[][] = []
  /** Tests that tap never ran, and calls none: those that a file begins after tap has taken it to be at its end. */
  lost = 0
  totals: { pass: number; fail: number; skip: number; todo: number } | undefined
  #block: string[] = []

  /** Takes one line; answers what is to be shown at once. */
  line(line: string): string | undefined {
    if (/^\s*(not )?ok \d+.* # SKIP/i.test(line)) this.skipped.push(line.replace(/^\s*ok \d+ - /, '').trim())
    if (line.startsWith('# {')) this.totals = readTotals(line)
    this.#block.push(line)
    if (!/^(not )?ok \d+ - /.test(line)) return undefined
    const block = this.#block
    this.#block = []
    if (line.startsWith('not ok')) this.failures.push(block.filter((l) => !/^\s+ok \d/.test(l)))
    return line
  }

  /** Takes one line of what tap and the tests write to stderr: a lost test is told nowhere else. */
  aside(line: string): void {
    if (LOST.test(line)) this.lost++
  }

  /** Failures, when tap has ended with `code`: a run that ended badly without a counted one (a crash of tap itself) is a failure too. */
  failed(code: number): number {
    const counted = this.totals?.fail ?? 1
    return (code !== 0 && counted === 0 ? 1 : counted) + this.lost
  }

  /** What came after the last file: the diagnostics of a failure that has them there. */
  rest(): string[] {
    return this.#block
  }
}

/** `# { total: 5, pass: 3, fail: 1, skip: 1 }` */
function readTotals(line: string): { pass: number; fail: number; skip: number; todo: number } {
  const count = (name: string): number => Number(new RegExp(`\\b${name}: (\\d+)`).exec(line)?.[1] ?? 0)
  return { pass: count('pass'), fail: count('fail'), skip: count('skip'), todo: count('todo') }
}

function tap(args: readonly string[], onLine: (line: string) => void, onAside = onLine): Promise<number> {
  const child = spawn('tap', args, { stdio: ['ignore', 'pipe', 'pipe'] })
  createInterface({ input: child.stdout }).on('line', onLine)
  child.stderr.pipe(process.stderr, { end: false })
  createInterface({ input: child.stderr }).on('line', onAside)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve(code ?? 1))
  })
}

async function main(words: readonly string[]): Promise<number> {
  const files = words.filter((word) => word !== '--no-skips')
  mkdirSync('.tap', { recursive: true })
  // until this process ends, however it does
  if (!tryLock(openSync('.tap/run.lock', 'a'), 'exclusive')) {
    console.log('another run is going on in this checkout: wait for its end\n\n0 passed, 1 failed, 0 skipped')
    return 1
  }
  // tap makes its own plugin set the first time; without this the first run of a clean checkout still has the default one
  const built = await tap(['build'], () => undefined)
  if (built !== 0) throw new Error(`tap build ended with ${built}`)
  const log = createWriteStream('.tap/report.tap')
  const report = new Report()
  const take = (line: string): void => {
    log.write(`${line}\n`)
    const shown = report.line(line)
    if (shown !== undefined) console.log(shown)
  }
  const code = await tap(['--reporter=tap', ...files], take, (line) => report.aside(line))
  log.end()
  for (const failure of report.failures) console.log(`\n${failure.join('\n')}`)
  if (code !== 0) console.log(report.rest().join('\n'))
  if (report.skipped.length > 0) console.log(`\nskipped:\n${report.skipped.map((name) => `  ${name}`).join('\n')}`)
  const { pass, skip, todo } = report.totals ?? { pass: 0, skip: 0, todo: 0 }
  const failed = report.failed(code)
  console.log(`\n${pass} passed, ${failed} failed, ${skip + todo} skipped`)
  const isWhole = files.length === words.length || skip + todo === 0
  return failed === 0 && code === 0 && pass > 0 && isWhole ? 0 : 1
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2))
