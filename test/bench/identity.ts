/**
 * What certificates cost: verifying a two-link chain beside the TLS handshake that brings it, and new connections of the gateway beside
 * those of a bare Node server that asks for a certificate and looks at nothing. Rates are per second of the server's processor time, so
 * that what else the machine does counts for neither.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type IncomingMessage } from 'node:http'
import { Agent, get } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type ConnectionOptions } from 'node:tls'
import { type QuickstartReport } from '../../src/cli/quickstart.ts'
import { ChainCache } from '../../src/identity/chain-cache.ts'
import { pemCertificates } from '../../src/identity/pem.ts'
import { TrustStore } from '../../src/identity/trust.ts'
import { verifyChain } from '../../src/identity/verify.ts'
import { median, type BenchRow } from './row.ts'

const ROUNDS = 5
const VERIFICATIONS = 300
const HANDSHAKES = 100
const CONNECTIONS = 400
const AT_ONCE = 4
const LAUNCHER = join(import.meta.dirname, '..', '..', 'bin', 'karst')

interface Peer {
  readonly port: number
  readonly pid: number
  /** What is asked for once connected. */
  readonly path: string
}

interface Bench {
  readonly ours: Peer
  readonly bare: Peer
  readonly client: ConnectionOptions
  readonly chain: readonly Buffer[]
  readonly trust: TrustStore
}

export async function identityBench(): Promise<BenchRow[]> {
  const folder = mkdtempSync(join(tmpdir(), 'karst-bench-'))
  const children: ChildProcess[] = []
  try {
    const bench = await prepare(folder, children)
    return [...(await verification(bench)), await connections(bench)]
  } finally {
    for (const child of children) await ended(child)
    rmSync(folder, { recursive: true, force: true })
  }
}

async function prepare(folder: string, children: ChildProcess[]): Promise<Bench> {
  const state = join(folder, 'state')
  const gateway = spawn(LAUNCHER, ['quickstart', '--no-mount'], {
    env: { ...process.env, KARST_STATE: state, KARST_PORT: '0' },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  children.push(gateway)
  const report = await started(join(state, 'quickstart.json'), gateway)
  const server = spawn(process.execPath, [join(import.meta.dirname, 'tls-peer.ts'), join(state, 'server.pem')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(server)
  const [port] = (await once(server.stdout, 'data')) as [Buffer]
  const proxy = readFileSync(report.users['alice']?.proxy ?? '', 'utf8')
  const ca = readFileSync(report.ca, 'utf8')
  return {
    ours: { port: Number(new URL(report.url).port), pid: report.pid, path: '/karst/fs/v1' },
    bare: { port: Number(String(port)), pid: server.pid ?? 0, path: '/' },
    client: { cert: proxy, key: proxy, ca, host: '127.0.0.1', servername: 'localhost' },
    // The proxy and its end entity; a file may have more.
    chain: pemCertificates(proxy).slice(0, 2),
    trust: TrustStore.of(pemCertificates(ca)),
  }
}

async function started(file: string, gateway: ChildProcess): Promise<QuickstartReport> {
  for (let i = 0; i < 600; i++) {
    if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as QuickstartReport
    if (gateway.exitCode !== null) throw new Error(`the quickstart ended with ${gateway.exitCode}`)
    await sleep(100)
  }
  throw new Error('the quickstart did not start within a minute')
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGTERM')
  await exit
}

/** Microseconds. */
async function verification({ bare, client, chain, trust }: Bench): Promise<BenchRow[]> {
  const cache = new ChainCache(trust)
  const [fresh, cached, handshakes]: [number[], number[], number[]] = [[], [], []]
  for (let round = 0; round < ROUNDS; round++) {
    handshakes.push(...(await timed(HANDSHAKES, () => handshake(bare, client))))
    fresh.push(...(await timed(VERIFICATIONS, async () => void verifyChain(chain, trust))))
    cached.push(...(await timed(VERIFICATIONS, async () => void cache.verify(chain))))
  }
  const peer = median(handshakes)
  const row = (name: string, ours: number, target: string): BenchRow => ({
    name,
    ours,
    peer,
    unit: 'us',
    ratio: peer / ours,
    target,
  })
  return [
    row('verification of a two-link chain beside its TLS handshake', median(fresh), '>= 5'),
    row('the same, remembered', median(cached), '>= 100'),
  ]
}

async function timed(times: number, work: () => Promise<void>): Promise<number[]> {
  const taken: number[] = []
  for (let i = 0; i < times; i++) {
    const since = performance.now()
    await work()
    taken.push((performance.now() - since) * 1000)
  }
  return taken
}

async function handshake({ port }: Peer, client: ConnectionOptions): Promise<void> {
  const socket = connect({ ...client, port })
  await once(socket, 'secureConnect')
  socket.destroy()
}

async function connections({ ours, bare, client }: Bench): Promise<BenchRow> {
  const [mine, theirs]: [number[], number[]] = [[], []]
  await rate(ours, client)
  for (let round = 0; round < ROUNDS; round++) {
    mine.push(await rate(ours, client))
    theirs.push(await rate(bare, client))
  }
  const name = 'new connections with a client certificate'
  const [one, other] = [median(mine), median(theirs)]
  return { name, ours: one, peer: other, unit: '/s of CPU', ratio: one / other, target: '>= 0.8' }
}

/**
 * Connections for each second of the server's processor time: what requests on new connections take more than as many on open ones, so
 * that what else the gateway does for a request does not count.
 */
async function rate(peer: Peer, client: ConnectionOptions): Promise<number> {
  const fresh = await processorTime(peer, () => requests(peer, client, false))
  const kept = await processorTime(peer, () => requests(peer, client, true))
  return CONNECTIONS / (fresh - kept)
}

async function processorTime(peer: Peer, work: () => Promise<unknown>): Promise<number> {
  const before = processorSeconds(peer.pid)
  await work()
  return processorSeconds(peer.pid) - before
}

async function requests({ port, path }: Peer, client: ConnectionOptions, keepAlive: boolean): Promise<void> {
  // Without a session to resume: each connection is a whole handshake.
  const agent = new Agent({ ...client, port, keepAlive, maxSockets: AT_ONCE, maxCachedSessions: 0 })
  const queue = Array.from({ length: AT_ONCE }, async () => {
    for (let i = 0; i < CONNECTIONS / AT_ONCE; i++) await request(agent, path)
  })
  await Promise.all(queue)
  agent.destroy()
}

async function request(agent: Agent, path: string): Promise<void> {
  const [response] = (await once(get({ agent, path }), 'response')) as [IncomingMessage]
  if (response.statusCode !== 200) throw new Error(`answered ${response.statusCode ?? 'nothing'}`)
  await once(response.resume(), 'end')
}

/** User and system time of a process and its threads, from clock ticks of a hundredth of a second. */
function processorSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}
