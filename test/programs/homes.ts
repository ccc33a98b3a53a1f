/** Alice's home at a gateway of its own, mounted twice by two drivers, as on two machines: what programs are run on. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Test } from 'tap'
import { type QuickstartReport } from '../../src/cli/quickstart.ts'
import { Quickstart, run, type Ended } from '../service/running.ts'
import { Serving } from '../service/serving.ts'

/** A program that hangs is killed after so many milliseconds. */
const LIMIT = 240_000

const HOME = 'vos://karst.local~karst/home/alice'

/** What the home is migrated to before anything is run on it: a backend of the configuration, and files beside that. */
export interface Storage {
  readonly name: string
  readonly backend: Readonly<Record<string, unknown>>
  readonly files?: Readonly<Record<string, string>>
}

interface Written {
  service: { url: string }
  backends: Record<string, unknown>
  namespace: { path: string; backend: string }[]
  administrators?: string[]
}

export class Homes {
  readonly #karst = new Quickstart(['--no-mount'])
  readonly #storage: Storage | undefined
  #report: QuickstartReport | undefined
  #serving: Serving | undefined

  /** Without a storage: the tree of a quickstart. */
  constructor(storage?: Storage) {
    this.#storage = storage
  }

  /** Beyond a network, or what stands for one: the same work takes many times as long. */
  get isFar(): boolean {
    return this.#storage !== undefined
  }

  get one(): string {
    return join(this.#karst.folder, 'one')
  }

  get two(): string {
    return join(this.#karst.folder, 'two')
  }

  async start(): Promise<void> {
    this.#report = await this.#karst.start()
    const served = this.#storage === undefined ? this.#report.url : await this.#moved(this.#storage)
    for (const home of [this.one, this.two]) {
      mkdirSync(home)
      await this.#well(home, 'alice', ['mount', HOME, home], served)
    }
  }

  /** The gateway again, with the home at another storage; answers its URL. */
  async #moved({ backend, files = {} }: Storage): Promise<string> {
    await this.#karst.stop()
    const file = join(this.#karst.state, 'config.json')
    const config = JSON.parse(readFileSync(file, 'utf8')) as Written
    config.backends['moved'] = backend
    config.namespace.push({ path: '/moved', backend: 'moved' })
    config.administrators = ['bob']
    writeFileSync(file, JSON.stringify(config))
    for (const [name, text] of Object.entries(files)) writeFileSync(join(this.#karst.state, name), text)
    this.#serving = await Serving.start(file)
    const { url } = (JSON.parse(readFileSync(file, 'utf8')) as Written).service
    await this.#well(this.one, 'bob', ['migrate', HOME, '--to', 'moved'], url)
    return url
  }

  /** Unmounts both; answers what their drivers and the gateway said that goes beyond their daily work. */
  async stop(): Promise<string[]> {
    const told: string[] = []
    for (const home of [this.one, this.two]) {
      const { stdout, stderr } = await this.#ask(home, ['umount', home])
      told.push(...`${stdout}${stderr}`.split('\n'))
      const lines = readFileSync(join(`${home}.driver`, 'driver.log'), 'utf8').split('\n')
      told.push(...lines.filter((line) => !/: (vos:\S+ )?(un)?mounted$/.test(line)))
    }
    await this.#serving?.stop()
    const ended = this.#serving?.ended ?? (await this.#karst.stop())
    const log = this.#serving?.output ?? readFileSync(join(this.#karst.state, 'gateway.log'), 'utf8')
    return [
      ...(ended === 0 ? [] : [`the gateway ended with ${String(ended)}`]),
      ...told,
      ...log.split('\n').filter((line) => /"level":[56]0/.test(line)),
    ].filter((line) => line !== '')
  }

  async dispose(): Promise<void> {
    for (const home of [this.one, this.two]) await run('umount', ['-l', home])
    await this.#serving?.stop()
    await this.#karst.dispose()
  }

  /** Each home has a driver of its own. */
  #ask(home: string, words: readonly string[]): Promise<Ended> {
    return run('bin/karst', words, { env: { KARST_MOUNT_STATE: `${home}.driver` } })
  }

  async #well(home: string, user: 'alice' | 'bob', words: readonly string[], url: string): Promise<void> {
    const { ca = '', users = {} } = this.#report ?? {}
    const how = ['--ca', ca, '--url', url, '--certificate', users[user]?.proxy ?? '']
    const { code, stdout, stderr } = await this.#ask(home, [...words, ...how])
    if (code !== 0) throw new Error(`${words.join(' ')}: ${stdout}${stderr}`)
  }

  /**
   * Runs a shell script in a folder of its own, which both mounts have: `$ONE` and `$TWO`. `$OUT` is a folder on the local disk. Programs
   * find none of their user's settings. Fails the test with what they said when the script does not end well; answers what it wrote.
   */
  async works(t: Test, script: string): Promise<string> {
    const name = t.name.split(/\W/, 1)[0] ?? ''
    const local = join(this.#karst.folder, `local-${name}`)
    const [one, two] = [this.one, this.two].map((home) => join(home, name))
    const env = { ONE: one ?? '', TWO: two ?? '', OUT: local, HOME: local, GIT_CONFIG_NOSYSTEM: '1', TZ: 'UTC' }
    mkdirSync(local)
    const ended = await run('sh', ['-euc', `mkdir "$ONE"; cd "$ONE"; ${script}`], { cwd: '/', env, limit: LIMIT })
    const { code, signal, stdout, stderr } = ended
    t.equal(code ?? signal, 0, `${stdout.slice(-3000)}\n${stderr.slice(-3000)}`)
    return stdout
  }
}
