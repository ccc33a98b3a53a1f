/** One process that runs commands of karst one after the other, each with an environment of its own: their start is most of what they cost. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { run } from '../../src/cli/commands.ts'
import { commandsFor } from '../../src/cli/table.ts'

export interface CommandEnded {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

interface Asked {
  readonly words: readonly string[]
  readonly env: Record<string, string>
}

/** A karst that stays; `end` it with the test. Standard input is empty, and there is no terminal. */
export class CliProcess {
  readonly #child = fork(import.meta.filename, ['serve'], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  #last: Promise<unknown> = Promise.resolve()

  async run(words: readonly string[], env: Record<string, string> = {}): Promise<CommandEnded> {
    const answer = this.#last.then(async () => {
      this.#child.send({ words, env } satisfies Asked)
      const [ended] = (await once(this.#child, 'message')) as [CommandEnded]
      return ended
    })
    this.#last = answer.catch(() => undefined)
    return answer
  }

  end(): void {
    this.#child.disconnect()
  }
}

async function serve({ words, env }: Asked): Promise<CommandEnded> {
  const said = { stdout: '', stderr: '' }
  const restore = (['stdout', 'stderr'] as const).map((name) => {
    const write = process[name].write.bind(process[name])
    process[name].write = (part: Uint8Array | string): boolean => {
      said[name] += String(part)
      return true
    }
    return () => void (process[name].write = write)
  })
  Object.assign(process.env, env)
  const code = await run(await commandsFor(words[0]), words)
  restore.forEach((back) => back())
  return { code, ...said }
}

if (import.meta.main && process.argv[2] === 'serve') {
  process.on('message', (asked) => void serve(asked as Asked).then((ended) => process.send?.(ended)))
}
