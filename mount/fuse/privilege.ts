// What this process may do about FUSE mounts, and one sentence on why it cannot.
import path from 'node:path'
import { DEVICE } from './mount-root.ts'
import { FUSERMOUNT, PROGRAM_FOLDERS } from './run-program.ts'

const fs = process.getBuiltinModule('node:fs')

const CAP_SYS_ADMIN = 21n
/** Character device 10:229, as stat(2) has it. */
const FUSE_DEVICE = (10 << 8) | 229

/** Fields of /proc/self/status. */
function statusField(name: string): string {
  const status = fs.readFileSync('/proc/self/status', 'latin1')
  return new RegExp(`^${name}:\\s*(\\S+)$`, 'm').exec(status)?.[1] ?? ''
}

function hasSysAdmin(set: 'CapEff' | 'CapBnd'): boolean {
  return ((BigInt(`0x${statusField(set) || '0'}`) >> CAP_SYS_ADMIN) & 1n) === 1n
}

/** Whether mount(2) is open to this process: root with CAP_SYS_ADMIN. */
export async function mayMount(): Promise<boolean> {
  return process.geteuid?.() === 0 && hasSysAdmin('CapEff')
}

/** Why no FUSE file system can be mounted here, one sentence; null when it should work. */
export async function whyNoFuse(): Promise<string | null> {
  if (process.platform !== 'linux') return 'FUSE mounts need Linux.'
  const device = await whyNoDevice()
  if (device !== null || (await mayMount())) return device
  return whyNoFusermount()
}

/** Why /dev/fuse cannot be opened, one sentence; null when it can. */
export async function whyNoDevice(): Promise<string | null> {
  try {
    const device = fs.openSync(DEVICE, fs.constants.O_RDWR)
    const { rdev } = fs.fstatSync(device)
    fs.closeSync(device)
    if (rdev === FUSE_DEVICE) return null
    return `${DEVICE} is another device here: the container is to be given the node's own (--device ${DEVICE}).`
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT')
      return `There is no ${DEVICE} here: the fuse module is not loaded, or the container was not given it.`
    if (code === 'EACCES') return `This user may not open ${DEVICE}: it needs mode 0666, or this user its group.`
    if (code === 'EPERM') return `The container's device rules forbid ${DEVICE}: start it with --device ${DEVICE}.`
    if (code === 'ENODEV' || code === 'ENXIO') return `The kernel has no FUSE behind ${DEVICE}: load its fuse module.`
    return `${DEVICE} cannot be opened: ${code ?? String(error)}.`
  }
}

async function whyNoFusermount(): Promise<string | null> {
  const program = findProgram(FUSERMOUNT)
  if (program === undefined) {
    return `Mounting needs root with CAP_SYS_ADMIN, or ${FUSERMOUNT} (package fuse3), which is not installed.`
  }
  if (statusField('NoNewPrivs') === '1') {
    return `${FUSERMOUNT} cannot gain the right to mount here: no_new_privs is set (allowPrivilegeEscalation: false).`
  }
  if (!hasSysAdmin('CapBnd')) {
    return `${FUSERMOUNT} cannot gain the right to mount here: CAP_SYS_ADMIN is not in the bounding set.`
  }
  return null
}

function findProgram(name: string): string | undefined {
  for (const folder of PROGRAM_FOLDERS) {
    const file = path.join(folder, name)
    try {
      fs.accessSync(file, fs.constants.X_OK)
      return file
    } catch {
      // not in this folder
    }
  }
  return undefined
}
