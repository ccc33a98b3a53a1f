// By which right a session mounts: root's own, that of a user namespace, or fusermount3's.
import { whyNoDevice, mayMount, whyNoFuse } from '../fuse/privilege.ts'
import { MountError } from '../fuse/mount-options.ts'
import { runProgram } from '../fuse/run-program.ts'

/**
 * root: in a mount namespace of its own, dropping to the user. userns: the same in a user namespace. fusermount: where it is called, as who called.
 */
export const WAYS = ['root', 'userns', 'fusermount'] as const
export type Way = (typeof WAYS)[number]

const ALLOW = 'start it as root with CAP_SYS_ADMIN, or where sysctl user.max_user_namespaces is above 0'

/** The best way there is, or whether the one asked for is. Throws MountError with one sentence on what is missing. */
export async function wayFor(asked: Way | undefined): Promise<Way> {
  const noDevice = await whyNoDevice()
  if (noDevice !== null) throw new MountError(noDevice, 'ENODEV')
  const isRoot = await mayMount()
  if (asked === 'root' && !isRoot)
    throw new MountError('--way root needs root with CAP_SYS_ADMIN: leave --way out, and another is found', 'EPERM')
  if (isRoot && (asked === undefined || asked === 'root')) return 'root'
  const noUserns = asked === 'fusermount' ? 'it was not asked for' : await whyNoUserNamespace()
  if (noUserns === null) return 'userns'
  if (asked === 'userns') throw new MountError(`no user namespace can be made here (${noUserns}): ${ALLOW}`, 'EPERM')
  const noFusermount = await whyNoFuse()
  if (noFusermount === null) return 'fusermount'
  const neither = `${noFusermount.replace(/\.$/, '')}, and no user namespace can be made (${noUserns})`
  throw new MountError(`nothing can be mounted here: ${neither}: ${ALLOW}`, 'EPERM')
}

async function whyNoUserNamespace(): Promise<string | null> {
  const { status, output } = await runProgram('unshare', ['--user', '--map-root-user', '--mount', 'true'])
  return status === 0 ? null : output
}
