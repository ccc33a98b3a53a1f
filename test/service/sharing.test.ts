/** Sharing as two people do it from the command line, and the end of it: programs that have files open find out too. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { mkdirSync, readdirSync, readFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startGateway } from '../../src/app.ts'
import { loadConfig } from '../../src/config.ts'
import { fuseSkip } from '../parts.ts'
import { nodeDocument, Quickstart, run, sh, type Ended } from './running.ts'

const skip = await fuseSkip()
const karst = new Quickstart(['--no-mount'])
const VOS = 'vos://karst.local~karst'
const PLACE = '/home/alice/survey'
const SURVEY = 'ivo://karst.local/gms?survey'
t.setTimeout(400_000)

async function command(user: string, ...words: string[]): Promise<Ended> {
  const { url, ca, users } = karst.report
  return run('bin/karst', [...words, '--url', url, '--ca', ca, '--certificate', users[user]?.proxy ?? ''], {
    env: { KARST_MOUNT_STATE: join(karst.folder, 'driver') },
  })
}

const share = (...words: string[]): Promise<Ended> => command('alice', 'share', VOS + PLACE, ...words)
const status = async (user: string, path: string): Promise<number> => (await karst.ask(user, `/files${path}`)).status

interface Audited {
  readonly act: string
  readonly by: string | null
  readonly on: string
  readonly result: string
  readonly request?: string
  readonly address?: string
  readonly method?: string
  readonly dn?: string
  readonly detail?: Readonly<Record<string, unknown>>
}

const auditFile = (): string => join(karst.state, 'store', 'audit.jsonl')
const audited = (file = auditFile()): Audited[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Audited)

t.before(async () => {
  await karst.start()
  for (const path of ['', '/raw']) {
    const body = nodeDocument(`${VOS}${PLACE}${path}`, 'ContainerNode')
    const made = await karst.ask('alice', `/nodes${PLACE}${path}`, { method: 'PUT', body })
    if (made.status !== 201) throw new Error(made.body.toString())
  }
  for (const name of ['notes', 'raw/one'])
    await karst.ask('alice', `/files${PLACE}/${name}`, { method: 'PUT', body: `${name} `.repeat(4096) })
})
t.teardown(() => karst.dispose())

/** A program with two files open, which tries each again and again and says when the answer is another. */
const PROGRAM = `
const fs = require('node:fs')
const [dir] = process.argv.slice(1)
const read = fs.openSync(dir + '/notes', 'r')
const write = fs.openSync(dir + '/draft', 'w')
const bytes = Buffer.alloc(4096)
const told = {}
const attempt = (name, work) => {
  let now = 'ok'
  try { work() } catch (error) { now = error.code }
  if (told[name] !== now) console.log(name + ' ' + (told[name] = now))
}
fs.readSync(read, bytes, 0, 4096, 0)
fs.writeSync(write, 'what bob wrote before')
const timer = setInterval(() => {
  attempt('read', () => fs.readSync(read, bytes, 0, 4096, 0))
  attempt('write', () => fs.writeSync(write, '.'))
  if (told.read === 'ok' || told.write === 'ok') return
  clearInterval(timer)
  attempt('close', () => fs.closeSync(write))
}, 100)`

