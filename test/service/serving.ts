/** `karst serve` as a site starts it, for tests with a configuration of their own. */
import { spawn, type ChildProcess } from 'node:child_process'

export class Serving {
  readonly #child: ChildProcess
  #output = ''

  private constructor(file: string, env: Readonly<Record<string, string>>) {
    const words = ['serve', '--config', file]
    const child = spawn('bin/karst', words, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (this.#output += String(part)))
    this.#child = child
  }

  /** When it serves. Throws what it has told where it ends first, or takes too long; then it is stopped. */
  static async start(file: string, env: Readonly<Record<string, string>> = {}): Promise<Serving> {
    const serving = new Serving(file, env)
    for (let waited = 0; !serving.output.includes('karst serves'); waited += 50) {
      if (serving.#child.exitCode !== null || waited > 60_000) {
        await serving.stop('SIGKILL')
        throw new Error(serving.output)
      }
      await new Promise((done) => setTimeout(done, 50))
    }
    return serving
  }

  /** The exit code; null: it still serves, or a signal has ended it. */
  get ended(): number | null {
    return this.#child.exitCode
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** What it has told so far. */
  get output(): string {
    return this.#output
  }

  /** When it has ended by itself, or was killed by another. */
  async over(): Promise<void> {
    const child = this.#child
    if (child.exitCode !== null || child.signalCode !== null) return
    await new Promise<void>((resolve) => child.once('close', () => resolve()))
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#child
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = this.over()
    child.kill(signal)
    await ended
  }
}
