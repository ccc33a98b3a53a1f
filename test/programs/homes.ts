/** Alice's home at a gateway of its own, mounted twice by two drivers, as on two machines: what programs are run on. */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Test } from 'tap'
import { Quickstart, run, type Ended } from '../service/running.ts'

/** A program that hangs is killed after so many milliseconds. */
const LIMIT = 240_000

export class Homes {
  readonly #karst = new Quickstart()
  #one = ''

  get two(): string {
    return join(this.#karst.folder, 'two')
  }

  get one(): string {
    return this.#one
  }

  async start(): Promise<void> {
    const { ca, url, users, mount } = await this.#karst.start()
    this.#one = mount?.path ?? ''
    mkdirSync(this.two)
    const words = ['mount', 'vos://karst.local~karst/home/alice', this.two]
    const how = ['--ca', ca, '--url', url, '--certificate', users['alice']?.proxy ?? '']
    const { code, stderr } = await this.#ask([...words, ...how])
    if (code !== 0) throw new Error(stderr)
  }

  /** Unmounts both; answers what their drivers and the gateway said that goes beyond their daily work. */
  async stop(): Promise<string[]> {
    const { stdout, stderr } = await this.#ask(['umount', this.two])
    const ended = await this.#karst.stop()
    const drivers = [join(this.#karst.folder, 'driver'), join(this.#karst.state, 'mount')]
    const lines = drivers.flatMap((state) => readFileSync(join(state, 'driver.log'), 'utf8').split('\n'))
    const gateway = readFileSync(join(this.#karst.state, 'gateway.log'), 'utf8').split('\n')
    return [
      ...(ended === 0 ? [] : [`the gateway ended with ${String(ended)}`]),
      ...`${stdout}${stderr}`.split('\n'),
      ...lines.filter((line) => !/: (vos:\S+ )?(un)?mounted$/.test(line)),
      ...gateway.filter((line) => /"level":[56]0/.test(line)),
    ].filter((line) => line !== '')
  }

  async dispose(): Promise<void> {
    await run('umount', ['-l', this.two])
    await this.#karst.dispose()
  }

  #ask(words: readonly string[]): Promise<Ended> {
    return run('bin/karst', words, { env: { KARST_MOUNT_STATE: join(this.#karst.folder, 'driver') } })
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
