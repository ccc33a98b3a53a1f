// What a FUSE mount can be asked for, whichever program makes it.

export interface MountOptions {
  /** The source shown by df and mount. */
  readonly fsname: string
  /** The mount's type is `fuse.` with this; 'karst' unless said otherwise. */
  readonly subtype?: string
  /** Users other than the mounting one may look. Not root: needs user_allow_other in /etc/fuse.conf. */
  readonly allowOther?: boolean
  /** The kernel checks modes and owners itself before asking. Off: the file system decides. */
  readonly defaultPermissions?: boolean
  readonly readOnly?: boolean
  /** The kernel runs no program that is there. */
  readonly noExec?: boolean
}

/** An open, mounted /dev/fuse. `fd` belongs to the caller: it goes to `openTransport`. */
export interface MountedDevice {
  readonly fd: number
}

/** Mounting or unmounting failed. `code` is an errno name where the program that was run names one. */
export class MountError extends Error {
  override readonly name = 'MountError'
  readonly code: string | undefined

  constructor(message: string, code?: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

export const DEFAULT_SUBTYPE = 'karst'

/** Options that both ways have in common. */
export function commonOptions(options: MountOptions): string[] {
  return [
    'nosuid',
    'nodev',
    ...(options.readOnly === true ? ['ro'] : []),
    ...(options.noExec === true ? ['noexec'] : []),
    ...(options.allowOther === true ? ['allow_other'] : []),
    ...(options.defaultPermissions === true ? ['default_permissions'] : []),
  ]
}
