// SQLite databases with writers on two mounts, through the kernel: nothing that was committed is lost, and nothing is torn.
import { spawn } from 'node:child_process'
import path from 'node:path'
import t, { type Test } from 'tap'
import { startGateway } from '../http/gateway.ts'
import { needs, fuseSkip } from '../parts.ts'
import { mountOf } from './client-harness.ts'

const skip = (await fuseSkip()) || needs('python3 with sqlite3')
t.setTimeout(600_000)

const WRITER = String.raw`
import json, sqlite3, sys, time
path, who, count, kill = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
db = sqlite3.connect(path, timeout=120, isolation_level=None)
db.execute('PRAGMA journal_mode = DELETE')
db.execute('PRAGMA cache_size = 10')
committed = 0
while committed < count:
    try:
        db.execute('BEGIN IMMEDIATE')
        last = db.execute('SELECT value FROM total').fetchone()[0]
        db.execute('INSERT INTO rows (who, number, pad) VALUES (?, ?, ?)', (who, committed, 'x' * 3000))
        db.execute('UPDATE total SET value = ?', (last + 1,))
        db.execute('COMMIT')
        committed += 1
        print(committed, flush=True)
    except sqlite3.OperationalError as error:
        if 'locked' not in str(error): raise
        try: db.execute('ROLLBACK')
        except sqlite3.OperationalError: pass
        time.sleep(0.01)
`

const CHECK = String.raw`
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=60)
print(json.dumps({'integrity': db.execute('PRAGMA integrity_check').fetchall(), 'total': db.execute('SELECT value FROM total').fetchone()[0],
  'rows': db.execute('SELECT who, count(*) FROM rows GROUP BY who ORDER BY who').fetchall()}))
`

const MAKE = String.raw`
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.executescript('CREATE TABLE rows (who TEXT, number INTEGER, pad TEXT); CREATE TABLE total (value INTEGER); INSERT INTO total VALUES (0);')
`

interface Ended {
  readonly code: number | null
  readonly lines: readonly string[]
  readonly errors: string
}

/** `until`: lines after which it is killed. */
function python(t: Test, script: string, args: readonly string[], until = Infinity): Promise<Ended> {
  const child = spawn('python3', ['-c', script, ...args], { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' })
  t.teardown(() => child.kill('SIGKILL'))
  let [output, errors] = ['', '']
  child.stdout.on('data', (part: Buffer) => {
    output += part.toString()
    if (output.split('\n').length > until) child.kill('SIGKILL')
  })
  child.stderr.on('data', (part: Buffer) => (errors += part.toString()))
  return new Promise((resolve) => {
    child.on('close', (code) => resolve({ code, lines: output.trim().split('\n'), errors }))
  })
}

t.test('sqlite', { skip }, async (t) => {
  const gateway = await startGateway(t)
  const mounts = [await mountOf(t, gateway), await mountOf(t, gateway)]
  const [one = '', two = ''] = mounts.map(({ dir }) => path.join(dir, 'base.db'))
  t.match(await python(t, MAKE, [one]), { code: 0, errors: '' })
  const ended = await Promise.all([
    python(t, WRITER, [one, 'a', '25']),
    python(t, WRITER, [two, 'b', '25']),
    python(t, WRITER, [two, 'c', '10']),
  ])
  for (const { code, errors } of ended) t.match({ code, errors }, { code: 0, errors: '' })
  for (const file of [one, two]) {
    const { lines } = await python(t, CHECK, [file])
    t.same(JSON.parse(lines[0] ?? '{}'), {
      integrity: [['ok']],
      total: 60,
      rows: [
        ['a', 25],
        ['b', 25],
        ['c', 10],
      ],
    })
  }
  for (const mount of mounts) t.same(await mount.ask('log'), [])
})

t.test('sqlite-killed-writer', { skip }, async (t) => {
  const gateway = await startGateway(t)
  const mounts = [await mountOf(t, gateway, { ttl: 30 }), await mountOf(t, gateway, { ttl: 30 })]
  const [one = '', two = ''] = mounts.map(({ dir }) => path.join(dir, 'base.db'))
  t.match(await python(t, MAKE, [one]), { code: 0, errors: '' })
  let committed = 0
  for (const kill of [3, 1, 4]) {
    const [killed, other] = await Promise.all([
      python(t, WRITER, [one, 'a', '1000'], kill),
      python(t, WRITER, [two, 'b', '8']),
    ])
    committed += killed.lines.length + other.lines.length
    t.match({ code: other.code, errors: other.errors }, { code: 0, errors: '' })
  }
  const { lines } = await python(t, CHECK, [two])
  const { integrity, total, rows } = JSON.parse(lines[0] ?? '{}') as {
    integrity: unknown
    total: number
    rows: [string, number][]
  }
  t.same(integrity, [['ok']])
  t.equal(
    total,
    rows.reduce((sum, [, count]) => sum + count, 0),
    'both tables are of one transaction',
  )
  t.ok(total >= committed, `${committed} were acknowledged, ${total} are there`)
  t.ok(total <= committed + 3, 'at most those that were killed before they could say so')
})
