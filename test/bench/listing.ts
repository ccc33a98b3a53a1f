/** The listing of 100,000 children over TLS: when its first byte comes, beside the bare readdir of that directory, and what memory it takes. */
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs'
import https from 'node:https'
import { join } from 'node:path'
import { Quickstart } from '../service/running.ts'
import { median, type BenchRow } from './row.ts'

const CHILDREN = 100_000
const ROUNDS = 5
const MIB = 1 << 20

export async function listingBench(): Promise<BenchRow[]> {
  const karst = new Quickstart()
  try {
    const tree = join(karst.folder, 'tree')
    plant(join(tree, 'few'), CHILDREN / 100)
    plant(join(tree, 'many'), CHILDREN)
    await karst.start(['--no-mount', '--tree', tree])
    return await measured(karst, join(tree, 'many'))
  } finally {
    await karst.dispose()
  }
}

function plant(folder: string, children: number): void {
  mkdirSync(folder, { recursive: true })
  for (let i = 0; i < children; i++) closeSync(openSync(join(folder, `observation-${i}.fits`), 'w'))
}

async function measured(karst: Quickstart, folder: string): Promise<BenchRow[]> {
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1 })
  try {
    // until what runs is compiled, and the connection is there
    for (let round = 0; round < ROUNDS; round++) await listed(karst, agent, 'few')
    const before = residentOf(karst)
    let most = before
    const watch = setInterval(() => (most = Math.max(most, residentOf(karst))), 20)
    const firsts: number[] = []
    const bare: number[] = []
    try {
      for (let round = 0; round < ROUNDS; round++) {
        bare.push(timeOf(() => readdirSync(folder)))
        const { first, nodes } = await listed(karst, agent, 'many')
        if (nodes !== CHILDREN) throw new Error(`a listing of ${nodes} children`)
        firsts.push(first)
      }
    } finally {
      clearInterval(watch)
    }
    return rows(median(firsts), median(bare), (most - before) / MIB)
  } finally {
    agent.destroy()
  }
}

function rows(first: number, bare: number, growth: number): BenchRow[] {
  const name = `listing of ${CHILDREN} children`
  return [
    {
      name: `${name}: first byte (peer: readdir)`,
      ours: first,
      peer: bare,
      unit: 'ms',
      ratio: first / bare,
      target: '<= 5',
    },
    {
      name: `${name}: memory more (peer: allowed)`,
      ours: growth,
      peer: 50,
      unit: 'MiB',
      ratio: growth / 50,
      target: '< 1',
    },
  ]
}

/** Milliseconds to the first byte of the document, and how many nodes were in it. */
function listed(karst: Quickstart, agent: https.Agent, name: string): Promise<{ first: number; nodes: number }> {
  const { url, ca, users } = karst.report
  const pem = readFileSync(users['alice']?.proxy ?? '')
  return new Promise((resolve, reject) => {
    let first: number | undefined
    let nodes = 0
    let rest = ''
    const began = performance.now()
    const request = https.get(
      `${url}/nodes/${name}`,
      { agent, ca: readFileSync(ca), cert: pem, key: pem },
      (response) => {
        response.on('error', reject)
        response.on('data', (part: Buffer) => {
          first ??= performance.now() - began
          const text = rest + part.toString('latin1')
          const pieces = text.split('DataNode')
          nodes += pieces.length - 1
          rest = (pieces.at(-1) ?? '').slice(-'DataNode'.length + 1)
        })
        response.on('end', () => resolve({ first: first ?? NaN, nodes }))
      },
    )
    request.on('error', reject)
  })
}

/** Bytes of memory of the gateway. */
function residentOf({ report }: Quickstart): number {
  const status = readFileSync(`/proc/${report.pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024
}

function timeOf(work: () => unknown): number {
  const began = performance.now()
  work()
  return performance.now() - began
}
