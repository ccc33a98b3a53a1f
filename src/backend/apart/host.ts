/** The process of a storage, from its inside. */
import { readSync, writeSync } from 'node:fs'
import { Fault } from '../../vospace/fault.ts'
import { type Backend, type IdentifiedChild } from '../backend.ts'
import { Frames, frameOf } from './frames.ts'
import { Peer, type Message } from './peer.ts'
import { CHOICES, type LogLine, type StorageLog } from './process.ts'
import { serveBackend } from './served.ts'
import { heard, type Told } from './told.ts'

/** To the log of the gateway. */
export function hostLog(): StorageLog {
  const at =
    (level: LogLine['level']) =>
    (fields: object, text: string): void =>
      say({ kind: 'log', level, fields: cloneable(fields), text })
  return { info: at('info'), warn: at('warn'), error: at('error') }
}

/** Serves until the gateway says stop, or is gone. `make` gets what the gateway says first. */
export function host<T>(make: (order: T) => Backend): void {
  process.once('disconnect', () => process.exit(0))
  // the gateway is told by its service manager, and tells this one
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
  process.once('message', (order: T) => {
    let backend: Backend | undefined
    const peer = new Peer(say, async (method, args, call) => {
      backend ??= make(order)
      return serveBackend(backend, choice)(method, args, call)
    })
    process.on('message', (message: Message) => peer.receive(message))
  })
}

function say(message: Message | LogLine): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined) // it ends with the channel
}

/** Nothing of this process goes on until the gateway has chosen: what it sees is what is there. */
function choice(call: number, page: readonly IdentifiedChild[]): readonly IdentifiedChild[] {
  writeAll(frameOf({ call, page }))
  const frames = new Frames()
  const part = Buffer.alloc(64 * 1024)
  for (;;) {
    const count = readSync(CHOICES, part)
    if (count === 0) throw new Fault('TransferFailed', 'the gateway is gone')
    for (const answer of frames.take(part.subarray(0, count))) {
      const { chosen, error } = answer as { chosen?: readonly IdentifiedChild[]; error?: Told }
      if (error !== undefined) throw heard(error)
      return chosen ?? []
    }
  }
}

function writeAll(bytes: Buffer): void {
  for (let done = 0; done < bytes.length;) done += writeSync(CHOICES, bytes, done)
}

/** Errors are; functions and the like are not. */
function cloneable(fields: object): object {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, typeof value === 'function' ? String(value) : value]),
  )
}
