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
 * they may be about to note what they have asked for. `unheard`: they were gone before the answer.
 */
export async function listenForControl(
  file: string,
  answer: (request: ControlRequest) => Promise<ControlReply>,
  unheard: (request: ControlRequest) => void = () => undefined,
): Promise<net.Server> {
  fs.rmSync(file, { force: true })
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    let text = ''
    let replying: Promise<ControlReply> | undefined
    const begin = (): Promise<ControlReply> => (replying ??= reply(text, answer))
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
        if (result.ok) socket.once('error', () => unheard(JSON.parse(text) as ControlRequest))
        socket.end(`${JSON.stringify(result)}\n`)
      })
    })
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
 * begins before.
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
    const timer = setTimeout(() => socket.destroy(), limit)
    let text = ''
    socket.setEncoding('utf8')
    socket.on('connect', () => {
      socket.write(`${JSON.stringify(request)}\n`)
      if (until === undefined) socket.end()
      else void until.then(() => socket.end())
    })
    socket.on('data', (chunk: string) => (text += chunk))
    // no socket, a dead one, a driver that ended: all of it is "no answer", which `close` reports
    socket.on('error', () => undefined)
    socket.on('close', () => {
      clearTimeout(timer)
      place.release()
      resolve(text.endsWith('\n') ? (JSON.parse(text) as ControlReply) : undefined)
    })
  })
}

/** A socket's path has room for 107 bytes; a longer one is reached through an open folder (unix(7)). */
export function reachable(file: string): { path: string; release: () => void } {
  if (Buffer.byteLength(file) < 108) return { path: file, release: () => undefined }
  const folder = fs.openSync(path.dirname(file), fs.constants.O_DIRECTORY | fs.constants.O_RDONLY)
  return { path: `/proc/self/fd/${folder}/${path.basename(file)}`, release: () => fs.closeSync(folder) }
}
