// The mounted devices of a driver, kept by the kernel while drivers come and go: they lie as messages in a pair of sockets
// that the supervisor holds open. Nobody else has to run, or understand anything, for a mount to outlive its driver.
import { closeDescriptor, packetPair, peekLabelled, receiveLabelled, sendDescriptor } from '../../src/libc/socket.ts'

/** A label: which round through the queue put it there, and the mount's id. */
function labelOf(round: string, id: string): string {
  return `${round} ${id}`
}

export class DescriptorStore {
  readonly #in: number
  readonly #out: number
  #rounds = 0

  /** The two ends of a packetPair, which the store does not close. */
  constructor(ends: readonly [number, number]) {
    ;[this.#in, this.#out] = ends
  }

  /** The descriptors that the driver before this one kept, by mount. They stay in the store; the answered ones are the caller's. */
  recover(): Map<string, number> {
    const found = new Map<string, number>()
    this.#round((id, fd) => {
      const isFirst = !found.has(id)
      if (isFirst) found.set(id, fd)
      return { stays: isFirst, isTaken: isFirst }
    })
    return found
  }

  /** Keeps another descriptor of the open file. Throws LibcError. */
  keep(id: string, fd: number): void {
    sendDescriptor(this.#in, { fd, label: labelOf('new', id) })
  }

  drop(id: string): void {
    this.#round((one) => ({ stays: one !== id, isTaken: false }))
  }

  /**
   * Looks at each message once: what stays is sent to the tail before its head is taken, so that whoever dies in the midst
   * loses nothing and leaves at most one message twice.
   */
  #round(decide: (id: string, fd: number) => { stays: boolean; isTaken: boolean }): void {
    const round = `${process.pid}.${process.hrtime.bigint()}.${++this.#rounds}`
    for (let head = peekLabelled(this.#out); head !== undefined; head = peekLabelled(this.#out)) {
      const [mark, id = ''] = head.label.split(' ')
      if (mark === round) {
        closeDescriptor(head.fd)
        return
      }
      const { stays, isTaken } = decide(id, head.fd)
      if (stays) sendDescriptor(this.#in, { fd: head.fd, label: labelOf(round, id) })
      const taken = receiveLabelled(this.#out)
      if (taken !== undefined) closeDescriptor(taken.fd)
      if (!isTaken) closeDescriptor(head.fd)
    }
  }
}

/** The two ends of a new store, closed on exec; the caller closes them. Throws LibcError. */
export function storeEnds(): [number, number] {
  return packetPair()
}

/** A descriptor that nothing else owns. */
export function closeDevice(fd: number): void {
  closeDescriptor(fd)
}
