/** How soon a session runs its command, beside an empty Node, and what fifty of them on one node cost its driver and its gateway. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { whyNoFuse } from '../../mount/fuse/privilege.ts'
import { Meter } from '../sessions/meter.ts'
import { Place, type Running, UID } from '../sessions/place.ts'
import { median, type BenchRow } from './row.ts'

const ROUNDS = 9
const SESSIONS = 50
/** Started at a time. */
const AT_ONCE = 4
const MIB = 1 << 20
const DATA = 32 * MIB

export async function sessionsBench(): Promise<BenchRow[]> {
  const reason = process.getuid?.() === 0 ? await whyNoFuse() : 'sessions of the bench are started by root.'
  if (reason !== null) {
    console.error(`no sessions: ${reason}`)
    return []
  }
  const place = new Place()
  await place.start()
  const running: Running[] = []
  const ended = { teardown: () => undefined }
  const begin = async (words: readonly string[], script: string, env = {}): Promise<void> => {
    const one = place.running(ended, words, script, { user: running.length % 2 === 0 ? 'alice' : 'bob', env })
    running.push(one)
    await one.says('ready\n')
  }
  try {
    return [...(await starts(place, begin)), ...(await many(place, begin))]
  } finally {
    for (const one of running) one.tell('')
    await Promise.all(running.map((one) => one.ended))
    await place.dispose()
  }
}

type Begin = (words: readonly string[], script: string, env?: Record<string, string>) => Promise<void>

/** Milliseconds until it has said something, or has ended. */
async function first(program: string, args: readonly string[], env: Record<string, string>): Promise<number> {
  const since = performance.now()
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] })
  let said: number | undefined
  child.stdout.once('data', () => (said = performance.now() - since))
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`${program} ended with ${code}`)
  return said ?? performance.now() - since
}

/** With a driver that is there, as on a node that has sessions. */
async function starts(place: Place, begin: Begin): Promise<BenchRow[]> {
  await begin(['--partition', 'home'], 'echo ready; read -r line')
  const three = ['home', 'scratch', 'dataset:sample'].flatMap((one) => ['--partition', one])
  const words = ['session', '--user', `${UID}`, ...three, '--', 'echo', 'running']
  const took = { session: [] as number[], node: [] as number[] }
  for (let round = 0; round <= ROUNDS; round++) {
    const session = await first('bin/karst', words, place.env())
    const node = await first(process.execPath, ['-e', '0'], { NODE_OPTIONS: '' })
    // compiled code is kept from the second one on
    if (round === 0) continue
    took.session.push(session)
    took.node.push(node)
  }
  const [ours, peer] = [median(took.session), median(took.node)]
  const name = 'three partitions mounted and the command running (peer: node -e 0)'
  return [{ name, ours, peer, unit: 'ms', ratio: ours / peer, target: '<= 3' }]
}

async function many(place: Place, begin: Begin): Promise<BenchRow[]> {
  const file = join(place.karst.folder, 'data')
  writeFileSync(file, randomBytes(DATA))
  await place.karst.curl('alice', '/files/projects/demo/data', '-T', file)
  const manifest = join(place.karst.folder, 'data.yaml')
  writeFileSync(manifest, 'partitions: [{partition: "project:demo", access: read, at: /data}]')
  const meter = new Meter(Number(new URL(place.karst.report.url).port))
  const env = { KARST_URL: `https://localhost:${await meter.start()}/karst` }
  const one = (): Promise<void> =>
    begin(['--manifest', manifest], 'cat /data/data >/dev/null; echo ready; read -r line', env)
  await one()
  const before = residentOf(place)
  for (let i = 1; i < SESSIONS; i += AT_ONCE)
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, SESSIONS - i) }, one))
  const each = (residentOf(place) - before) / (SESSIONS - 1)
  meter.stop()
  const fetched = meter.bytes / DATA
  return [
    {
      name: `memory of the driver for each of ${SESSIONS} sessions (peer: 5 MiB)`,
      ...{ ours: each, peer: 5, unit: 'MiB', ratio: each / 5, target: '<= 1' },
    },
    {
      name: `what the gateway sent to ${SESSIONS} sessions that read ${DATA / MIB} MiB (peer: once)`,
      ...{ ours: fetched, peer: 1, unit: 'times', ratio: fetched, target: '<= 1.1' },
    },
  ]
}

/** MiB of the driver. */
function residentOf(place: Place): number {
  const [pid = ''] = readFileSync(join(place.driver, 'driver.lock'), 'utf8').split(' ')
  const [, kib = ''] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kib) / 1024
}
