// How `karst mount` and `karst umount` talk to a running driver: one line of JSON each way over a socket of the user's own.
import * as net from 'node:net'
import * as path from 'node:path'
import type { LatencySummary } from './fuse/latency.ts'
import type { Agreement, AgreementRequest } from './session/agreement-request.ts'

const fs = process.getBuiltinModule('node:fs')

export interface MountRequest {
  readonly command: 'mount'
  /** Shown by df and mount: the vos URI. */
  readonly uri: string
  readonly dir: string
  /** One of the two at least. */
  readonly certificate?: string
  readonly tokenFile?: string
  readonly ca?: string
  readonly url?: string
  readonly registry?: string
  readonly readOnly: boolean
  /** Bytes are fetched once for all mounts of this driver that are so, each of which the gateway has let read them; for reading only. */
  readonly shared?: boolean
  readonly allowOther: boolean
  /** No program that is there can be run. */
  readonly noExec?: boolean
  /** The whole tree for every user of this machine; an administrator's certificate. */
  readonly trusted?: boolean
  /** Seconds. */
  readonly ttl?: number
  readonly uid?: number
  readonly gid?: number
  /** Name of a mounted device that is handed in; see fuse/handed-devices.ts. */
  readonly device?: string
  /** Seconds until a call that the gateway does not answer is EIO. */
  readonly timeout?: number
  /** What was asked ahead for it; see session/agreements.ts. */
  readonly ahead?: string
}

export type ControlRequest =
  | MountRequest
  | { readonly command: 'umount'; readonly dir: string; /** Seconds. */ readonly timeout?: number }
  | { readonly command: 'agree'; readonly request: AgreementRequest }
  | { readonly command: 'status' }

export interface MountStatus {
  readonly dir: string
  readonly source: string
  readonly readOnly: boolean
  readonly openFiles: number
  /** Files, and bytes of them, that wait to be sent. */
  readonly dirtyFiles: number
  readonly dirtyBytes: number
  /** Bytes on the local disk. */
  readonly spoolBytes: number
  /** Nodes that the kernel knows. */
  readonly inodes: number
  /** Ranges locked across mounts. */
  readonly locks: number
  /** Whether another driver can go on with it. */
  readonly survives: boolean
  /** Milliseconds of the kernel's requests. */
  readonly latency: LatencySummary
  readonly lastError?: { readonly at: string; readonly message: string }
}

/** `left`: what could not be sent, one line each. */
export type ControlReply =
  | {
      readonly ok: true
      readonly pid: number
      readonly mounts: readonly MountStatus[]
      /** Bytes of memory that hold what was read ahead, for all mounts, and how many there may be. */
      readonly cache?: {
        readonly used: number
        readonly limit: number
        /** on disk, for other mounts */
        readonly shared: number
      }
      readonly left: readonly string[]
      readonly agreement?: Agreement
    }
  | { readonly ok: false; readonly error: string; readonly code: string }

const LONGEST = 1 << 16

/**
 * Listens at `file`, for this user alone. `answer` never rejects; it begins when the line is there, and is told when whoever asked has said all, as
 * they may be about to note what they have asked for. `unheard`: they were gone before the answer. `signal`: from then on nobody is waited for who
 * has asked nothing yet, nor kept who can do by themselves what they have asked for.
 */
export async function listenForControl(
  file: string,
  answer: (request: ControlRequest) => Promise<ControlReply>,
  unheard: (request: ControlRequest) => void = () => undefined,
  signal?: AbortSignal,
): Promise<net.Server> {
  fs.rmSync(file, { force: true })
  const open = new Set<() => void>()
  signal?.addEventListener('abort', () => open.forEach((hangUp) => hangUp()), { once: true })
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    const hangUp = converse(socket, answer, unheard)
    open.add(hangUp)
    socket.on('close', () => open.delete(hangUp))
  })
  const place = reachable(file)
  const umask = process.umask(0o177)
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(place.path, resolve)
    })
  } finally {
    place.release()
    process.umask(umask)
  }
  return server
}

/** Answers how to hang up on who is not to be kept waiting. */
function converse(
  socket: net.Socket,
  answer: (request: ControlRequest) => Promise<ControlReply>,
  unheard: (request: ControlRequest) => void,
): () => void {
  let text = ''
  let asked: ControlRequest | undefined
  let replying: Promise<ControlReply> | undefined
  const begin = (): Promise<ControlReply> => (replying ??= reply(text, (request) => answer((asked = request))))
  socket.setEncoding('utf8')
  // whoever asked may be gone before the answer
  socket.on('error', () => socket.destroy())
  socket.on('data', (chunk: string) => {
    text += chunk
    if (text.length > LONGEST) socket.destroy()
    else if (text.endsWith('\n')) void begin()
  })
  socket.on('end', () => {
    void begin().then((result) => {
      socket.once('error', () => asked !== undefined && unheard(asked))
      socket.end(`${JSON.stringify(result)}\n`)
    })
  })
  return () => {
    if (asked === undefined || asked.command === 'agree') socket.destroy()
  }
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

/**
 * `undefined` when no driver listens at `file`, or it ended before it answered. It answers when all is said: with `until`, after that, though it
 * begins before; it hears nothing more when that is rejected. One with `until` that is late is a refusal: it may yet do what it was asked for, and
 * undo it when nobody hears, so nobody is to do it in its place.
 */
export function askDriver(
  file: string,
  request: ControlRequest,
  limit: number,
  until?: Promise<void>,
): Promise<ControlReply | undefined> {
  if (!fs.existsSync(file)) return Promise.resolve(undefined)
  return new Promise((resolve) => {
    const place = reachable(file)
    const socket = net.connect(place.path)
    let isLate = false
    const timer = setTimeout(() => {
      isLate = until !== undefined
      socket.destroy()
    }, limit)
    let text = ''
    socket.setEncoding('utf8')
    socket.on('connect', () => {
      socket.write(`${JSON.stringify(request)}\n`)
      if (until === undefined) socket.end()
      else
        void until.then(
          () => socket.end(),
          () => socket.destroy(),
        )
    })
    socket.on('data', (chunk: string) => (text += chunk))
    // no socket, a dead one, a driver that ended: all of it is "no answer", which `close` reports
    socket.on('error', () => undefined)
    socket.on('close', () => {
      clearTimeout(timer)
      place.release()
      if (text.endsWith('\n')) resolve(JSON.parse(text) as ControlReply)
      else resolve(isLate ? late(limit) : undefined)
    })
  })
}

const late = (limit: number): ControlReply => ({
  ok: false,
  error: `the gateway has not answered in ${limit / 1000} s: is it running?`,
  code: 'ETIMEDOUT',
})

/** A socket's path has room for 107 bytes; a longer one is reached through an open folder (unix(7)). */
export function reachable(file: string): { path: string; release: () => void } {
  if (Buffer.byteLength(file) < 108) return { path: file, release: () => undefined }
  const folder = fs.openSync(path.dirname(file), fs.constants.O_DIRECTORY | fs.constants.O_RDONLY)
  return { path: `/proc/self/fd/${folder}/${path.basename(file)}`, release: () => fs.closeSync(folder) }
}
