/** A log that cannot be written never stops who logs. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import t from 'tap'
import { LogFile } from '../../src/log-file.ts'

const folder = mkdtempSync(join(tmpdir(), 'karst-log-'))
t.teardown(() => rmSync(folder, { recursive: true }))

t.test('lines that cannot be written are counted and dropped', async (t) => {
  const log = new LogFile('/dev/full')
  t.teardown(() => log.close())
  const logger = pino({}, log)
  for (let i = 0; i < 100; i++) logger.info('x')
  t.equal(log.dropped, 100)
})

t.test('a file too long is set aside and begun anew, none of its lines lost', async (t) => {
  const file = join(folder, 'gateway.log')
  const log = new LogFile(file)
  t.teardown(() => log.close())
  const line = `${'x'.repeat(99_999)}\n`
  for (let i = 0; i < 2500; i++) log.write(line)
  t.ok(existsSync(`${file}.1`))
  t.ok(statSync(file).size < 200e6)
  t.equal(log.dropped, 0)
  log.write('last\n')
  log.flush()
  t.ok(readFileSync(file, 'latin1').endsWith('last\n'))
  t.equal(statSync(file).mode & 0o777, 0o600)
})

t.test('the lines of one turn are one write at its end, in their order', async (t) => {
  const file = join(folder, 'turn.log')
  const log = new LogFile(file)
  t.teardown(() => log.close())
  for (const line of ['one\n', 'zwei, drei: \u00e4\n', 'four\n']) log.write(line)
  t.equal(readFileSync(file, 'utf8'), '')
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(readFileSync(file, 'utf8'), 'one\nzwei, drei: \u00e4\nfour\n')
  log.write('x'.repeat(1 << 17))
  t.equal(statSync(file).size, 24 + (1 << 17), 'much does not wait')
})

t.test('no line is lost when the process ends, in order or not, and the log is closed once', async (t) => {
  const source = join(import.meta.dirname, '../../src/log-file.ts')
  for (const [name, end] of Object.entries({
    exit: 'process.exit(3)',
    thrown: 'throw new Error("x")',
    closed: 'log.close()',
  })) {
    const file = join(folder, `${name}.log`)
    const program = `import { LogFile } from ${JSON.stringify(source)}
      const log = new LogFile(${JSON.stringify(file)}); log.write('last\\n'); ${end}`
    spawnSync(process.execPath, ['--input-type=module', '-e', program])
    t.equal(readFileSync(file, 'utf8'), 'last\n', name)
  }
})

t.test('what a pipe takes only in part is written to its end', async (t) => {
  const source = join(import.meta.dirname, '../../src/log-file.ts')
  const program = `import { LogFile } from ${JSON.stringify(source)}
    new LogFile(undefined).write('\u00e4'.repeat(300000))`
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { maxBuffer: 1 << 21 })
  t.equal(stdout.toString(), '\u00e4'.repeat(300000))
})
