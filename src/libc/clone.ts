/** Copying within the kernel, beside the event loop: copy_file_range(2), and FICLONE of ioctl_ficlone(2). */
import { declareAsync } from './ffi.ts'
import { SYSCALL } from './syscalls.ts'

const FICLONE = 0x40049409

const copyRange = declareAsync('syscall', 'int64_t', [
  'int64_t',
  'int',
  'void *',
  'int',
  'void *',
  'size_t',
  'uint32_t',
])
const ioctl = declareAsync('syscall', 'int64_t', ['int64_t', 'int', 'uint64_t', 'int'])

/** Makes the file share all bytes of another, copied on write; false: these two cannot. */
export async function shareBytes(to: number, from: number): Promise<boolean> {
  return (await ioctl(SYSCALL.ioctl, to, FICLONE, from)) === 0
}

/** Copies at most so many bytes, of the same offset; answers how many (0: the end), or undefined when the kernel would not, whyever. */
export async function copyWithin(to: number, from: number, offset: number, count: number): Promise<number | undefined> {
  const [source, target] = [BigInt64Array.of(BigInt(offset)), BigInt64Array.of(BigInt(offset))]
  const copied = await copyRange(SYSCALL.copy_file_range, from, source, to, target, count, 0)
  return copied < 0 ? undefined : copied
}
