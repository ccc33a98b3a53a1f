/** Who asks for much waits longer than who asks for little. */
import t from 'tap'
import { Turns } from '../../src/identity/turns.ts'

/** Work that ends when it is told to; `done` says whose was done, in order. */
function lab(options: Partial<ConstructorParameters<typeof Turns>[0]> = {}) {
  const turns = new Turns({ atOnce: 2, waitingOfOne: 10, waiting: 100, ...options })
  const done: string[] = []
  const begun: (() => void)[] = []
  const ask = (asker: string, fails = false): Promise<unknown> =>
    turns.take(asker, async () => {
      await new Promise<void>((resolve) => begun.push(resolve))
      done.push(asker)
      if (fails) throw new Error('it failed')
    })
  /** Ends what is being done, one after the other, until nothing is. */
  const finish = async (): Promise<void> => {
    for (let end = begun.shift(); end !== undefined; end = begun.shift()) {
      end()
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  return { ask, begun, done, finish }
}

t.test('so much at a time, and no more', async (t) => {
  const { ask, begun, finish, done } = lab()
  const all = [1, 2, 3, 4, 5].map(async () => ask('alice'))
  t.equal(begun.length, 2)
  await finish()
  await Promise.all(all)
  t.equal(done.length, 5)
})

t.test('askers take turns, whoever came with more', async (t) => {
  const { ask, finish, done } = lab()
  const all = [...Array.from({ length: 8 }, async () => ask('alice')), ask('bob'), ask('carol'), ask('bob')]
  await finish()
  await Promise.all(all)
  t.same(done.slice(0, 6), ['alice', 'alice', 'alice', 'bob', 'carol', 'alice'])
})

t.test('what fails gives its place to the next', async (t) => {
  const { ask, finish, done } = lab({ atOnce: 1 })
  const failed = t.rejects(ask('alice', true), { message: 'it failed' })
  const next = ask('bob')
  await finish()
  await Promise.all([failed, next])
  t.same(done, ['alice', 'bob'])
  const last = ask('carol')
  await finish()
  await last
  t.equal(done.at(-1), 'carol', 'and the place is free again')
})

t.test('too much is refused at once: of one asker, who keeps nobody else out, and of all', async (t) => {
  const { ask, finish } = lab({ atOnce: 1, waitingOfOne: 2, waiting: 3 })
  const busy = async (asker: string) => t.rejects(ask(asker), { message: /try again/ }, asker)
  const all = ['alice', 'alice', 'alice'].map(async (asker) => ask(asker))
  await busy('alice')
  all.push(ask('bob'))
  await busy('carol')
  await finish()
  await Promise.all(all)
  const more = ask('carol')
  await finish()
  await more
})
