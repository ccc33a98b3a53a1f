/** kill -9, and a stop, in the midst of copies and moves: after a restart each job ends as if nothing had happened. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Quickstart, sh } from './running.ts'

t.setTimeout(240_000)
const VOS = 'vos://karst.local~karst'

const transfer = (from: string, to: string, keepBytes: boolean): string =>
  `<vos:transfer xmlns:vos="http://www.ivoa.net/xml/VOSpace/v2.0" version="2.1"><vos:target>${VOS}${from}</vos:target>
  <vos:direction>${VOS}${to}</vos:direction><vos:keepBytes>${keepBytes}</vos:keepBytes></vos:transfer>`

class Jobs {
  readonly #karst: Quickstart

  constructor(karst: Quickstart) {
    this.#karst = karst
  }

  /** Path of a job below the service; pending. */
  async create(body: string): Promise<string> {
    const { status, headers } = await this.#karst.ask('alice', '/transfers', { method: 'POST', body })
    if (status !== 303) throw new Error(`no job: ${status}`)
    return `/transfers/${(headers.get('location') ?? '').slice(-24)}`
  }

  async run(job: string): Promise<void> {
    await this.#karst.ask('alice', `${job}/phase`, { method: 'POST', body: 'PHASE=RUN' })
  }

  async show(job: string, query = ''): Promise<string> {
    return (await this.#karst.ask('alice', `${job}${query}`)).body.toString()
  }

  async phase(job: string): Promise<string> {
    return this.show(`${job}/phase`)
  }

  /** Its phase when it has ended. */
  async ended(job: string): Promise<string> {
    for (let rounds = 0; rounds < 20; rounds++) {
      const phase = await this.phase(job)
      if (!['PENDING', 'QUEUED', 'EXECUTING'].includes(phase)) return phase
      await this.show(job, `?WAIT=10&PHASE=${phase}`)
    }
    return this.phase(job)
  }

  /** Resolves when so many nodes are done. */
  async reaches(job: string, count: number): Promise<void> {
    for (;;) {
      const text = await this.show(job)
      if (Number(/<uws:phase>EXECUTING[^]*karst:progress [^>]*done="(\d+)"/.exec(text)?.[1] ?? 0) >= count) return
      if (!/<uws:phase>(QUEUED|EXECUTING)</.test(text)) throw new Error(`it has ended:\n${text}`)
    }
  }
}

/** A tree of `copies` times 20 files of different sizes below /home/alice/big. */
async function grow(karst: Quickstart, jobs: Jobs, copies: number): Promise<void> {
  const made = async (path: string): Promise<unknown> =>
    karst.ask('alice', `/nodes${path}`, {
      method: 'PUT',
      body: `<vos:node xmlns:vos="http://www.ivoa.net/xml/VOSpace/v2.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" uri="${VOS}${path}" xsi:type="vos:ContainerNode"/>`,
    })
  await made('/home/alice/big')
  await made('/home/alice/big/0')
  for (let n = 0; n < 20; n++) {
    const body = Buffer.alloc(n * 1000, `file ${n} `)
    await karst.ask('alice', `/files/home/alice/big/0/${n}`, { method: 'PUT', body })
  }
  for (let n = 1; n < copies; n++) {
    const job = await jobs.create(transfer('/home/alice/big/0', `/home/alice/big/${n}`, true))
    await jobs.run(job)
    if ((await jobs.ended(job)) !== 'COMPLETED') throw new Error(await jobs.show(job))
  }
}

const staged = (tree: string): string[] =>
  readdirSync(tree, { recursive: true, encoding: 'utf8' }).filter((path) => path.includes('.karst-copy-'))

