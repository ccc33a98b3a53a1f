/** Copies as jobs make them, on an XFS with reflinks: a large file beside a small one, which shows whether bytes are copied at all, and beside cp. */
import { execFileSync } from 'node:child_process'
import { chownSync, createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { type Backend } from '../../src/backend/backend.ts'
import { copyNode } from '../../src/space/copy.ts'
import { DEFAULT_RULES, type Space } from '../../src/space/space.ts'
import { type Caller } from '../../src/vospace/caller.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { service } from '../../src/vospace/uri.ts'
import { ids, posix, unavailable, xfs } from '../conformance/posix-tree.ts'
import { median, type BenchRow } from './row.ts'

const ROUNDS = 9
const LARGE = 1024
const MIB = 1 << 20

/** The rows; none where no XFS can be mounted, with the reason on stderr. */
export async function jobsBench(): Promise<BenchRow[]> {
  const why = unavailable(xfs)
  if (why !== false) {
    console.error(`jobs benchmark skipped: XFS ${why}`)
    return []
  }
  const { dir, dispose } = xfs(3 * LARGE)
  try {
    return await copies(dir)
  } finally {
    dispose()
  }
}

async function copies(dir: string): Promise<BenchRow[]> {
  await writeNoise(join(dir, 'large'), LARGE)
  await writeNoise(join(dir, 'small'), 1)
  // a clone waits until what it clones has reached the disk
  execFileSync('sync')
  for (const name of ['', 'large', 'small']) chownSync(join(dir, name), 5001, 5001)
  const backend = posix(dir)
  await backend.start()
  try {
    return rowsOf(await measured(backend, dir))
  } finally {
    await backend.stop()
  }
}

interface Took {
  readonly large: number[]
  readonly small: number[]
  readonly cp: number[]
}

async function measured(backend: Backend, dir: string): Promise<Took> {
  const append = (): undefined => undefined
  const space: Space = {
    backend,
    service: service('ivo://karst.local/karst'),
    rules: DEFAULT_RULES,
    changes: { append, appendAll: append },
    ids,
  }
  const took: Took = { large: [], small: [], cp: [] }
  for (let round = 0; round < ROUNDS; round++) {
    took.large.push(await timed(() => copied(space, 'large', round)))
    took.small.push(await timed(() => copied(space, 'small', round)))
    const clone = ['--reflink=always', join(dir, 'large'), join(dir, `cp-${round}`)]
    took.cp.push(await timed(async () => execFileSync('cp', clone)))
  }
  return took
}

function rowsOf(took: Took): BenchRow[] {
  const [large, small, cp] = [median(took.large), median(took.small), median(took.cp)]
  const unit = 'ms'
  return [
    { name: 'copy of 1 GiB (peer: of 1 MiB)', ours: large, peer: small, unit, ratio: large / small, target: '< 5' },
    { name: 'copy of 1 GiB (peer: cp --reflink)', ours: large, peer: cp, unit, ratio: large / cp },
  ]
}

const alice: Caller = { user: 'alice', groups: new Set(), admin: false, uid: 5001, gid: 5001 }

async function copied(space: Space, name: string, round: number): Promise<unknown> {
  const run = {
    name: `${name}${round}`,
    signal: new AbortController().signal,
    noted: undefined,
    note: () => undefined,
    progress: () => undefined,
  }
  return copyNode(space, alice, nodePath(`/${name}`), nodePath(`/copy-of-${name}-${round}`), run)
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}

async function writeNoise(file: string, mebibytes: number): Promise<void> {
  async function* blocks(): AsyncGenerator<Buffer> {
    for (let n = 0; n < mebibytes; n++) yield Buffer.alloc(MIB, `${n} `)
  }
  await pipeline(blocks, createWriteStream(file))
}
