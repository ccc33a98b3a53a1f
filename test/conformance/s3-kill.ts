/** A gateway that is killed at any point of a write leaves neither half a node nor, after a check that repairs, an object that nobody has. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import t from 'tap'
import { ROOT } from '../../src/vospace/path.ts'
import { bytesOf, file, md5, p } from './cases.ts'
import { pushing, scratch, type S3Place } from './s3-bucket.ts'
import { findings } from './s3-faults.ts'

const WRITER = new URL('../fixtures/s3-writer.ts', import.meta.url).pathname

export function s3Kills(name: string, server: S3Place, rounds: number): void {
  void t.test(`${name}: killed ${rounds} times while it writes`, async (t) => {
    const ground = scratch(server)
    const words = JSON.stringify({ ...server, prefix: ground.prefix, dir: ground.dir })
    for (let round = 0; round < rounds; round++) {
      const promised = await writeUntilKilled(words, Math.random() * 400)
      await findings(server, ground, true)
      t.same(await findings(server, ground, false), [], 'catalog and bucket agree after a repair')
      const backend = ground.backend(pushing(server))
      await backend.start()
      // what clients had put is no less there for it
      const permit = async () => ({ draft: file })
      await backend.arrivals?.settle({ permit, ended: () => undefined })
      for await (const entry of backend.list(ROOT)) {
        const bytes = await bytesOf(backend, entry.path)
        t.equal(bytes.length, entry.size)
        t.equal(md5(bytes), entry.md5, 'a node has all of its bytes')
      }
      // what was promised last is there, or what was being written over it then
      for (const name of promised.keys()) t.ok((await backend.walk(p(`/${name}`))).length === 2, `${name} is there`)
      t.same(await findings(server, ground, true), [], 'nor is anything left of what clients had put')
      await backend.stop()
    }
    ground.dispose()
  })
}

/** Kills the writer so many milliseconds after it has started; answers what it has promised. */
async function writeUntilKilled(words: string, milliseconds: number): Promise<Map<string, string>> {
  const child = spawn(process.execPath, [WRITER, words], { stdio: ['ignore', 'pipe', 'inherit'] })
  const promised = new Map<string, string>()
  const ended = new Promise((resolve) => child.once('close', resolve))
  for await (const line of createInterface({ input: child.stdout })) {
    const [word, name = '', sum = ''] = line.split(' ')
    if (word === 'started') setTimeout(() => child.kill('SIGKILL'), milliseconds)
    else if (word !== '') promised.set(name, sum)
  }
  await ended
  return promised
}
