/** A log that cannot be written never stops who logs. */
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
  t.ok(readFileSync(file, 'latin1').endsWith('last\n'))
  t.equal(statSync(file).mode & 0o777, 0o600)
})
