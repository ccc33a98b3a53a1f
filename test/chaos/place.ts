/** What the chaos test runs on, and how each part of it is killed: a gateway, two drivers with a mount each, a proxy before each as its network. */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { StallingProxy } from '../mount/stalling-proxy.ts'
import { another, kill, ownerOf, supervisorOf } from '../mount/killing.ts'
import { Quickstart, run, type Ended } from '../service/running.ts'

export const VICTIMS = ['driver', 'supervisor', 'gateway', 'network'] as const
export type Victim = (typeof VICTIMS)[number]

/** Numbers below the argument, at random: the same for the same seed. */
export type Pick = (below: number) => number

/** What drivers say when things around them are killed. */
const EXPECTED = /: (vos:\S+ )?((un)?mounted|taken over)$|no answer, again|no news of changes|starting another$/

const pause = (milliseconds: number): Promise<void> => new Promise((done) => setTimeout(done, milliseconds))

export class Place {
  readonly #karst = new Quickstart(['--no-mount'])
  readonly #proxies: StallingProxy[] = []
  readonly #cleanUps: (() => void)[] = []
  #port = '0'

  get folder(): string {
    return this.#karst.folder
  }

  /** Alice's home on the gateway's disk. */
  get tree(): string {
    return join(this.#karst.state, 'tree/home/alice')
  }

  /** Where her home is mounted. */
  readonly homes: string[] = []

  #state(index: number): string {
    return join(this.folder, `driver-${index}`)
  }

  async start(): Promise<void> {
    const { ca, url, users } = await this.#karst.start()
    this.#port = new URL(url).port
    for (const index of [0, 1]) {
      const dir = join(this.folder, `home-${index}`)
      mkdirSync(dir)
      const proxy = new StallingProxy(() => Number(this.#port))
      await proxy.start({ teardown: (cleanUp) => this.#cleanUps.push(cleanUp) })
      this.#proxies.push(proxy)
      const words = ['mount', 'vos://karst.local~karst/home/alice', dir, '--url', proxy.url, '--ca', ca]
      const { code, stderr } = await this.#ask(index, [...words, '--certificate', users['alice']?.proxy ?? ''])
      if (code !== 0) throw new Error(stderr)
      this.homes.push(dir)
    }
  }

  #ask(index: number, words: readonly string[]): Promise<Ended> {
    return run('bin/karst', words, { env: { KARST_MOUNT_STATE: this.#state(index) } })
  }

  /** Kills it, and resolves when it is there again; answers what was done. */
  async strike(victim: Victim, pick: Pick): Promise<string> {
    if (victim === 'gateway') return this.#killGateway(pick)
    const index = pick(2)
    const on = `of mount ${index + 1}`
    if (victim === 'network') return `${await this.#cut(index, pick)} ${on}`
    const state = this.#state(index)
    const driver = ownerOf(state)
    const pid = victim === 'driver' ? driver : supervisorOf(state)
    if (pid === undefined || !kill(pid)) throw new Error(`there is no ${victim} ${on}`)
    await another(state, driver)
    // who was killed may be killed again at any moment, but a supervisor and its driver not at the same one: they stand for each other
    if (victim === 'supervisor') await this.#supervised(index, pid)
    return `${victim} ${on} killed`
  }

  async #supervised(index: number, before: number): Promise<void> {
    for (let left = 600; left > 0; left--) {
      const pid = supervisorOf(this.#state(index))
      if (pid !== undefined && pid !== before) return
      await pause(50)
    }
    throw new Error('no other supervisor came')
  }

  async #killGateway(pick: Pick): Promise<string> {
    process.kill(this.#karst.report.pid, 'SIGKILL')
    await this.#karst.stop()
    const away = pick(1500)
    await pause(away)
    await this.#karst.start(undefined, this.#port)
    return `gateway killed, and started ${away} ms later`
  }

  async #cut(index: number, pick: Pick): Promise<string> {
    const proxy = this.#proxies[index]
    if (proxy === undefined) throw new Error('no such network')
    const [how, time] = [pick(3), 200 + pick(2500)]
    if (how === 0) proxy.cut()
    else {
      if (how === 1) proxy.down()
      else proxy.stall()
      await pause(time)
      // what was stalled goes on, or its connection is lost after all
      if (how === 2 && pick(2) === 0) proxy.cut()
      proxy.heal()
    }
    return `network ${['cut', `down for ${time} ms`, `silent for ${time} ms`][how] ?? ''},`
  }

  /** Unmounts both and stops the gateway; answers what should not have been said. */
  async stop(): Promise<string[]> {
    const said: string[] = []
    for (const [index, dir] of this.homes.entries()) {
      const { code, stdout, stderr } = await this.#ask(index, ['umount', dir])
      if (code !== 0 || stdout + stderr !== '') said.push(`umount ended with ${String(code)}: ${stdout}${stderr}`)
      const log = readFileSync(join(this.#state(index), 'driver.log'), 'utf8').split('\n')
      said.push(...log.filter((line) => line !== '' && !EXPECTED.test(line)))
    }
    const code = await this.#karst.stop()
    if (code !== 0) said.push(`the gateway ended with ${String(code)}: ${this.#karst.output}`)
    return said
  }

  /** What kills have left in the tree: staged files, journals, hidden names. */
  debris(): string[] {
    const files = readdirSync(join(this.#karst.state, 'tree'), { recursive: true, encoding: 'utf8' })
    return files.filter((file) => /(^|\/)\.karst\/[^/]+\/./.test(file) || file.includes('.karst-unlinked'))
  }

  /** Takes everything away, whatever became of it. */
  async dispose(): Promise<void> {
    for (const cleanUp of this.#cleanUps) cleanUp()
    for (const dir of this.homes) await run('umount', ['-l', dir])
    for (const index of this.homes.keys()) {
      for (const pid of [supervisorOf(this.#state(index)), ownerOf(this.#state(index))]) {
        if (pid !== undefined) kill(pid)
      }
    }
    await this.#karst.dispose()
  }
}
