/** test/run.ts: what counts as a failure of a run, and that there is one at a time. */
import { spawnSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { tryLock } from '../../src/libc/openat.ts'
import { Report } from '../run.ts'

const GOOD = ['ok 1 - test/a.test.ts # time=1ms', '1..1', '# { total: 2, pass: 2 }']

function reported(stdout: readonly string[], stderr: readonly string[] = []): Report {
  const report = new Report()
  for (const line of stdout) report.line(line)
  for (const line of stderr) report.aside(line)
  return report
}

t.test('failures that tap has counted, and its own end', async (t) => {
  t.equal(reported(GOOD).failed(0), 0)
  t.equal(reported(GOOD).failed(1), 1, 'tap ended badly')
  t.equal(reported([]).failed(0), 1, 'nothing was counted')
  const bad = ['not ok 1 - test/a.test.ts', '# { total: 5, pass: 1, fail: 3, skip: 1 }']
  t.equal(reported(bad).failed(1), 3)
})

t.test('a test that tap has not run, since it took the file to be at its end, is a failure', async (t) => {
  const lost = ['Error: cannot create subtest after parent test ends', '  ---', '  stack: |']
  t.equal(reported(GOOD, lost).failed(0), 1)
  t.equal(reported(GOOD, [...lost, '', ...lost]).failed(0), 2)
  t.equal(reported(GOOD, ['oidc-provider WARNING: Error: something else']).failed(0), 0)
})

t.test('a second run in one checkout is refused, with a count', async (t) => {
  const dir = t.testdir({ '.tap': {} })
  const first = openSync(join(dir, '.tap/run.lock'), 'a')
  t.teardown(() => closeSync(first))
  t.ok(tryLock(first, 'exclusive'))
  const second = spawnSync(process.execPath, [join(import.meta.dirname, '../run.ts')], { cwd: dir, encoding: 'utf8' })
  t.equal(second.status, 1)
  t.match(second.stdout, /^another run is going on in this checkout.*\n0 passed, 1 failed, 0 skipped\n$/s)
})