t.test('a copy of a tree goes on after a kill, and after a stop', async (t) => {
  const karst = new Quickstart(['--no-mount'])
  t.teardown(() => karst.dispose())
  const first = await karst.start()
  const port = new URL(first.url).port
  const jobs = new Jobs(karst)
  const home = join(karst.state, 'tree/home/alice')
  const copies = 100
  const nodes = 1 + copies * 21
  await grow(karst, jobs, copies)
  const job = await jobs.create(transfer('/home/alice/big', '/home/alice/copy', true))
  const aborted = await jobs.create(transfer('/home/alice/big', '/home/alice/aborted', true))
  const waiting = await jobs.create(transfer('/home/alice/big/0', '/home/alice/waiting', true))
  // the reply waits a while for the end of the job: nobody waits for the reply here
  const running = [job, aborted, waiting].map(async (one) => jobs.run(one).catch(() => undefined))
  await jobs.reaches(job, 100)
  await jobs.reaches(aborted, 50)
  process.kill(karst.report.pid, 'SIGKILL')
  await Promise.all(running)
  await karst.stop()
  t.equal(staged(home).length > 2, true, 'killed in the midst')
  t.notOk(readdirSync(home).includes('copy'), 'and nothing is seen of it')

  await karst.start(['--no-mount'], port)
  await karst.ask('alice', `${aborted}/phase`, { method: 'POST', body: 'PHASE=ABORT' })
  t.equal(await jobs.phase(aborted), 'ABORTED')
  await jobs.reaches(job, 400)
  t.equal(await karst.stop(), 0, 'stopped in the midst')
  t.notOk(readdirSync(home).includes('copy'))

  await karst.start(['--no-mount'], port)
  t.equal(await jobs.ended(job), 'COMPLETED')
  t.equal(await jobs.ended(waiting), 'COMPLETED')
  t.match(await jobs.show(job), `done="${nodes}" total="${nodes}"`)
  t.match(await jobs.show(job), `<uws:result id="destination" xlink:href="${VOS}/home/alice/copy"/>`)
  await sh(`diff -r '${home}/big' '${home}/copy' && diff -r '${home}/big/0' '${home}/waiting'`)
  t.equal((await sh(`find '${home}/copy' | wc -l`)).trim(), String(nodes))
  t.equal(await jobs.phase(aborted), 'ABORTED')
  for (let pause = 0; staged(home).length > 0 && pause < 50; pause++) await new Promise((done) => setTimeout(done, 100))
  t.same(staged(home), [], 'nothing is left of the aborted one')
})

t.test('moves that were told to run happen once, however often the gateway is killed', async (t) => {
  const karst = new Quickstart(['--no-mount'])
  t.teardown(() => karst.dispose())
  const first = await karst.start()
  const port = new URL(first.url).port
  const jobs = new Jobs(karst)
  await grow(karst, jobs, 8)
  const home = join(karst.state, 'tree/home/alice')
  for (let round = 0; round < 3; round++) {
    const created: { name: string; job: string }[] = []
    for (let n = 0; n < 8; n++) {
      const name = round % 2 === 0 ? `/home/alice/big/${n}` : `/home/alice/moved-${n}`
      const to = round % 2 === 0 ? `/home/alice/moved-${n}` : `/home/alice/big/${n}`
      created.push({ name: to, job: await jobs.create(transfer(name, to, false)) })
    }
    const running = Promise.allSettled(created.map(async ({ job }) => jobs.run(job)))
    await new Promise((done) => setTimeout(done, 15 * (round + 1)))
    process.kill(karst.report.pid, 'SIGKILL')
    await running
    await karst.stop()
    await karst.start(['--no-mount'], port)
    for (const { name, job } of created) {
      // the kill may have come before it was told to run
      if ((await jobs.phase(job)) === 'PENDING') await jobs.run(job)
      t.equal(await jobs.ended(job), 'COMPLETED')
      t.match(await jobs.show(job), `xlink:href="${VOS}${name}"`)
    }
    const names = readdirSync(round % 2 === 0 ? home : join(home, 'big'))
    t.equal(names.filter((name) => /^(moved-)?\d$/.test(name)).length, 8)
    t.equal((await sh(`find '${home}' -type f -path '*[0-9]/*' -size +0 | wc -l`)).trim(), String(8 * 19))
  }
})
