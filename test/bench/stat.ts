/**
 * What a client asks most: one node without its children (`?limit=0`), over connections that stay, beside a bare fastify route that answers
 * a constant of the same size. Both are processes of their own; the client is plain sockets, so that it costs little.
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
}

export async function statBench(): Promise<BenchRow[]> {
  const quickstart = new Quickstart(['--no-mount'])
  try {
    const { url, ca, users } = await quickstart.start()
    const { hostname, port, pathname } = new URL(url)
    const tls = { host: '127.0.0.1', servername: hostname, ca: readFileSync(ca) }
    const proxy = readFileSync(users['alice']?.proxy ?? '')
    const ours = {
      options: { ...tls, port: Number(port), cert: proxy, key: proxy },
      path: `${pathname}/nodes/home/alice?limit=0`,
    }
    const bytes = Number(/content-length: (\d+)/i.exec((await one(ours)).head)?.[1])
    const pem = join(quickstart.state, 'server.pem')
    const peer = spawn(process.execPath, [join(import.meta.dirname, 'stat-peer.ts'), pem, pem, String(bytes)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    try {
      const theirs = { options: { ...tls, port: await portOf(peer) }, path: '/constant' }
      return [await beside(ours, theirs)]
    } finally {
      peer.kill()
    }
  } finally {
    await quickstart.dispose()
  }
}

async function portOf(peer: ChildProcess): Promise<number> {
  if (peer.stdout === null) throw new Error('the peer says nothing')
  const [line] = (await once(createInterface({ input: peer.stdout }), 'line')) as [string]
  return Number(line)
}

async function beside(ours: Place, theirs: Place): Promise<BenchRow> {
  const rates: { mine: number[]; peer: number[] } = { mine: [], peer: [] }
  for (const place of [ours, theirs]) await rateOf(place) // until both have compiled what they run
  for (let round = 0; round < ROUNDS; round++) {
    rates.mine.push(await rateOf(ours))
    rates.peer.push(await rateOf(theirs))
  }
  const mine = median(rates.mine)
  const peer = median(rates.peer)
  const name = 'node without children beside a constant of bare fastify'
  return { name, ours: mine, peer, unit: 'requests/s', ratio: mine / peer, target: '>= 0.5' }
}

/** Answers a second, one request at a time on each connection. */
async function rateOf(place: Place): Promise<number> {
  const sockets = await Promise.all(Array.from({ length: CONNECTIONS }, () => open(place)))
  const until = performance.now() + SECONDS * 1000
  const counts = await Promise.all(sockets.map((socket) => askUntil(socket, place, until)))
  for (const socket of sockets) socket.destroy()
  return counts.reduce((sum, count) => sum + count, 0) / SECONDS
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