t.test('alice shares a tree, bob works in it, and alice ends it', { skip }, async (t) => {
  const dir = join(karst.folder, 'bob')
  mkdirSync(dir)
  t.match(await command('alice', 'groups', 'create', 'survey'), { code: 0 })
  t.match(await command('alice', 'groups', 'add', 'survey', 'bob'), { code: 0 })

  await t.test('she is told what is missing, and says it', async (t) => {
    await karst.ask('alice', '/nodes/home/alice', {
      method: 'POST',
      body: nodeDocument(`${VOS}/home/alice`, 'ContainerNode', {
        'ivo://ivoa.net/vospace/core#ispublic': 'false',
        'ivo://ivoa.net/vospace/core#groupread': null,
        'ivo://ivoa.net/vospace/core#groupwrite': null,
      }),
    })
    const shared = await share('--write', 'survey', '--recursive')
    t.equal(shared.code, 0, shared.stderr)
    t.match(shared.stdout, /4 nodes set, 0 refused\n.*made there from now on is shared/)
    t.match(
      shared.stderr,
      /gms\?survey cannot get to \/home\/alice\/survey: not readable to them on the way: \/home\/alice\n/,
    )
    t.equal(await status('bob', `${PLACE}/notes`), 403)
    const why = await command('alice', 'access', `${VOS}${PLACE}/notes`, '--as', 'bob')
    t.match(why.stdout, /gms\?survey \(groupWrite\): nothing; closed to them: \/home\/alice\n/)
    t.match(why.stdout, /bob:\n {2}read {5}no: \/home\/alice is not readable to them\n/)
    const reached = await share('--write', 'survey', '--reach')
    t.match(reached, { code: 0, stdout: /\/home\/alice can now be passed and listed by .*survey/, stderr: '' })
    t.equal(await status('bob', `${PLACE}/notes`), 200)
    const now = await command('bob', 'access', `${VOS}${PLACE}/notes`)
    t.match(now.stdout, /bob:\n {2}read {5}yes: groupWrite ivo:\/\/karst\.local\/gms\?survey\n/)
    t.match(await command('bob', 'access', `${VOS}${PLACE}/notes`, '--as', 'carol'), {
      code: 1,
      stderr: /PermissionDenied/,
    })
  })

  t.match(await command('bob', 'mount', VOS + PLACE, dir), { code: 0 })
  t.teardown(() => command('bob', 'umount', dir).then(() => sh(`umount -l '${dir}' 2>/dev/null; true`)))
  await sh(`echo 'from bob' > '${dir}/raw/two'`)
  t.equal(await status('alice', `${PLACE}/raw/two`), 200)
  t.equal((await karst.ask('alice', `/files${PLACE}/raw/two`)).body.toString(), 'from bob\n')

  await t.test('his open files are refused, and nothing that he wrote is lost', async (t) => {
    const program = spawn(process.execPath, ['-e', PROGRAM, dir], { stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => program.kill())
    const said: string[] = []
    createInterface({ input: program.stdout }).on('line', (line) => void said.push(line))
    const until = async (line: string): Promise<void> => {
      for (let waited = 0; waited < 120_000 && !said.includes(line); waited += 50)
        await new Promise((done) => setTimeout(done, 50))
    }
    await until('write ok')
    t.same(said, ['read ok', 'write ok'])
    const begun = Date.now()
    const ended = await share('--remove', 'survey', '--recursive')
    t.match(ended, { code: 0, stdout: /nodes set, 0 refused/ })
    t.equal(await status('bob', `${PLACE}/notes`), 403, 'at his next request')
    await until('close EACCES')
    t.comment(`${Date.now() - begun} ms`)
    t.same([...said].sort(), ['close EACCES', 'read EACCES', 'read ok', 'write EACCES', 'write ok'])
    const states = join(karst.folder, 'driver')
    const kept = (): string[] =>
      readdirSync(states, { recursive: true, encoding: 'utf8' }).filter((name) => /recovered\/.*draft$/.test(name))
    for (let waited = 0; waited < 60_000 && kept().length === 0; waited += 50)
      await new Promise((done) => setTimeout(done, 50))
    t.match(readFileSync(join(states, kept()[0] ?? ''), 'utf8'), /^what bob wrote before\.+$/)
  })

  await t.test('the audit has the grant, its end and the refusals, and no secrets', async (t) => {
    const events = audited()
    const of = (act: string): Audited[] => events.filter((event) => event.act === act)
    t.match(of('group.add'), [
      { by: 'alice', on: SURVEY, result: 'allowed', method: 'certificate', detail: { user: 'bob' } },
    ])
    t.match(of('tree.share'), [
      {
        by: 'alice',
        on: VOS + PLACE,
        detail: { asked: /"write":\["ivo:\/\/karst.local\/gms\?survey"\]/, nodes: 4, refused: 0 },
      },
      {
        by: 'alice',
        on: VOS + PLACE,
        detail: { asked: /"remove":\["ivo:\/\/karst.local\/gms\?survey"\]/, refused: 0 },
      },
    ])
    t.match(
      of('node.share').filter(({ detail }) => detail?.['granted'] === `read=${SURVEY}`),
      [{ by: 'alice', on: '/home/alice', request: /^[0-9a-f]{12}$/, address: /127\.0\.0\.1|::1/, dn: /alice/ }],
    )
    t.match(of('request').filter(({ by, on }) => by === 'bob' && on.endsWith(`/files${PLACE}/notes`))[0], {
      result: 'refused',
      detail: { status: 403, fault: 'PermissionDenied', http: 'GET' },
    })
    t.notMatch(readFileSync(auditFile(), 'utf8'), /PRIVATE KEY|preauth:|Bearer/)
    t.equal(statSync(auditFile()).mode & 0o777, 0o600)
  })
})

t.test('groups that are not there, and words that make no sense, are refused', async (t) => {
  t.match(await share('--read', 'nobody-has-this'), { code: 1, stderr: /there is no group .*nobody-has-this/ })
  t.match(await share('--read', 'collaborators', '--remove', 'collaborators'), { code: 1, stderr: /at once/ })
  t.match(await share(), { code: 2, stderr: /say --read GROUP/ })
  t.match(await share('--public', '--private'), { code: 2 })
  t.match(await command('bob', 'share', `${VOS}/home/alice`, '--public', '--recursive'), {
    code: 1,
    stderr: /PermissionDenied/,
  })
  t.match(await command('alice', 'access', `${VOS}/home/alice/none`), { code: 1, stderr: /NodeNotFound/ })
})

t.test('others stay when one is added or taken out', async (t) => {
  t.match(await command('alice', 'groups', 'create', 'other'), { code: 0 })
  t.match(await share('--read', 'other', '--write', 'collaborators'), { code: 0, stdout: /written by .*collaborators/ })
  const now = await share('--remove', 'collaborators', '--read', 'ivo://karst.local/gms?other')
  t.match(now.stdout, /read by {5}its owner, ivo:\/\/karst.local\/gms\?other\n {2}written by {2}its owner only\n/)
  t.match((await share('--read', 'other')).stdout, /as it was/)
})

t.test('an audit that was renamed is begun anew when the gateway reads its files again', async (t) => {
  t.equal(await karst.stop(), 0)
  const gateway = await startGateway(loadConfig(join(karst.state, 'config.json')), {
    logFile: join(karst.folder, 'log'),
  })
  t.teardown(() => gateway.close())
  const old = `${auditFile()}.old`
  const before = audited().length
  renameSync(auditFile(), old)
  await gateway.reload()
  t.equal(audited(old).length, before)
  t.match(audited(), [{ act: 'gateway.reload', by: null, result: 'allowed' }])
  t.equal(statSync(auditFile()).mode & 0o777, 0o600)
})
