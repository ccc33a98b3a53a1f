/** kill -9 of a gateway at each step of bringing a node back from a snapshot: what is there is the node of before or the restored one, whole. */
import { existsSync, lstatSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { debris } from '../conformance/posix-tree.ts'
import { sh } from '../service/running.ts'
import { CephPlace } from './place.ts'
import { skip } from './tree.ts'

t.setTimeout(280_000)
const LOADED = new URL('./kill-at.ts', import.meta.url).href
const place = skip === false ? new CephPlace() : undefined
t.teardown(async () => {
  if (place === undefined) return
  // a directory that has one is not removed
  rmdirSync(join(place.root, 'project/open/.snap/one'))
  await place.dispose()
})

/** What a tree has: names, kinds and bytes. */
function contents(dir: string): string {
  const names = readdirSync(dir, { recursive: true, encoding: 'utf8' }).sort()
  return names.map((name) => `${name}=${lstatSync(join(dir, name)).isFile() ? readFileSync(join(dir, name), 'utf8') : ''}`).join(' ') // prettier-ignore
}

const OLD = 'e= e/f=new e/g= later=later'
const RESTORED = 'e= e/f=old gone=gone'
/** Names and bytes of both. */
const SIGHTS = ['e later', 'new', 'e gone', 'old']

class Restoring {
  readonly #place: CephPlace
  readonly #steps: string
  readonly open: string
  readonly node: string

  constructor(place: CephPlace) {
    this.#place = place
    this.#steps = join(place.karst.folder, 'steps')
    this.open = join(place.root, 'project/open')
    this.node = join(this.open, 'd')
  }

  /** A node as it was when the snapshot was made, and then as it is now. */
  async plant(): Promise<void> {
    await this.#grow('mkdir e && printf old >e/f && printf gone >gone')
    await sh(`mkdir '${this.open}/.snap/one'`)
    await this.replant()
  }

  /** As it is now, and nothing besides. */
  async replant(): Promise<void> {
    rmSync(join(this.open, '.karst/trash'), { recursive: true, force: true })
    await this.#grow('mkdir -p e/g && printf new >e/f && printf later >later')
  }

  async #grow(script: string): Promise<void> {
    rmSync(this.node, { recursive: true, force: true })
    await sh(`mkdir '${this.node}' && cd '${this.node}' && ${script} && chown -hR --reference='${this.open}' '${this.node}'`) // prettier-ignore
  }

  /** Serves with a kill at that step; none: only the steps are told. */
  async serve(at = '0'): Promise<() => Promise<void>> {
    rmSync(this.#steps, { force: true })
    const env = { NODE_OPTIONS: `--import=${LOADED}`, KARST_TEST_STEPS: this.#steps, KARST_TEST_AT: at }
    const serving = await this.#place.serve(env)
    return () => serving.over()
  }

  get steps(): string[] {
    return existsSync(this.#steps) ? readFileSync(this.#steps, 'utf8').trim().split('\n') : []
  }

  /** `to`: below the allocation; where it was, unless it is said. */
  async begin(to?: string): Promise<string> {
    const place = to === undefined ? {} : { to: `/project/open/${to}` }
    const body = JSON.stringify({ path: '/project/open/d', name: 'one', ...place })
    const headers = { 'content-type': 'application/json' }
    const { body: answer } = await this.#place.ask('/snapshots/restore', { method: 'POST', headers, body })
    return (JSON.parse(answer.toString()) as { job: string }).job
  }

  /** Its phase when it has ended; all that was seen of the node meanwhile, but for nothing where it had made way: when it was killed, or by then. */
  async ended(job: string, hadMadeWay = false): Promise<{ phase: string; seen: Set<string> }> {
    const seen = new Set<string>()
    for (let tries = 0; tries < 600; tries++) {
      for (const sight of [await this.listed(), await this.bytes()]) {
        const mayBeGone = hadMadeWay || this.steps.some((step) => step.startsWith('put '))
        if (sight !== 'nothing' || !mayBeGone) seen.add(sight)
      }
      const { body } = await this.#place.ask(`/snapshots/restore/${job}`)
      const { phase } = JSON.parse(body.toString()) as { phase: string }
      if (!['PENDING', 'QUEUED', 'EXECUTING'].includes(phase)) return { phase, seen }
    }
    throw new Error(`the job ${job} does not end`)
  }

  /** Over HTTP: the names below the node. */
  async listed(): Promise<string> {
    const { status, body } = await this.#place.ask('/nodes/project/open/d')
    const names = [...body.toString().matchAll(/open\/d\/(\w+)"/g)].map(([, name]) => name ?? '')
    return status === 404 ? 'nothing' : names.sort().join(' ')
  }

  /** Over HTTP: those of a node below. */
  async bytes(): Promise<string> {
    const { status, body } = await this.#place.ask('/files/project/open/d/e/f')
    return status === 404 ? 'nothing' : body.toString()
  }

  /** On disk. */
  get stands(): string {
    return existsSync(this.node) ? contents(this.node) : 'nothing'
  }

  /** What waits in the trash of the allocation, and what is left of a restore. */
  get trash(): string[] {
    const folder = join(this.open, '.karst/trash')
    return existsSync(folder) ? readdirSync(folder).map((id) => contents(join(folder, id, 'node'))) : []
  }

  get left(): string[] {
    const copies = readdirSync(this.open).filter((name) => name.startsWith('.karst-copy'))
    return [...copies, ...debris(this.#place.root, ['', 'project', 'project/open'])]
  }
}

/** Asks for one while it is killed at a step; answers what stood there then, and the job. */
async function killed(one: Restoring, at: string, to?: string): Promise<{ job: string; stood: string }> {
  const over = await one.serve(at)
  const job = await one.begin(to)
  await over()
  return { job, stood: one.stands }
}

/** Restores once; answers how many steps it took. */
async function counted(t: Test, one: Restoring): Promise<number> {
  await one.replant()
  await one.serve()
  await whole(t, one, { job: await one.begin(), at: 'not killed' })
  await place?.stop()
  return one.steps.length
}

interface Resumed {
  readonly job: string
  readonly at: string
  readonly hadMadeWay?: boolean
}

async function whole(t: Test, one: Restoring, { job, at, hadMadeWay = false }: Resumed): Promise<void> {
  const { phase, seen } = await one.ended(job, hadMadeWay)
  t.equal(phase, 'COMPLETED', at)
  for (const sight of seen) t.ok(SIGHTS.includes(sight), `${at}: seen ${sight}`)
  t.same([await one.listed(), await one.bytes()], ['e gone', 'old'], at)
  t.equal(one.stands, RESTORED, at)
  t.same(one.trash, [OLD], `${at}: what stood there waits in the trash, once`)
  t.same(one.left, [], at)
}

void t.test('a restore that is killed at any step is none, or whole', { skip }, async (t) => {
  if (place === undefined) return
  await place.configure()
  const one = new Restoring(place)
  await one.plant()
  await one.serve()
  await whole(t, one, { job: await one.begin(), at: 'not killed' })
  const { steps } = one
  await place.stop()
  t.ok(steps.length >= 6, steps.join('\n'))
  t.match(steps.slice(-2), [/^put .*open\/d$/, /^move .*karst-copy/], 'it makes way, and takes its place')
  const last = steps.length
  for (let nth = 1; nth <= last + 2; nth++) {
    // after the last two: what is done is not noted
    const at = nth <= last ? `${nth} before` : `${nth - 2} after`
    await one.replant()
    const { job, stood } = await killed(one, at)
    const hadMadeWay = at === `${last} before` || at === `${last - 1} after`
    t.equal(stood, hadMadeWay ? 'nothing' : at === `${last} after` ? RESTORED : OLD, `${at}: ${steps[nth - 1] ?? ''}`)
    if (hadMadeWay) t.same(one.trash, [OLD], 'what is not there waits')
    await one.serve()
    await whole(t, one, { job, at, hadMadeWay })
    if (hadMadeWay) t.ok(one.steps.length <= 1, `what is whole only takes its place: ${one.steps.join()}`)
    await place.stop()
  }
})

void t.test('what was half taken back is compared again when the job goes on', { skip }, async (t) => {
  if (place === undefined) return
  const one = new Restoring(place)
  const count = await counted(t, one)
  // the last step is refused, and of the copy that is removed then there is a part when it is killed
  await one.replant()
  const { job, stood } = await killed(one, `${count} refuse,${count + 1} after`)
  t.equal(stood, OLD, 'it was put back first')
  t.equal(one.left.length, 1)
  t.not(contents(join(one.open, one.left[0] ?? '')), RESTORED)
  await one.serve()
  await whole(t, one, { job, at: 'half taken back' })
  await place.stop()
})

void t.test('one that cannot go on after a kill puts back what made way', { skip }, async (t) => {
  if (place === undefined) return
  const one = new Restoring(place)
  const count = await counted(t, one)
  await one.replant()
  const { job, stood } = await killed(one, `${count} before`)
  t.equal(stood, 'nothing')
  rmdirSync(join(one.open, '.snap/one'))
  await one.serve()
  t.equal((await one.ended(job)).phase, 'ERROR')
  t.equal(one.stands, OLD)
  t.same([one.trash, one.left], [[], []])
  await place.stop()
  await one.plant()
})

void t.test('where a link on the way leads elsewhere after a kill, what made way at the first place comes back', { skip }, async (t) => {
  if (place === undefined) return
  const one = new Restoring(place)
  const count = await counted(t, one)
  await one.replant()
  const at = (name: string): string => contents(join(one.open, name))
  const own = `chown -hR --reference='${one.open}'`
  await sh(`cd '${one.open}' && mkdir -p first/d second/d && printf 1 >first/d/f && printf 2 >second/d/f && ln -s first way && ${own} first second way`) // prettier-ignore
  const { job } = await killed(one, `${count} before`, 'way/d')
  t.notOk(existsSync(join(one.open, 'first/d')), 'it has made way')
  await sh(`cd '${one.open}' && ln -sfn second way && ${own} way`)
  await one.serve()
  t.equal((await one.ended(job)).phase, 'COMPLETED')
  t.equal(at('first'), 'd= d/f=1', 'with no copy beside it')
  t.equal(at('second/d'), RESTORED)
  t.same([one.trash, one.left, one.stands], [['f=2'], [], OLD])
  await place.stop()
  await sh(`cd '${one.open}' && rm -r first second way`)
}) // prettier-ignore

void t.test('one that comes to nothing when it has made way leaves what was there', { skip }, async (t) => {
  if (place === undefined) return
  const one = new Restoring(place)
  const count = await counted(t, one)
  await one.replant()
  await one.serve(`${count} refuse`)
  t.equal((await one.ended(await one.begin())).phase, 'ERROR')
  t.equal(one.stands, OLD)
  t.same([one.trash, one.left], [[], []])
  await whole(t, one, { job: await one.begin(), at: 'asked again' })
})
