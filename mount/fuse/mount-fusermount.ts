// Mounting without privilege: fusermount3 (set-user-ID root) opens and mounts /dev/fuse and sends the descriptor back
// over a socket, whose number it finds in _FUSE_COMMFD.
import { LibcError } from '../../src/libc/ffi.ts'
import { closeDescriptor, receiveDescriptor, socketPair } from '../../src/libc/socket.ts'
import { commonOptions, DEFAULT_SUBTYPE, MountError, type MountedDevice, type MountOptions } from './mount-options.ts'
import { FUSERMOUNT, runProgram } from './run-program.ts'

/** Commas separate options; fusermount3 takes them back out of a backslash. */
function escaped(value: string): string {
  return value.replace(/[\\,]/g, '\\$&')
}

/** Mounts on the directory `dir`, which must be writable by the user. Throws MountError. */
export async function mountByFusermount(dir: string, options: MountOptions): Promise<MountedDevice> {
  const [ours, theirs] = socketPair()
  try {
    const wanted = [`fsname=${escaped(options.fsname)}`, `subtype=${escaped(options.subtype ?? DEFAULT_SUBTYPE)}`]
    const args = ['-o', [...wanted, ...commonOptions(options)].join(','), '--', dir]
    const { output } = await runProgram(FUSERMOUNT, args, { descriptor: theirs, env: { _FUSE_COMMFD: '3' } })
    const fd = receiveDescriptor(ours)
    if (fd === undefined) throw new MountError(`${FUSERMOUNT} ${dir}: ${output || 'no descriptor came back'}`)
    return { fd }
  } catch (error) {
    if (error instanceof MountError) throw error
    const code = error instanceof LibcError ? error.code : (error as NodeJS.ErrnoException).code
    throw new MountError(`cannot run ${FUSERMOUNT}`, code, { cause: error })
  } finally {
    closeDescriptor(ours)
    closeDescriptor(theirs)
  }
}
