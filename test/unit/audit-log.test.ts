/** The audit's file: who may read it, what is in a line, and what happens when it repeats, is renamed or cannot be written. */
import { chmodSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { auditOf } from '../../src/app-audit.ts'
import { AuditLog, type Origin } from '../../src/audit-log.ts'
import { readConfig } from '../../src/config.ts'
import { type AuditEvent } from '../../src/identity/audit.ts'

const folder = mkdtempSync(join(tmpdir(), 'karst-audit-'))
t.teardown(() => rmSync(folder, { recursive: true }))

interface Line extends AuditEvent {
  readonly time: string
  readonly request?: string
  readonly address?: string
  readonly repeated?: number
}

const lines = (file: string): Line[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line)

let files = 0
function opened(t: Test, origin?: () => Origin | undefined, file = join(folder, `${files++}.jsonl`)) {
  const told: string[] = []
  const tell = (_fields: object, text: string): void => void told.push(text)
  const audit = new AuditLog(file, { log: { error: tell, info: tell }, ...(origin && { origin }) })
  t.teardown(() => audit.close())
  return { audit, file, told }
}

const refused = (by: string | null, on: string): AuditEvent => ({ act: 'request', by, on, result: 'refused' })

t.test('a line says who, by what, from where, and its file is for its owner only', async (t) => {
  const from = { request: 'r1', address: '::1', user: 'alice', method: 'certificate', dn: 'cn=alice' }
  const { audit, file } = opened(t, () => from)
  audit.note({ act: 'node.share', by: 'alice', on: '/home/alice', result: 'allowed', detail: { granted: 'public' } })
  audit.note({ act: 'tree.share', by: 'bob', on: '/pub', result: 'allowed' })
  const [own, others] = lines(file)
  t.match(own, { act: 'node.share', by: 'alice', request: 'r1', address: '::1', method: 'certificate', dn: 'cn=alice' })
  t.match(own, { detail: { granted: 'public' }, time: /^\d{4}-.*Z$/ })
  t.notOk(own !== undefined && 'user' in own, 'once is enough')
  t.notOk(others !== undefined && 'request' in others, 'what is not of this request does not say so')
  t.equal(statSync(file).mode & 0o777, 0o600)
})

t.test('a file that others could read is closed to them', async (t) => {
  const { audit, file } = opened(t)
  audit.note(refused('bob', '/x'))
  chmodSync(file, 0o644)
  opened(t, undefined, file)
  t.equal(statSync(file).mode & 0o777, 0o600)
})

t.test(
  'refusals that repeat are one line, and one with their count; who makes many different ones gets few',
  async (t) => {
    let address = '192.0.2.1'
    const { audit, file } = opened(t, () => ({ request: 'r', address }))
    for (let i = 0; i < 1000; i++) audit.note(refused(null, '/same'))
    t.equal(lines(file).length, 1)
    for (let i = 0; i < 1000; i++) audit.note(refused(null, `/other/${i}`))
    t.equal(lines(file).length, 100)
    address = '192.0.2.2'
    audit.note(refused(null, '/same'))
    t.equal(lines(file).length, 101, 'another address has lines of its own')
    for (let i = 0; i < 20_000; i++) {
      address = `192.0.2.${i}`
      audit.note(refused(null, '/same'))
    }
    t.ok(lines(file).length <= 5001, 'and all of them together have an end')
    audit.note({ act: 'user.suspend', by: 'carol', on: 'bob', result: 'allowed' })
    t.match(lines(file).at(-1), { act: 'user.suspend' }, 'what was done is never left out')
    audit.settle()
    const counted = lines(file).reduce((sum, { repeated = 1 }) => sum + repeated, 0)
    t.equal(counted, 1000 + 1000 + 1 + 20_000 + 1, 'none is uncounted')
    const rest = lines(file).filter(({ on }) => on === '*')
    t.match(
      rest,
      [{ address: '192.0.2.1' }, { by: null }],
      'one of the address, one of all that were too many together',
    )
    t.notOk(rest[1]?.address ?? rest[1]?.request, 'which names none of them')
    const before = lines(file).length
    audit.note(refused(null, '/same'))
    t.equal(lines(file).length, before + 1, 'after a minute it is a line again')
  },
)

t.test('a file that was renamed keeps its lines, and a new one is begun', async (t) => {
  const { audit, file } = opened(t)
  audit.note(refused('bob', '/before'))
  renameSync(file, `${file}.1`)
  audit.note(refused('bob', '/between'))
  audit.reopen()
  audit.note(refused('bob', '/after'))
  t.same(
    [`${file}.1`, file].map((one) => lines(one).map(({ on }) => on)),
    [['/before', '/between'], ['/after']],
  )
})

t.test('a full disk stops nobody: what is lost is counted and told', async (t) => {
  const { audit, told } = opened(t, undefined, '/dev/full')
  for (let i = 0; i < 50; i++) audit.note({ act: 'a', by: null, on: 'b', result: 'allowed' })
  t.equal(audit.lost, 50)
  t.same(told, ['audit events are being lost'])
})

t.test('what clients write is one line of JSON and no longer than it should be', async (t) => {
  const { audit, file } = opened(t)
  audit.note(refused('bob', `/a\n{"act":"forged"}\u2028${'x'.repeat(100_000)}`))
  t.equal(readFileSync(file, 'utf8').trimEnd().split('\n').length, 1)
  t.ok(statSync(file).size < 10_000)
})

t.test('what is being lost is told in /availability, and the gateway stays available', async (t) => {
  const log = pino({ level: 'silent' })
  const audit = auditOf({ audit: { file: '/dev/full' } }, log)
  t.teardown(() => audit.close())
  const check = audit.checked(async () => ({ available: true, upSince: 1, notes: ['another'] }))
  t.same((await check()).notes, ['another'])
  audit.note({ act: 'a', by: null, on: 'b', result: 'allowed' })
  t.match(await check(), { available: true, notes: ['another', 'the audit cannot be written'] })
})

t.test('a gateway whose audit cannot be begun does not start', async (t) => {
  const none = join(folder, 'none', 'audit.jsonl')
  t.throws(() => auditOf({ audit: { file: none } }, pino({ level: 'silent' })), /audit: .*ENOENT/)
})

t.test('it is on unless the configuration says otherwise, and then events are in the log', async (t) => {
  const document = {
    service: { resourceId: 'ivo://karst.local/karst', url: 'https://localhost:8443/karst' },
    tls: { certificate: 'c', key: 'k' },
    state: 'state',
    backends: { main: { type: 'posix', root: 'tree' } },
    namespace: [{ path: '/', backend: 'main' }],
  }
  const auditIn = (audit?: unknown) => readConfig({ ...document, ...(audit !== undefined && { audit }) }, '/conf').audit
  t.same(auditIn(), { file: '/conf/state/audit.jsonl' })
  t.same(auditIn({}), { file: '/conf/state/audit.jsonl' })
  t.same(auditIn({ file: 'elsewhere' }), { file: '/conf/elsewhere' })
  t.equal(auditIn(false), undefined)
  for (const bad of [true, null, 'file', { file: '' }, { path: 'x' }])
    t.throws(() => auditIn(bad), { name: 'ConfigError' })
  const written: string[] = []
  const log = pino({}, { write: (line: string) => void written.push(line) })
  auditOf({}, log).note({ act: 'user.suspend', by: 'carol', on: 'bob', result: 'allowed' })
  t.match(written[0], /"act":"user.suspend".*"msg":"audit"/)
})
