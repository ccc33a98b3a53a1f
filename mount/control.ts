// How `karst mount` and `karst umount` talk to a running driver: one line of JSON each way over a socket of the user's own.
import * as fs from 'node:fs'
import * as net from 'node:net'

export interface MountRequest {
  readonly command: 'mount'
  /** Shown by df and mount: the vos URI. */
  readonly uri: string
  readonly dir: string
  readonly certificate: string
  readonly ca?: string
  readonly url?: string
  readonly registry?: string
  readonly readOnly: boolean
  readonly allowOther: boolean
  /** Seconds. */
  readonly ttl?: number
  readonly uid?: number
  readonly gid?: number
}

export type ControlRequest =
  MountRequest | { readonly command: 'umount'; readonly dir: string } | { readonly command: 'status' }

export interface MountStatus {
  readonly dir: string
  readonly source: string
  readonly readOnly: boolean
  readonly openFiles: number
}

/** `left`: what could not be sent, one line each. */
export type ControlReply =
  | {
      readonly ok: true
      readonly pid: number
      readonly mounts: readonly MountStatus[]
      readonly left: readonly string[]
    }
  | { readonly ok: false; readonly error: string; readonly code: string }

const LONGEST = 1 << 16

/** Listens at `file`, for this user alone. `answer` never rejects. */
export async function listenForControl(
  file: string,
  answer: (request: ControlRequest) => Promise<ControlReply>,
): Promise<net.Server> {
  fs.rmSync(file, { force: true })
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    let text = ''
    socket.setEncoding('utf8')
    // whoever asked may be gone before the answer
    socket.on('error', () => socket.destroy())
    socket.on('data', (chunk: string) => {
      text += chunk
      if (text.length > LONGEST) socket.destroy()
    })
    socket.on('end', () => {
      void reply(text, answer).then((result) => socket.end(`${JSON.stringify(result)}\n`))
    })
  })
  const umask = process.umask(0o177)
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(file, resolve)
    })
  } finally {
    process.umask(umask)
  }
  return server
}

async function reply(text: string, answer: (request: ControlRequest) => Promise<ControlReply>): Promise<ControlReply> {
  let request: ControlRequest
  try {
    request = JSON.parse(text) as ControlRequest
  } catch (error) {
    return { ok: false, error: `not a request: ${String(error)}`, code: 'EINVAL' }
  }
  return answer(request)
}

/** `undefined` when no driver listens at `file`, or it ended before it answered. */
export function askDriver(file: string, request: ControlRequest, limit: number): Promise<ControlReply | undefined> {
  return new Promise((resolve) => {
    const socket = net.connect(file)
    const timer = setTimeout(() => socket.destroy(), limit)
    let text = ''
    socket.setEncoding('utf8')
    socket.on('connect', () => socket.end(`${JSON.stringify(request)}\n`))
    socket.on('data', (chunk: string) => (text += chunk))
    // no socket, a dead one, a driver that ended: all of it is "no answer", which `close` reports
    socket.on('error', () => undefined)
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(text.endsWith('\n') ? (JSON.parse(text) as ControlReply) : undefined)
    })
  })
}
