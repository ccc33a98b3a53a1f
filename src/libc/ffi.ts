// The one place that loads koffi and the C library. Everything else in src/libc declares its functions here.
import type koffi from 'koffi'
import type { LibraryHandle } from 'koffi'
import { ERRNO, errnoName } from './errno.ts'

const requireHere = process.getBuiltinModule('node:module').createRequire(import.meta.filename)

let library: typeof koffi | undefined

/**
 * koffi's binary by itself: what stands before it in the package takes ten milliseconds, in which it loads half of Node's own library to call a few
 * of its functions deprecated. Where the binary is elsewhere the package finds it.
 */
function ffi(): typeof koffi {
  if (library !== undefined) return library
  const { arch } = process
  try {
    const beside = process.getBuiltinModule('node:module').createRequire(requireHere.resolve('koffi'))
    return (library = beside(`@koromix/koffi-linux-${arch}/linux_${arch}/koffi.node`) as typeof koffi)
  } catch {
    // another C library, or another place
    return (library = requireHere('koffi') as typeof koffi)
  }
}

/** What a C function may be given. Pointers are views (`char *`, `void *`), null, or strings (copied, NUL added). */
export type CArgument = number | bigint | string | NodeJS.ArrayBufferView | null

/** koffi names of the C types in use; `ssize_t` is not known to it, so say int64_t. */
export type CType =
  | 'void'
  | 'int'
  | 'int32_t'
  | 'uint32_t'
  | 'int64_t'
  | 'uint64_t'
  | 'size_t'
  | 'const char *'
  | 'void *'
  | 'const void *'

/** A C library function refused. Shaped like node's own system errors: `errno` is positive here. */
export class LibcError extends Error {
  override readonly name = 'LibcError'
  readonly errno: number
  readonly code: string
  readonly syscall: string

  constructor(syscall: string, errno: number) {
    const code = errnoName(errno) ?? `E${errno}`
    super(`${code}: ${syscall}`)
    this.errno = errno
    this.code = code
    this.syscall = syscall
  }
}

type Native = (...args: CArgument[]) => unknown

let loaded: LibraryHandle | undefined

/** glibc by its soname, else musl by its own, else whatever this process is linked with. */
function libc(): LibraryHandle {
  if (loaded !== undefined) return loaded
  const musl = process.arch === 'arm64' ? 'libc.musl-aarch64.so.1' : 'libc.musl-x86_64.so.1'
  for (const name of ['libc.so.6', musl]) {
    try {
      return (loaded = ffi().load(name))
    } catch {
      // not this C library: try the next
    }
  }
  return (loaded = ffi().load(null))
}

/** Ahead of the first call. */
export function loadLibrary(): void {
  libc()
}

/** Whether the C library has this function (`renameat2` and `openat2` came late, musl lacks some). */
export function hasFunction(name: string): boolean {
  try {
    libc().func(name, 'int', [])
    return true
  } catch {
    return false
  }
}

/**
 * A C function that answers a negative result with errno set. The returned function never throws for a refusal: it answers the
 * result, or `-errno` as a system call does, which is the cheap way where a refusal is ordinary (getxattr ENODATA).
 * The library is loaded at the first call, so importing a module costs nothing. A variadic function (open, fcntl, ioctl, syscall)
 * may be declared with the integer and pointer arguments it gets: Linux passes them alike on x64 and arm64.
 */
export function declareCall(name: string, result: CType, parameters: readonly CType[]) {
  let native: Native | undefined
  return (...args: CArgument[]): number => {
    native ??= libc().func(name, result, [...parameters]) as Native
    const answer = Number(native(...args))
    return answer < 0 ? -(ffi().errno() || ERRNO.EIO) : answer
  }
}

/** As declareCall, but a refusal is thrown as LibcError. */
export function declare(name: string, result: CType, parameters: readonly CType[]) {
  const call = declareCall(name, result, parameters)
  return (...args: CArgument[]): number => {
    const answer = call(...args)
    if (answer < 0) throw new LibcError(name, -answer)
    return answer
  }
}

/**
 * As declareCall, in a thread of its own, for what takes long. Answers -1 for a refusal and not why: errno stays in that thread. Views must
 * not be touched until it has answered.
 */
export function declareAsync(name: string, result: CType, parameters: readonly CType[]) {
  let native: ReturnType<LibraryHandle['func']> | undefined
  return (...args: CArgument[]): Promise<number> =>
    new Promise((resolve, reject) => {
      native ??= libc().func(name, result, [...parameters])
      native.async(...args, (error: Error | null, answer: unknown) => {
        if (error !== null) reject(error)
        else resolve(Math.max(-1, Number(answer)))
      })
    })
}

/** Where the bytes of a view are, for a structure that C reads. The view must outlive the call and own an ArrayBuffer. */
export function address(view: NodeJS.ArrayBufferView): bigint {
  return ffi().address(view)
}
