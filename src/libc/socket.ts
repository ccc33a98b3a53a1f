// A pair of Unix sockets and the reception of a descriptor over one (SCM_RIGHTS), for programs such as fusermount3 that
// hand over an open file. The structures are those of 64-bit Linux, alike on x64 and arm64, glibc and musl.
import { address, declare, declareCall, LibcError } from './ffi.ts'
import { ERRNO } from './errno.ts'

const AF_UNIX = 1
const SOCK_STREAM = 1
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SCM_RIGHTS = 1
const MSG_DONTWAIT = 0x40
const MSG_CMSG_CLOEXEC = 0x40000000
/** Bytes of msghdr, iovec; of cmsghdr, and of a control buffer with one descriptor in it. */
const MSGHDR = 56
const IOVEC = 16
const CMSGHDR = 16
const CONTROL = 24

const socketpair = declare('socketpair', 'int', ['int', 'int', 'int', 'void *'])
const recvmsg = declareCall('recvmsg', 'int64_t', ['int', 'void *', 'int'])
const close = declare('close', 'int', ['int'])

/** Two connected stream sockets, closed on exec. Throws LibcError. */
export function socketPair(): [number, number] {
  const pair = Buffer.alloc(8)
  socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)
  return [pair.readInt32LE(0), pair.readInt32LE(4)]
}

/**
 * The descriptor of the next message that waits on `socket`, closed on exec; `undefined` when none waits or the message
 * has none. Never waits. Throws LibcError.
 */
export function receiveDescriptor(socket: number): number | undefined {
  const data = outsideHeap(1)
  const vector = outsideHeap(IOVEC)
  vector.writeBigUInt64LE(address(data), 0)
  vector.writeBigUInt64LE(BigInt(data.length), 8)
  const control = outsideHeap(CONTROL)
  const header = outsideHeap(MSGHDR)
  header.writeBigUInt64LE(address(vector), 16)
  header.writeBigUInt64LE(1n, 24)
  header.writeBigUInt64LE(address(control), 32)
  header.writeBigUInt64LE(BigInt(CONTROL), 40)
  const received = recvmsg(socket, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)
  if (received === -ERRNO.EAGAIN) return undefined
  if (received < 0) throw new LibcError('recvmsg', -received)
  const length = header.readUInt32LE(40)
  const isRights = control.readInt32LE(8) === SOL_SOCKET && control.readInt32LE(12) === SCM_RIGHTS
  return length >= CMSGHDR + 4 && isRights ? control.readInt32LE(CMSGHDR) : undefined
}

/** Throws LibcError. */
export function closeDescriptor(fd: number): void {
  close(fd)
}

/** Zeroed memory that the garbage collector does not move: C keeps its address in another structure. */
function outsideHeap(size: number): Buffer {
  return Buffer.from(new ArrayBuffer(size))
}
