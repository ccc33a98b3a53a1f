// The mounts of this mount namespace, from /proc/self/mountinfo (proc_pid_mountinfo(5)). Reading it touches no mount.
import path from 'node:path'

const fs = process.getBuiltinModule('node:fs')
const realpath = process.getBuiltinModule('node:util').promisify(fs.realpath.native)

export interface MountInfo {
  readonly id: number
  /** `major:minor`, also the name under /sys/class/bdi and (minor) /sys/fs/fuse/connections. */
  readonly device: string
  /** Where it is mounted; bytes that are no UTF-8 appear as U+FFFD. */
  readonly path: string
  /** `fuse.karst`, `ext4`, ... */
  readonly type: string
  readonly source: string
  readonly options: readonly string[]
}

/** Space, tab, newline and backslash are written as three octal digits. */
function decodeOctal(text: string): string {
  const bytes = Buffer.from(text, 'utf8').toString('latin1')
  const plain = bytes.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 8)))
  return Buffer.from(plain, 'latin1').toString('utf8')
}

/** One line; `undefined` for one that does not look like a mount. */
export function parseMountInfoLine(line: string): MountInfo | undefined {
  const [before, after] = line.split(' - ', 2)
  const [id, , device, , where, options] = (before ?? '').split(' ')
  const [type, source, superOptions] = (after ?? '').split(' ')
  if (device === undefined || where === undefined || type === undefined) return undefined
  return {
    id: Number(id),
    device,
    path: decodeOctal(where),
    type: decodeOctal(type),
    source: decodeOctal(source ?? ''),
    options: [...new Set([...(options ?? '').split(','), ...(superOptions ?? '').split(',')])].filter((o) => o !== ''),
  }
}

/** The lines of a whole file, in the order the mounts were made. */
export function parseMountInfo(text: string): MountInfo[] {
  return text
    .split('\n')
    .map(parseMountInfoLine)
    .filter((mount) => mount !== undefined)
}

/** All mounts in the order they were made, later ones on top; `type` filters, for example /^fuse\.karst$/. */
export async function findMounts(type?: RegExp): Promise<MountInfo[]> {
  const mounts = parseMountInfo(fs.readFileSync('/proc/self/mountinfo', 'utf8'))
  return mounts.filter((mount) => type === undefined || type.test(mount.type))
}

/** What is mounted at exactly this place, the topmost of several. `dir` itself is not looked at where it is. */
export async function mountAt(dir: string): Promise<MountInfo | undefined> {
  const wanted = await placeOf(dir)
  return (await findMounts()).findLast((mount) => mount.path === wanted)
}

/** Symbolic links to one place that are followed, as many as the kernel does. */
const MOST_LINKS = 40

/** Absolute, symbolic links resolved. What is mounted there may be dead, and is not touched. */
export async function placeOf(dir: string, links = MOST_LINKS): Promise<string> {
  const place = await resolvedPlace(dir)
  if (links === 0 || (await findMounts()).some((mount) => mount.path === place)) return place
  const text = linkAt(place)
  return text === undefined ? place : placeOf(path.resolve(path.dirname(place), text), links - 1)
}

function linkAt(place: string): string | undefined {
  try {
    return fs.readlinkSync(place)
  } catch {
    return undefined
  }
}

/** Absolute, symlinks of the parent resolved. */
async function resolvedPlace(dir: string): Promise<string> {
  const absolute = path.resolve(dir)
  const parent = path.dirname(absolute)
  try {
    return path.join(await realpath(parent), path.basename(absolute))
  } catch {
    // an unreadable or missing parent: the name as it was given is all there is
    return absolute
  }
}
