// A Remote whose gateway lives in the parent process, over node's own channel between the two: it survives the driver.
import { type ChildProcess } from 'node:child_process'
import { type Remote, type RemoteRef } from '../../mount/remote.ts'
import { readBytes } from '../../mount/read-bytes.ts'
import { Fault, isFault, type FaultName } from '../../src/vospace/fault.ts'
import { type SeenEntry } from '../../src/codec/fs-v1.ts'

/** What is asked by name. */
type RemoteCall = Exclude<keyof Remote, 'abandon' | 'isNear' | 'page' | 'leases' | 'feed'>

interface Call {
  readonly kind: 'call'
  readonly id: number
  readonly name: RemoteCall
  readonly args: unknown[]
}

interface Returned {
  readonly kind: 'returned'
  readonly id: number
  readonly value?: unknown
  readonly fault?: { readonly fault: FaultName; readonly detail: string; readonly errno: string }
}

/** Answers what the driver in `child` asks of the gateway. */
export function serveRemote(child: ChildProcess, remote: Remote): void {
  child.on('message', (message: Call) => {
    if (message.kind !== 'call') return
    void answer(remote, message).then((returned) => {
      if (child.connected) child.send(returned, () => undefined)
    })
  })
}

async function answer(remote: Remote, { id, name, args }: Call): Promise<Returned> {
  try {
    return { kind: 'returned', id, value: await perform(remote, name, args.map(buffers)) }
  } catch (error) {
    if (!isFault(error)) throw error
    const { fault, detail, errno } = error
    return { kind: 'returned', id, fault: { fault, detail, errno } }
  }
}

async function perform(remote: Remote, name: RemoteCall, args: unknown[]): Promise<unknown> {
  const method = remote[name].bind(remote) as (...args: unknown[]) => unknown
  if (name === 'read') {
    const [ref, range, options] = args as [RemoteRef, { readonly start: number; readonly end: number }, object]
    return readBytes(remote, ref, range, options)
  }
  if (name === 'list') return (await collected(method(...args) as AsyncIterable<SeenEntry[]>)).flat()
  if (name !== 'put' && name !== 'amend') return method(...args)
  const [ref, parts, options] = args
  return method(ref, () => (parts as unknown[]).map(buffers), options)
}

/** The channel makes plain arrays of bytes out of Buffers. */
function buffers(value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : value
}

/** The parent's gateway, in the driver's process. */
export function remoteOverChannel(): Remote {
  const waiting = new Map<number, PromiseWithResolvers<unknown>>()
  let last = 0
  process.on('message', ({ kind, id, value, fault }: Returned) => {
    if (kind !== 'returned') return
    if (fault === undefined) waiting.get(id)?.resolve(revive(value))
    else waiting.get(id)?.reject(new Fault(fault.fault, fault.detail, { errno: fault.errno }))
    waiting.delete(id)
  })
  const call = (name: RemoteCall, ...args: unknown[]): Promise<never> => {
    const asked = Promise.withResolvers<unknown>()
    waiting.set(++last, asked)
    process.send?.({ kind: 'call', id: last, name, args })
    return asked.promise as Promise<never>
  }
  return {
    identity: () => call('identity'),
    entry: (ref) => call('entry', { ...ref }),
    async *list(path) {
      yield await call('list', path)
    },
    put: async (ref, body, { signal: _signal, ...attributes }) =>
      call('put', { ...ref }, await collected(body()), attributes),
    read: async (ref, start, into, { ifContentVersion }) => {
      const version = ifContentVersion === undefined ? {} : { ifContentVersion }
      const bytes: Buffer = await call('read', { ...ref }, { start, end: start + into.length - 1 }, version)
      into.begin()
      into.write(bytes)
    },
    amend: async (ref, extents, options) => call('amend', { ...ref }, await collected(extents()), options),
    mkdir: (path, mode) => call('mkdir', path, mode),
    symlink: (path, text) => call('symlink', path, text),
    mknod: (path, draft) => call('mknod', path, draft),
    link: (ref, to) => call('link', { ...ref }, to),
    remove: (path, type) => call('remove', path, type),
    rename: (from, to, flags) => call('rename', from, to, flags),
    setattr: (ref, attributes) => call('setattr', { ...ref }, attributes),
    xattrNames: (path) => call('xattrNames', path),
    xattr: (path, name) => call('xattr', path, name),
    setXattr: (path, name, value, flags) => call('setXattr', path, name, value, flags),
    removeXattr: (path, name) => call('removeXattr', path, name),
    statfs: (path) => call('statfs', path),
    close: async () => undefined,
  }
}

function revive(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(revive)
  if (typeof value === 'object' && value !== null && 'text' in value) return { ...value, text: buffers(value.text) }
  return buffers(value)
}

/** Copies: their memory is used again. */
async function collected<T>(parts: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const part of parts) all.push(structuredClone(part))
  return all
}
