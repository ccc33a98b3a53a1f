/** A gateway that has one of its storages in a process of its own: through its door, with that process stopped, killed, and left behind. */
import { execFileSync } from 'node:child_process'
import { chownSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { nodeDocument, Quickstart, request, type Answer, type Asking } from './running.ts'
import { Serving } from './serving.ts'

interface Written {
  service: { url: string }
  backends: Record<string, unknown>
  namespace: { path: string; backend: string }[]
  allocations: string[]
}

// three starts of a gateway
t.setTimeout(180_000)

const VOS = 'vos://karst.local~karst'
const karst = new Quickstart(['--no-mount'])
const file = join(karst.state, 'config.json')
const { ca, users } = await karst.start()
await karst.stop()
const config = JSON.parse(readFileSync(file, 'utf8')) as Written
const root = join(karst.folder, 'far')
config.backends['far'] = { type: 'posix', root, ownProcess: true, unlabelledOwner: 'alice' }
config.namespace.push({ path: '/far', backend: 'far' })
config.allocations.push('/far')
mkdirSync(join(root, 'far/mine'), { recursive: true })
const { uid, gid } = statSync(join(karst.state, 'tree/home/alice'))
chownSync(join(root, 'far/mine'), uid, gid)
writeFileSync(file, JSON.stringify(config))
const serving = await Serving.start(file)
t.teardown(async () => {
  await serving.stop()
  await karst.dispose()
})
const { url } = (JSON.parse(readFileSync(file, 'utf8')) as Written).service

const ask = (path: string, asking: Asking = {}): Promise<Answer> =>
  request(url + path, ca, users['alice']?.proxy ?? '', asking)
const put = async (path: string, body: string | Buffer): Promise<number> =>
  (await ask(`/files${path}`, { method: 'PUT', body })).status
const make = (path: string): Promise<Answer> => {
  const body = nodeDocument(VOS + path, 'ContainerNode')
  return ask(`/nodes${path}`, { method: 'PUT', body, headers: { 'content-type': 'text/xml' } })
}

/** The process of the storage. */
function storage(): number {
  const children = readFileSync(`/proc/${serving.pid}/task/${serving.pid}/children`, 'latin1').trim().split(' ')
  const found = children.find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('backend-process'))
  if (found === undefined) throw new Error(`no storage among ${children.join()}`)
  return Number(found)
}

void t.test('what is kept there is written, read in part, listed, and deleted whole', async (t) => {
  const bytes = Buffer.alloc(9_000_000, 'karst')
  t.equal((await make('/far/mine/d')).status, 201)
  t.equal(await put('/far/mine/d/big', bytes), 201)
  t.equal(await put('/far/mine/d/small', 'small'), 201)
  t.ok(bytes.equals((await ask('/files/far/mine/d/big')).body))
  t.equal(
    (await ask('/files/far/mine/d/big', { headers: { range: 'bytes=5000000-5000004' } })).body.toString(),
    'karst',
  )
  t.match((await ask('/nodes/far/mine/d')).body.toString(), /mine\/d\/big".*mine\/d\/small"/s)
  t.equal((await ask('/files/far/mine/d/none')).status, 404)
  t.equal((await ask('/nodes/far/mine/d', { method: 'DELETE' })).status, 200)
  t.equal((await ask('/nodes/far/mine/d')).status, 404)
})

void t.test('while it hangs everything else goes on', async (t) => {
  t.equal(await put('/far/mine/f', 'waits'), 201)
  const pid = storage()
  process.kill(pid, 'SIGSTOP')
  let isAnswered = false
  const waiting = ask('/files/far/mine/f').finally(() => (isAnswered = true))
  t.equal(await put('/home/alice/f', 'goes on'), 201)
  t.equal((await ask('/files/home/alice/f')).body.toString(), 'goes on')
  t.notOk(isAnswered)
  process.kill(pid, 'SIGCONT')
  t.equal((await waiting).body.toString(), 'waits')
})

void t.test('killed, it is started again, and what was there is there', async (t) => {
  const pid = storage()
  process.kill(pid, 'SIGKILL')
  let answer = await ask('/files/far/mine/f')
  for (let tries = 200; tries > 0 && answer.status !== 200; tries--) {
    t.equal(answer.status, 503)
    await new Promise((done) => setTimeout(done, 100))
    answer = await ask('/files/far/mine/f')
  }
  t.equal(answer.body.toString(), 'waits')
  t.not(storage(), pid)
})

void t.test('it does not outlive a killed gateway', async (t) => {
  const pid = storage()
  await serving.stop('SIGKILL')
  for (let tries = 200; tries > 0 && existsSync(`/proc/${pid}`); tries--) execFileSync('sleep', ['0.05'])
  t.notOk(existsSync(`/proc/${pid}`))
})
