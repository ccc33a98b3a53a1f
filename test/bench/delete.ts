/** Recursive delete without a trash, as the job and as DELETE do it, beside `rm -rf` on the same tree. */
import { execFileSync } from 'node:child_process'
import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deleteNode } from '../../src/space/delete-node.ts'
import { deleteRecursively } from '../../src/space/recursive-delete.ts'
import { DEFAULT_RULES, type Space } from '../../src/space/space.ts'
import { openStore } from '../../src/store/store.ts'
import { type Caller } from '../../src/vospace/caller.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { service } from '../../src/vospace/uri.ts'
import { ids, posix } from '../conformance/posix-tree.ts'
import { median, type BenchRow } from './row.ts'

const ROUNDS = 3
const FOLDERS = 100
const EACH = 199
const NODES = 1 + FOLDERS * (1 + EACH)
const BYTES = 1000
const alice: Caller = { user: 'alice', groups: new Set(), admin: false, uid: 5001, gid: 5001 }

export async function deleteBench(): Promise<BenchRow[]> {
  const dir = mkdtempSync(join(tmpdir(), 'karst-bench-'))
  chownSync(dir, 5001, 5001)
  const backend = posix(dir)
  const store = openStore(join(dir, 'store.db'))
  await backend.start()
  try {
    const karst = service('ivo://karst.local/karst')
    const space: Space = { backend, service: karst, rules: DEFAULT_RULES, changes: store.changes, ids }
    return await rows(space, dir)
  } finally {
    await backend.stop()
    store.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

async function rows(space: Space, dir: string): Promise<BenchRow[]> {
  const ways: Record<string, (tree: string) => Promise<unknown>> = {
    job: async (tree) => asJob(space, tree),
    plain: async (tree) => deleteNode(space, alice, nodePath(`/${tree}`)),
    rm: async (tree) => execFileSync('rm', ['-rf', join(dir, tree)]),
  }
  const took = { job: [] as number[], plain: [] as number[], rm: [] as number[] }
  const spent = { job: [] as number[], plain: [] as number[], rm: [] as number[] }
  const names = Object.keys(took)
  // each comes first once: the disk is still busy with what the one before has left to it
  const runs = Array.from({ length: ROUNDS }, (_, round) =>
    [...names.slice(round), ...names.slice(0, round)].map((way) => ({ way, tree: way + round })),
  )
  // all before the first goes: ext4 is slow to make nodes where some have just gone
  for (const { tree } of runs.flat()) plant(join(dir, tree))
  execFileSync('sync')
  for (const { way, tree } of runs.flat()) {
    const began = performance.now()
    const before = processorTime()
    await ways[way]?.(tree)
    took[way as keyof typeof took].push(performance.now() - began)
    spent[way as keyof typeof spent].push(processorTime() - before)
  }
  const rate = (times: number[]): number => NODES / (median(times) / 1000)
  const peer = rate(took.rm)
  const row = (name: string, ours: number): BenchRow => ({
    name: `${name} of ${NODES} nodes (peer: rm -rf)`,
    ours,
    peer,
    unit: 'nodes/s',
    ratio: ours / peer,
    target: '>= 0.5',
  })
  const cost = (name: string, times: number[]): BenchRow => {
    const [ours, peer] = [median(times) / NODES, median(spent.rm) / NODES]
    return {
      name: `${name} of ${NODES} nodes, processor`,
      ours,
      peer,
      unit: 'us/node',
      ratio: ours / peer,
      target: '<= 2',
    }
  }
  return [
    row('recursive delete', rate(took.job)),
    cost('recursive delete', spent.job),
    row('DELETE', rate(took.plain)),
    cost('DELETE', spent.plain),
  ]
}

/** Microseconds that this process and the children it has waited for have had (proc(5): ticks of 10 ms). */
function processorTime(): number {
  const fields = readFileSync('/proc/self/stat', 'latin1').split(') ')[1]?.split(' ') ?? []
  return [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at]) * 10_000, 0)
}

async function asJob(space: Space, tree: string): Promise<unknown> {
  const saved: string[] = []
  const save = (state: object): void => void (saved[0] = JSON.stringify(state))
  return deleteRecursively(space, alice, `vos://karst.local~karst/${tree}`, { save })
}

function plant(top: string): void {
  for (let f = 0; f < FOLDERS; f++) {
    const folder = join(top, `folder-${f}`)
    mkdirSync(folder, { recursive: true })
    for (let i = 0; i < EACH; i++) writeFileSync(join(folder, `observation-${i}.fits`), Buffer.alloc(BYTES))
    chownSync(folder, 5001, 5001)
  }
  chownSync(top, 5001, 5001)
}
