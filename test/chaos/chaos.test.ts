/** A short form of `npm run test:chaos`, with a seed of its own each time. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { fuseSkip, needs } from '../parts.ts'

// fsx is built first in a clean checkout
t.setTimeout(20 * 60_000)
const skip = (await fuseSkip()) || needs('git', 'cargo')

t.test('ten kills under programs on two mounts lose nothing', { skip }, async (t) => {
  const words = [join(import.meta.dirname, 'main.ts'), '--kills', '10']
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part: Buffer) => (output += part.toString()))
  const code = await new Promise((resolve) => child.once('close', resolve))
  t.equal(code, 0, output)
  t.match(output, /\n\d+ passed, 0 failed, 0 skipped\n$/)
  t.comment(/^killed.*$/m.exec(output)?.[0] ?? '')
})
