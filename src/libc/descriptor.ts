// What fcntl(2) does to descriptors.
import { declare } from './ffi.ts'

const F_GETFL = 3
const F_SETFL = 4
const F_DUPFD_CLOEXEC = 1030
const O_NONBLOCK = 0o4000

const fcntl = declare('fcntl', 'int', ['int', 'int', 'int'])

/** Makes reads of `fd` wait, or answer EAGAIN at once. Counts for every process that shares the open file. */
export function setBlocking(fd: number, blocking: boolean): void {
  const flags = fcntl(fd, F_GETFL, 0)
  const wanted = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK
  if (wanted !== flags) fcntl(fd, F_SETFL, wanted)
}

/** Another descriptor of the same open file, closed on exec. Throws LibcError. */
export function duplicate(fd: number): number {
  return fcntl(fd, F_DUPFD_CLOEXEC, 0)
}
