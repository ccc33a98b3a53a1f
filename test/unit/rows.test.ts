/** Every row of the wire contract's checklist (its section 10) has a test that says so in its title: `row 7:`, `rows 8, 9 and 24:`. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

const ROWS = 65
/** pullToVoSpace and pushFromVoSpace, archives on upload and download, packages: they come later. */
const LATER = [43, 55, 65]

const TESTS = join(import.meta.dirname, '..')

/** Of titles only, not of what is said of an assertion; of tests that run, not of those in a comment or with `skip: true`. */
function rowsIn(source: string): number[] {
  const code = source.replace(/^\s*(\/\*[^]*?\*\/|\/\/.*)/gm, '')
  const titles = [
    ...code.matchAll(/\bt\.test\(\s*(['"`])rows? ([\d, and]+):(?:(?!\1)[^])*\1,(?! *\{[^}]*(?:skip: true|todo))/g),
  ]
  return titles.flatMap(([, , numbers = '']) => (numbers.match(/\d+/g) ?? []).map(Number))
}

t.test('it has a test for each row', async (t) => {
  const files = readdirSync(TESTS, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.test.ts'))
  const found = new Set(files.flatMap((name) => rowsIn(readFileSync(join(TESTS, name), 'utf8'))))
  const missing = Array.from({ length: ROWS }, (_, i) => i + 1).filter((row) => !found.has(row) && !LATER.includes(row))
  t.same(missing, [])
  t.same(
    [...found].filter((row) => row < 1 || row > ROWS),
    [],
  )
})
