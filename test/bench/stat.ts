/**
 * What a client asks most: one node without its children (`?limit=0`), over connections that stay, beside a bare fastify route that answers
 * a constant of the same size. Both are processes of their own; the client is plain sockets, so that it costs little. Where client and
 * servers share few cores the rates say less than the processor time of each server a request, which is told too.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { Quickstart } from '../service/running.ts'
import { median, type BenchRow } from './row.ts'

const ROUNDS = 5
const SECONDS = 2
const CONNECTIONS = 8

interface Place {
  readonly options: ConnectionOptions
  readonly path: string
  /** of the process that answers */
  readonly pid: number
}

interface Measured {
  /** answers a second */
  readonly rate: number
  /** of the server's processor, for each answer */
  readonly microseconds: number
}

export async function statBench(): Promise<BenchRow[]> {
  const quickstart = new Quickstart(['--no-mount'])
  try {
    const { url, ca, users, pid } = await quickstart.start()
    const { hostname, port, pathname } = new URL(url)
    const tls = { host: '127.0.0.1', servername: hostname, ca: readFileSync(ca) }
    const proxy = readFileSync(users['alice']?.proxy ?? '')
    const options = { ...tls, cert: proxy, key: proxy }
    const ours = { options: { ...options, port: Number(port) }, path: `${pathname}/nodes/home/alice?limit=0`, pid }
    const bytes = /content-length: (\d+)/i.exec((await one(ours)).head)?.[1] ?? ''
    const pem = join(quickstart.state, 'server.pem')
    const peers = [[], ['log']].map((more) => peerOf([pem, pem, bytes, ...more]))
    try {
      const [bare, logging] = await Promise.all(
        peers.map(async (peer) => ({
          options: { ...options, port: await portOf(peer) },
          path: '/constant',
          pid: peer.pid ?? 0,
        })),
      )
      if (bare === undefined || logging === undefined) throw new Error('there is no peer')
      return await beside(ours, bare, logging)
    } finally {
      for (const peer of peers) peer.kill()
    }
  } finally {
    await quickstart.dispose()
  }
}

function peerOf(words: readonly string[]): ChildProcess {
  const program = join(import.meta.dirname, 'stat-peer.ts')
  return spawn(process.execPath, [program, ...words], { stdio: ['ignore', 'pipe', 'inherit'] })
}

async function portOf(peer: ChildProcess): Promise<number> {
  if (peer.stdout === null) throw new Error('the peer says nothing')
  const [line] = (await once(createInterface({ input: peer.stdout }), 'line')) as [string]
  return Number(line)
}

async function beside(...places: [ours: Place, bare: Place, logging: Place]): Promise<BenchRow[]> {
  const measured = places.map((): Measured[] => [])
  // until all have compiled what they run
  for (const place of [...places, ...places]) await measure(place)
  for (let round = 0; round < ROUNDS; round++) {
    for (const [at, place] of places.entries()) measured[at]?.push(await measure(place))
  }
  const [ours = [], bare = [], logging = []] = measured
  const rate = (rounds: readonly Measured[]): number => median(rounds.map((round) => round.rate))
  const time = (rounds: readonly Measured[]): number => median(rounds.map((round) => round.microseconds))
  const row = (name: string, mine: number, peer: number, unit: string, ratio: number, target: string): BenchRow => ({
    name, ours: mine, peer, unit, ratio, target,
  }) // prettier-ignore
  const name = 'node without children beside a constant of bare fastify'
  const logged = `${name} that logs`
  return [
    row(name, rate(ours), rate(bare), 'requests/s', rate(ours) / rate(bare), '>= 0.5'),
    row(`${name}, processor`, time(ours), time(bare), 'us/request', time(ours) / time(bare), ''),
    row(logged, rate(ours), rate(logging), 'requests/s', rate(ours) / rate(logging), ''),
  ]
}

/** One request at a time on each connection, for a while. */
async function measure(place: Place): Promise<Measured> {
  const sockets = await Promise.all(Array.from({ length: CONNECTIONS }, () => open(place)))
  const before = processorTime(place.pid)
  const until = performance.now() + SECONDS * 1000
  const counts = await Promise.all(sockets.map((socket) => askUntil(socket, place, until)))
  const spent = processorTime(place.pid) - before
  for (const socket of sockets) socket.destroy()
  const count = counts.reduce((sum, each) => sum + each, 0)
  return { rate: count / SECONDS, microseconds: spent / count }
}

/** Microseconds that a process has had, of itself and of the kernel (proc(5): ticks of 10 ms). */
function processorTime(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) * 10_000
}

async function open({ options }: Place): Promise<TLSSocket> {
  const socket = connect(options)
  await once(socket, 'secureConnect')
  return socket.setNoDelay()
}

const question = ({ path }: Place): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n`

async function one(place: Place): Promise<{ head: string; length: number }> {
  const socket = await open(place)
  const answered = answer(socket)
  socket.write(question(place))
  const found = await answered
  socket.destroy()
  return found
}

/** The first answer says how long they are: all are alike. */
async function askUntil(socket: TLSSocket, place: Place, until: number): Promise<number> {
  const text = question(place)
  const first = answer(socket)
  socket.write(text)
  const { length } = await first
  return new Promise((resolve, reject) => {
    let count = 0
    let received = 0
    socket.once('error', reject).once('close', () => reject(new Error('the connection was closed')))
    socket.on('data', (part: Buffer) => {
      received += part.length
      if (received < length) return
      if (received > length) reject(new Error(`an answer of ${received} bytes, not ${length}`))
      received = 0
      count++
      if (performance.now() >= until) resolve(count)
      else socket.write(text)
    })
    socket.write(text)
  })
}

/** One answer: its head, and its length with the body in bytes. */
async function answer(socket: TLSSocket): Promise<{ head: string; length: number }> {
  let bytes = Buffer.alloc(0)
  return new Promise((resolve, reject) => {
    const take = (part: Buffer): void => {
      bytes = Buffer.concat([bytes, part])
      const end = bytes.indexOf('\r\n\r\n')
      if (end < 0) return
      const head = bytes.toString('latin1', 0, end)
      const length = end + 4 + Number(/content-length: (\d+)/i.exec(head)?.[1])
      if (bytes.length < length) return
      socket.off('data', take)
      if (head.startsWith('HTTP/1.1 200')) resolve({ head, length })
      else reject(new Error(head))
    }
    socket.on('data', take)
  })
}
