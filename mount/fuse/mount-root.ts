// Mounting with the privilege to mount: open /dev/fuse, give the descriptor to mount(8).
import { commonOptions, DEFAULT_SUBTYPE, MountError, type MountedDevice, type MountOptions } from './mount-options.ts'
import { runProgram } from './run-program.ts'

const fs = process.getBuiltinModule('node:fs')

export const DEVICE = '/dev/fuse'

/** Mounts on the directory `dir`. Throws MountError. */
export async function mountAsRoot(dir: string, options: MountOptions): Promise<MountedDevice> {
  const fd = openDevice()
  try {
    const wanted = [
      'fd=3',
      'rootmode=40000',
      `user_id=${process.getuid?.() ?? 0}`,
      `group_id=${process.getgid?.() ?? 0}`,
      // not as `-t fuse.karst`: mount(8) of util-linux 2.41 loses what is after the dot
      `subtype=${options.subtype ?? DEFAULT_SUBTYPE}`,
    ]
    // -i: no mount.fuse program, which would start a file system of its own
    const args = ['-i', '-t', 'fuse', '-o', [...wanted, ...commonOptions(options)].join(','), '--', options.fsname, dir]
    const { status, output } = await runProgram('mount', args, { descriptor: fd })
    if (status !== 0) throw new MountError(`mount ${dir}: ${output}`)
    return { fd }
  } catch (error) {
    fs.closeSync(fd)
    if (error instanceof MountError) throw error
    throw new MountError('cannot run mount(8)', (error as NodeJS.ErrnoException).code, { cause: error })
  }
}

function openDevice(): number {
  try {
    // the descriptor outlives this function, so it may not stay with a FileHandle, which closes it when collected
    return fs.openSync(DEVICE, fs.constants.O_RDWR)
  } catch (error) {
    throw new MountError(`cannot open ${DEVICE}`, (error as NodeJS.ErrnoException).code, { cause: error })
  }
}
