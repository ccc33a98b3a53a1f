/** kill -9 of the gateway in the midst of a recursive job: it goes on after the restart, and its counts are right. */
import { closeSync, mkdirSync, openSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { listXattrAt } from '../../src/libc/directory.ts'
import { AT_FDCWD } from '../../src/libc/statx.ts'
import { nodeDocument, Quickstart } from './running.ts'

t.setTimeout(300_000)

const CONTAINERS = 60
const EACH = 199
const ALL = 1 + CONTAINERS * (1 + EACH)

function plant(tree: string): string {
  const top = join(tree, 'big')
  for (let c = 0; c < CONTAINERS; c++) {
    mkdirSync(join(top, `c${c}`), { recursive: true })
    for (let i = 0; i < EACH; i++) closeSync(openSync(join(top, `c${c}`, `f${i}`), 'w'))
  }
  return top
}

const left = (top: string): number => {
  try {
    return 1 + readdirSync(top, { recursive: true }).length
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0
    throw error
  }
}

const form = (body: string) => ({
  method: 'POST',
  body,
  headers: { 'content-type': 'application/x-www-form-urlencoded' },
})

async function started(karst: Quickstart, list: string, body: string): Promise<string> {
  const made = await karst.ask('alice', `/${list}`, list === 'async-delete' ? form(body) : { method: 'POST', body })
  return new URL(made.headers.get('location') ?? '').pathname.replace('/karst', '')
}

/** The document of the job when it has ended. */
async function ended(karst: Quickstart, job: string): Promise<string> {
  for (let round = 0; round < 30; round++) {
    const text = (await karst.ask('alice', `${job}?WAIT=10`)).body.toString()
    if (!/<uws:phase>(QUEUED|EXECUTING)</.test(text)) return text
  }
  throw new Error(`${job} does not end`)
}

/** Kills the gateway as soon as `isTime`; false: it never was. */
async function killWhen(karst: Quickstart, isTime: () => boolean): Promise<boolean> {
  const { pid } = karst.report
  for (let waited = 0; waited < 20_000; waited += 2) {
    if (isTime()) {
      process.kill(pid, 'SIGKILL')
      await karst.stop()
      return true
    }
    await new Promise((done) => setTimeout(done, 2))
  }
  return false
}

/** Containers that have the property by now. */
function done(top: string): number {
  return readdirSync(top).filter((name) => listXattrAt(AT_FDCWD, join(top, name))?.includes('user.urn:x:y')).length
}

const phaseOf = async (karst: Quickstart, job: string): Promise<string> =>
  (await karst.ask('alice', `${job}/phase`)).body.toString()

t.test('a recursive delete killed twice ends with the right count', async (t) => {
  const karst = new Quickstart(['--no-mount'])
  t.teardown(() => karst.dispose())
  const tree = join(karst.folder, 'tree')
  const top = plant(tree)
  t.equal(left(top), ALL)
  const args = ['--no-mount', '--tree', tree]
  await karst.start(args)
  const job = await started(karst, 'async-delete', `target=${encodeURIComponent('vos://karst.local~karst/big')}`)
  const run = karst.ask('alice', `${job}/phase`, form('phase=RUN')).catch(() => undefined)
  for (const limit of [11_000, 6000]) {
    t.ok(await killWhen(karst, () => left(top) < limit), `killed when fewer than ${limit} nodes were left`)
    t.ok(left(top) > 0, `with ${left(top)} left`)
    await run
    await karst.start(args)
    t.match(await phaseOf(karst, job), /QUEUED|EXECUTING|COMPLETED/, 'the job is found')
  }
  const text = await ended(karst, job)
  t.match(text, '<uws:phase>COMPLETED<')
  t.match(text, `<uws:result id="successcount" xlink:href="final:${ALL}"/>`)
  t.equal(left(top), 0)
})

t.test('recursive properties killed in the midst end with the right count', async (t) => {
  const karst = new Quickstart(['--no-mount'])
  t.teardown(() => karst.dispose())
  const tree = join(karst.folder, 'tree')
  const top = plant(tree)
  const args = ['--no-mount', '--tree', tree]
  await karst.start(args)
  const wish = nodeDocument('vos://karst.local~karst/big', 'ContainerNode', { 'urn:x:y': 'z' })
  const job = await started(karst, 'async-setprops', wish)
  const run = karst.ask('alice', `${job}/phase`, form('phase=RUN')).catch(() => undefined)
  for (const share of [0.1, 0.3]) {
    t.ok(await killWhen(karst, () => done(top) > share * CONTAINERS), `killed when more than ${share} had it`)
    await run
    t.ok(done(top) < CONTAINERS, `in the midst: ${done(top)} of ${CONTAINERS}`)
    await karst.start(args)
    t.match(await phaseOf(karst, job), /QUEUED|EXECUTING/, 'an unfinished job is found')
  }
  const text = await ended(karst, job)
  t.match(text, '<uws:phase>COMPLETED<')
  t.match(text, `<uws:result id="successcount" xlink:href="final:${ALL}"/>`)
  const listing = (await karst.ask('alice', '/nodes/big/c59')).body.toString()
  t.equal(listing.split('uri="urn:x:y"').length, 1 + EACH + 1)
})
