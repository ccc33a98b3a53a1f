// Devices that somebody else has opened and mounted, handed to a driver: messages to a socket beside its control socket.
import { setTimeout as sleep } from 'node:timers/promises'
import {
  closeDescriptor,
  connectForMessages,
  listenForMessages,
  receiveLabelled,
  sendDescriptor,
} from '../../src/libc/socket.ts'
import { MountError } from './mount-options.ts'

const fs = process.getBuiltinModule('node:fs')

/** Milliseconds that a device, or the driver that takes it, is waited for. */
const LIMIT = 30_000
const PAUSE = 5

export class HandedDevices {
  readonly #file: string
  readonly #socket: number
  readonly #there = new Map<string, number>()

  /** `file`: up to 107 bytes. Throws LibcError. */
  constructor(file: string) {
    fs.rmSync(file, { force: true })
    this.#file = file
    const umask = process.umask(0o177)
    try {
      this.#socket = listenForMessages(file)
    } finally {
      process.umask(umask)
    }
  }

  /** The device that was handed in under that name. Throws MountError with ETIMEDOUT. */
  async take(name: string): Promise<number> {
    for (const until = performance.now() + LIMIT; performance.now() < until; await sleep(PAUSE)) {
      for (let one = receiveLabelled(this.#socket); one !== undefined; one = receiveLabelled(this.#socket)) {
        this.#there.set(one.label, one.fd)
      }
      const fd = this.#there.get(name)
      this.#there.delete(name)
      if (fd !== undefined) return fd
    }
    throw new MountError('the device did not come', 'ETIMEDOUT')
  }

  close(): void {
    closeDescriptor(this.#socket)
    for (const fd of this.#there.values()) closeDescriptor(fd)
    fs.rmSync(this.#file, { force: true })
  }
}

/** Gives a device to the driver that listens at `file`, as soon as one does. Throws MountError with ETIMEDOUT. */
export async function handDevice(file: string, name: string, fd: number): Promise<void> {
  for (const until = performance.now() + LIMIT; performance.now() < until; await sleep(PAUSE)) {
    if (sent(file, name, fd)) return
  }
  throw new MountError('no driver takes the device', 'ETIMEDOUT')
}

function sent(file: string, label: string, fd: number): boolean {
  let socket: number | undefined
  try {
    socket = connectForMessages(file)
    sendDescriptor(socket, { fd, label })
    return true
  } catch (error) {
    const { code } = error as { code?: string }
    // nobody listens yet, or so many came before
    if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'EAGAIN') return false
    throw new MountError(`the device cannot be handed over: ${String(error)}`, code ?? 'EIO', { cause: error })
  } finally {
    if (socket !== undefined) closeDescriptor(socket)
  }
}
