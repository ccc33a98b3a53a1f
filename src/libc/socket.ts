// Unix sockets over which open files are handed over (SCM_RIGHTS), as fusermount3 and our own supervisor do. The structures are those of 64-bit Linux, alike on x64 and arm64, glibc and musl.
import { address, declare, declareCall, LibcError } from './ffi.ts'
import { ERRNO } from './errno.ts'

const AF_UNIX = 1
const SOCK_STREAM = 1
const SOCK_DGRAM = 2
const SOCK_SEQPACKET = 5
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SCM_RIGHTS = 1
const MSG_PEEK = 2
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const MSG_CMSG_CLOEXEC = 0x40000000
/** Bytes of msghdr, iovec; of cmsghdr, and of a control buffer with one descriptor in it. */
const MSGHDR = 56
const IOVEC = 16
const CMSGHDR = 16
const CONTROL = 24

const socketpair = declare('socketpair', 'int', ['int', 'int', 'int', 'void *'])
const recvmsg = declareCall('recvmsg', 'int64_t', ['int', 'void *', 'int'])
const sendmsg = declare('sendmsg', 'int64_t', ['int', 'void *', 'int'])
const socket = declare('socket', 'int', ['int', 'int', 'int'])
const bind = declare('bind', 'int', ['int', 'void *', 'uint32_t'])
const connect = declare('connect', 'int', ['int', 'void *', 'uint32_t'])
const close = declare('close', 'int', ['int'])

/** Bytes of the longest label. */
const LONGEST = 512
/** Bytes of a socket's path with its NUL (unix(7)). */
const PATH_SIZE = 108

/** An open file on its way, with what its sender said of it. */
export interface Received {
  readonly fd: number
  readonly label: string
}

/** Two connected stream sockets, closed on exec. Throws LibcError. */
export function socketPair(): [number, number] {
  return pairOf(SOCK_STREAM)
}

/** Two connected sockets that keep messages apart, closed on exec. Throws LibcError. */
export function packetPair(): [number, number] {
  return pairOf(SOCK_SEQPACKET)
}

function pairOf(type: number): [number, number] {
  const pair = Buffer.alloc(8)
  socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair)
  return [pair.readInt32LE(0), pair.readInt32LE(4)]
}

/** A socket that takes messages at `file` (up to 107 bytes), closed on exec. Throws LibcError. */
export function listenForMessages(file: string): number {
  return addressed(bind, file)
}

/** A socket whose messages go to whoever listens at `file`. Throws LibcError. */
export function connectForMessages(file: string): number {
  return addressed(connect, file)
}

function addressed(call: typeof bind, file: string): number {
  const name = Buffer.alloc(2 + PATH_SIZE)
  name.writeUInt16LE(AF_UNIX, 0)
  if (name.write(file, 2) >= PATH_SIZE) throw new LibcError('socket', ERRNO.ENAMETOOLONG)
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)
  try {
    call(fd, name, name.length)
    return fd
  } catch (error) {
    close(fd)
    throw error
  }
}

/** Sends an open file with a label of up to 512 bytes; EAGAIN rather than waiting. Throws LibcError. */
export function sendDescriptor(socket: number, { fd, label }: Received): void {
  const { header, control, text } = message(Buffer.byteLength(label))
  text.write(label)
  control.writeBigUInt64LE(BigInt(CMSGHDR + 4), 0)
  control.writeInt32LE(SOL_SOCKET, 8)
  control.writeInt32LE(SCM_RIGHTS, 12)
  control.writeInt32LE(fd, CMSGHDR)
  sendmsg(socket, header, MSG_DONTWAIT | MSG_NOSIGNAL)
}

/**
 * The descriptor of the next message that waits on `socket`, closed on exec; `undefined` when none waits or the message
 * has none. Never waits. Throws LibcError.
 */
export function receiveDescriptor(socket: number): number | undefined {
  return receive(socket, 0)?.fd
}

/** As receiveDescriptor, with its label. */
export function receiveLabelled(socket: number): Received | undefined {
  return receive(socket, 0)
}

/** As receiveLabelled, but the message stays: what is received is another descriptor of the same open file. */
export function peekLabelled(socket: number): Received | undefined {
  return receive(socket, MSG_PEEK)
}

function receive(socket: number, flags: number): Received | undefined {
  const { header, control, text } = message(LONGEST)
  const received = recvmsg(socket, header, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC)
  if (received === -ERRNO.EAGAIN) return undefined
  if (received < 0) throw new LibcError('recvmsg', -received)
  const length = header.readUInt32LE(40)
  const isRights = control.readInt32LE(8) === SOL_SOCKET && control.readInt32LE(12) === SCM_RIGHTS
  if (length < CMSGHDR + 4 || !isRights) return undefined
  return { fd: control.readInt32LE(CMSGHDR), label: text.toString('utf8', 0, received) }
}

/** msghdr with one piece of data and room for one descriptor. The views must outlive the call. */
function message(size: number): { header: Buffer; control: Buffer; text: Buffer } {
  const text = outsideHeap(Math.max(size, 1))
  const vector = outsideHeap(IOVEC)
  vector.writeBigUInt64LE(address(text), 0)
  vector.writeBigUInt64LE(BigInt(text.length), 8)
  const control = outsideHeap(CONTROL)
  const header = outsideHeap(MSGHDR)
  header.writeBigUInt64LE(address(vector), 16)
  header.writeBigUInt64LE(1n, 24)
  header.writeBigUInt64LE(address(control), 32)
  header.writeBigUInt64LE(BigInt(CONTROL), 40)
  // kept alive with the header, which only has its address
  Object.assign(header, { vector })
  return { header, control, text }
}

/** Throws LibcError. */
export function closeDescriptor(fd: number): void {
  close(fd)
}

/** Zeroed memory that the garbage collector does not move: C keeps its address in another structure. */
function outsideHeap(size: number): Buffer {
  return Buffer.from(new ArrayBuffer(size))
}
