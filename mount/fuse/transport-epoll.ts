// The fast way: libuv polls /dev/fuse as if it were a pipe and reads one request a wake-up straight into our buffer.
// It rests on two things node does not document, the class behind a pipe's handle and the `handle` option of
// net.Socket, so the constructor checks both and throws where they are gone; the caller then reads the plain way.
import net from 'node:net'
import { LibcError } from '../../src/libc/ffi.ts'
import { type Message } from './message.ts'
import { MessagePool } from './message-pool.ts'
import { DeviceWriter } from './device-writer.ts'
import { endOf, type Transport } from './transport.ts'

interface PipeHandle {
  /** Makes the descriptor non-blocking and its own; zero or a negative error number. */
  open(fd: number): number
  /** Where the next reads go. */
  useUserBuffer(bytes: Uint8Array): void
}

type PipeClass = new (type: number) => PipeHandle

const SOCKET = 0

/** The class of pipe handles, taken from a socket that never gets anywhere. */
function pipeClass(): PipeClass {
  const probe = new net.Socket()
  probe.on('error', () => {
    // the path does not exist on purpose
  })
  probe.connect({ path: '/nonexistent/karst-fuse-probe' })
  const handle = (probe as unknown as { _handle: object | null })._handle
  probe.destroy()
  if (handle === null || !isPipeHandle(handle)) {
    throw new TypeError('this node has no pipe handles of the known shape')
  }
  return handle.constructor as PipeClass
}

function isPipeHandle(handle: object): boolean {
  const { open, useUserBuffer } = handle as Partial<Record<keyof PipeHandle, unknown>>
  return typeof open === 'function' && typeof useUserBuffer === 'function'
}

export class EpollTransport implements Transport {
  readonly #writer: DeviceWriter
  readonly #pool: MessagePool
  readonly #handle: PipeHandle
  #socket: net.Socket | undefined
  #current: Message | undefined
  #changed = true

  /** `size` in bytes of the longest request. Throws, with `fd` as it was, where node has changed too much. */
  constructor(fd: number, size: number) {
    this.#pool = new MessagePool(size)
    const Pipe = pipeClass()
    this.#handle = new Pipe(SOCKET)
    const status = this.#handle.open(fd)
    if (status < 0) throw new LibcError('uv_pipe_open', -status)
    this.#writer = new DeviceWriter(fd)
  }

  start(onRequest: (message: Message) => void, onEnd: (error: Error | undefined) => void): void {
    this.#next()
    const options = {
      handle: this.#handle,
      readable: true,
      writable: false,
      onread: {
        // asked after each request; null keeps the buffer, which is cheaper than giving it again
        buffer: () => this.#changedBuffer(),
        callback: (length: number) => this.#received(length, onRequest),
      },
    }
    // `handle` is not in the types
    const socket = new net.Socket(options as unknown as net.SocketConstructorOpts)
    let failure: Error | undefined
    socket.on('error', (error) => (failure = endOf(error)))
    socket.on('close', () => {
      this.#writer.end()
      onEnd(failure)
    })
    this.#socket = socket
  }

  write(parts: readonly Uint8Array[], length: number): number {
    return this.#writer.write(parts, length)
  }

  notify(bytes: Uint8Array): Promise<number> {
    return this.#writer.notify(bytes)
  }

  close(): void {
    this.#socket?.destroy()
  }

  /** False stops reading until a message is released. */
  #received(length: number, onRequest: (message: Message) => void): boolean {
    const message = this.#current
    if (message === undefined) return false
    message.length = length
    onRequest(message)
    return message.held ? this.#next() : true
  }

  #next(): boolean {
    this.#current = this.#pool.take(() => this.#resume())
    this.#changed = true
    return this.#current !== undefined
  }

  #changedBuffer(): Buffer | null {
    if (!this.#changed || this.#current === undefined) return null
    this.#changed = false
    return this.#current.bytes
  }

  #resume(): void {
    if (this.#socket === undefined || this.#socket.destroyed || !this.#next()) return
    const bytes = this.#changedBuffer()
    if (bytes !== null) this.#handle.useUserBuffer(bytes)
    this.#socket.resume()
  }
}
