/** The suites of `npm run test:posix`, and how they are read. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { fuseSkip, needs } from '../parts.ts'
import { casesOf, problemsOf } from './suite.ts'

const skip = needs('cargo', 'root with CAP_SYS_ADMIN', '/dev/shm') || (await fuseSkip())

// a clean checkout builds both suites first
t.setTimeout(40 * 60_000)

t.test('a trusted mount passes pjdfstest and fsx but for the exceptions', { skip }, async (t) => {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'main.ts')], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part: Buffer) => (output += part.toString()))
  const code = await new Promise((resolve) => child.once('close', resolve))
  t.equal(code, 0, output)
  t.match(output, /\n\d+ passed, \d+ failed, \d+ skipped\n$/)
  const [, share = '0'] = /(\d+\.\d) % of \d+ cases pass/.exec(output) ?? []
  t.ok(Number(share) >= 97, `${share} % pass`)
  t.comment(output.trim().split('\n').at(-1) ?? '')
})

const OUTPUT = `
unlink::ok_case                    ok
chmod::bad                          FAILED
\tassertion failed: x
Backtrace:
   0: somewhere
link::not_here                   skipped
\tno number
`

t.test('each case is read with what is said of it', async (t) => {
  t.same(
    casesOf(OUTPUT).map(({ name, verdict }) => [name, verdict]),
    [
      ['unlink::ok_case', 'passed'],
      ['chmod::bad', 'failed'],
      ['link::not_here', 'skipped'],
    ],
  )
  t.match(casesOf(OUTPUT)[1]?.why, /^assertion failed: x/)
  t.equal(casesOf(OUTPUT)[2]?.why, 'no number')
})

t.test('what fails, what is skipped, and exceptions that pass or are no case, are problems', async (t) => {
  const cases = casesOf(OUTPUT)
  t.match(problemsOf(cases, [], true), [/^chmod::bad failed, expected: passed/, /^link::not_here skipped/])
  const known = [
    { case: 'chmod::bad', verdict: 'failed', reason: 'r' },
    { case: 'link::not_here', verdict: 'skipped', reason: 'r' },
  ] as const
  t.same(problemsOf(cases, known, true), [])
  const stale = [...known, { case: 'unlink::ok_case', verdict: 'failed', reason: 'r' } as const]
  t.match(problemsOf(cases, stale, true), [/^unlink::ok_case passed, expected: failed/])
  const race = [{ case: 'chmod::bad', verdict: 'sometimes', reason: 'r' } as const, known[1]]
  t.same(problemsOf(cases, race, true), [])
  t.same(problemsOf(casesOf(OUTPUT.replace('FAILED', 'ok')), race, true), [])
  const gone = [...known, { case: 'no::such', verdict: 'failed', reason: 'r' } as const]
  t.same(problemsOf(cases, gone, true), ['no::such is an exception and no case'])
  t.same(problemsOf(cases, gone, false), [])
})
