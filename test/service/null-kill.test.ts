/** kill -9 of the gateway in the midst of a move to the bit bucket: it is finished after the restart, and takes nothing else. */
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Quickstart, run } from './running.ts'

t.setTimeout(300_000)

const VOS = 'vos://karst.local~karst'
const CONTAINERS = 60
const EACH = 99
const ALL = 1 + CONTAINERS * (1 + EACH)

const toNull = (from: string, bucket: string): string =>
  `<vos:transfer xmlns:vos="http://www.ivoa.net/xml/VOSpace/v2.0" version="2.1"><vos:target>${VOS}${from}</vos:target>
  <vos:direction>${VOS}${bucket}</vos:direction><vos:keepBytes>false</vos:keepBytes></vos:transfer>`

function plant(top: string): void {
  for (let c = 0; c < CONTAINERS; c++) {
    mkdirSync(join(top, `c${c}`), { recursive: true })
    for (let i = 0; i < EACH; i++) closeSync(openSync(join(top, `c${c}`, `f${i}`), 'w'))
  }
}

/** Looked at every two milliseconds, beside the gateway at work. */
const containersLeft = (top: string): number => readdirSync(top).length

const left = (top: string): number => {
  try {
    return 1 + readdirSync(top, { recursive: true }).length
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0
    throw error
  }
}

/** A job that was told to run; nobody waits for the reply. */
async function begun(karst: Quickstart, body: string): Promise<string> {
  const { headers } = await karst.ask('alice', '/transfers', { method: 'POST', body })
  const job = `/transfers/${(headers.get('location') ?? '').slice(-24)}`
  void karst.ask('alice', `${job}/phase`, { method: 'POST', body: 'PHASE=RUN' }).catch(() => undefined)
  return job
}

/** The document of the job when it has ended. */
async function ended(karst: Quickstart, job: string): Promise<string> {
  for (let round = 0; round < 30; round++) {
    const text = (await karst.ask('alice', `${job}?WAIT=10`)).body.toString()
    if (!/<uws:phase>(QUEUED|EXECUTING)</.test(text)) return text
  }
  throw new Error(`${job} does not end`)
}

async function killWhen(karst: Quickstart, isTime: () => boolean): Promise<void> {
  for (let waited = 0; !isTime(); waited += 2) {
    if (waited > 20_000) throw new Error('it was never time to kill')
    await new Promise((done) => setTimeout(done, 2))
  }
  await karst.stop('SIGKILL')
}

t.test('a move to .null killed twice, node by node, is finished', async (t) => {
  const karst = new Quickstart(['--no-mount'])
  t.teardown(() => karst.dispose())
  const tree = join(karst.folder, 'tree')
  const top = join(tree, 'big')
  plant(top)
  writeFileSync(join(tree, 'beside'), 'stays')
  const args = ['--no-mount', '--tree', tree]
  await karst.start(args)
  const job = await begun(karst, toNull('/big', '/.null'))
  // the job goes on while the gateway starts: the second kill may come before that is ready
  let starting: Promise<unknown> = Promise.resolve()
  for (const limit of [0.9, 0.6]) {
    await killWhen(karst, () => containersLeft(top) < CONTAINERS * limit)
    await starting.catch(() => undefined)
    t.ok(left(top) > 0, `killed with ${left(top)} of ${ALL} left`)
    starting = karst.start(args)
    // one that is killed is looked at above
    starting.catch(() => undefined)
  }
  await starting
  const text = await ended(karst, job)
  t.match(text, '<uws:phase>COMPLETED<')
  t.match(text, `<uws:result id="destination" xlink:href="${VOS}/.null"/>`)
  t.equal(text.split('<uws:result ').length, 2, 'one result')
  t.equal(left(top), 0)
  t.ok(existsSync(join(tree, 'beside')))
})

t.test('a node that comes to the place of the one that went is left alone', async (t) => {
  const karst = new Quickstart(['--no-mount'])
  t.teardown(() => karst.dispose())
  const tree = join(karst.folder, 'tree')
  const top = join(tree, 'big')
  plant(top)
  const args = ['--no-mount', '--tree', tree]
  await karst.start(args)
  const job = await begun(karst, toNull('/big', '/.null'))
  await killWhen(karst, () => containersLeft(top) < CONTAINERS * 0.9)
  t.ok(left(top) > 0)
  // somebody finishes it by hand while the gateway is down, and puts something new there
  await run('rm', ['-r', top])
  mkdirSync(top)
  writeFileSync(join(top, 'new'), 'stays')
  await karst.start(args)
  t.match(await ended(karst, job), '<uws:phase>COMPLETED<')
  t.ok(existsSync(join(top, 'new')))
})

t.test('a move to .null killed at any moment waits in the trash once, whole', async (t) => {
  const karst = new Quickstart(['--no-mount'])
  t.teardown(() => karst.dispose())
  const { url } = await karst.start()
  const port = new URL(url).port
  const home = join(karst.state, 'tree/home/alice')
  for (const [round, pause] of [10, 40, 80].entries()) {
    const name = `big${round}`
    // planted elsewhere and copied by the gateway: a tree of alice's own
    const planted = await planting(karst, name)
    const job = await begun(karst, toNull(`/home/alice/${name}`, '/home/alice/.null'))
    await new Promise((done) => setTimeout(done, pause))
    process.kill(karst.report.pid, 'SIGKILL')
    await karst.stop()
    await karst.start(['--no-mount'], port)
    const phase = (await karst.ask('alice', `${job}/phase`)).body.toString()
    // the kill may have come before it was told to run
    if (phase === 'PENDING') await karst.ask('alice', `${job}/phase`, { method: 'POST', body: 'PHASE=RUN' })
    t.match(await ended(karst, job), '<uws:phase>COMPLETED<')
    t.equal(left(join(home, name)), 0)
    const { body } = await karst.ask('alice', '/trash?path=/home/alice')
    const notes = body.toString().split(`"/home/alice/${name}"`).length - 1
    t.equal(notes, 1, 'one note of it')
    t.match(body.toString(), `"nodes":${planted}`)
  }
})

/** So many nodes of alice's below /home/alice/{name}. */
async function planting(karst: Quickstart, name: string): Promise<number> {
  const node = (path: string): string =>
    `<vos:node xmlns:vos="http://www.ivoa.net/xml/VOSpace/v2.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" uri="${VOS}${path}" xsi:type="vos:ContainerNode"/>`
  const path = `/home/alice/${name}`
  const made = [path, ...Array.from({ length: 40 }, (_, n) => `${path}/${n}`)]
  for (const one of made) await karst.ask('alice', `/nodes${one}`, { method: 'PUT', body: node(one) })
  return made.length
}
