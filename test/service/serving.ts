/** `karst serve` as a site starts it, for tests with a configuration of their own. */
import { spawn, type ChildProcess } from 'node:child_process'

export class Serving {
  readonly #child: ChildProcess
  #output = ''

  private constructor(file: string) {
    const child = spawn('bin/karst', ['serve', '--config', file], { stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (this.#output += String(part)))
    this.#child = child
  }

  /** When it serves. Throws what it has told where it ends first, or takes too long; then it is stopped. */
  static async start(file: string): Promise<Serving> {
    const serving = new Serving(file)
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

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#child
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
    child.kill(signal)
    await ended
  }
}
