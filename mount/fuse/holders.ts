// Who keeps a mount in use, for those who want it gone. Everything is read from /proc: nothing of the mount itself is touched.
import { readdir, readFile, readlink } from 'node:fs/promises'
import { parseMountInfo } from './mountinfo.ts'

/**
 * Programs with a file, a mapping or a working directory on the file system of the device (`major:minor`), each as `name (pid)`, and
 * mount namespaces that have it, each by one of their programs. Only those that the caller may look at. See proc_pid_fdinfo(5).
 */
export async function holdersOf(device: string): Promise<string[]> {
  const names = await readdir('/proc')
  const own = await readlink('/proc/self/ns/mnt')
  const namespaces = new Set([own])
  const holders: string[] = []
  for (const pid of names.filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)) {
    try {
      const how = await holds(pid, device, namespaces)
      if (how !== undefined) holders.push(how)
    } catch {
      // it has ended, or is another user's
    }
  }
  return holders
}

async function holds(pid: string, device: string, namespaces: Set<string>): Promise<string | undefined> {
  const proc = `/proc/${pid}`
  const who = `${(await readFile(`${proc}/comm`, 'utf8')).trim()} (${pid})`
  const mounts = parseMountInfo(await readFile(`${proc}/mountinfo`, 'utf8')).filter((mount) => mount.device === device)
  const ids = new Set(mounts.map(({ id }) => String(id)))
  for (const fd of await readdir(`${proc}/fdinfo`)) {
    const [, id = ''] = /^mnt_id:\s*(\d+)$/m.exec(await readFile(`${proc}/fdinfo/${fd}`, 'utf8').catch(() => '')) ?? []
    if (ids.has(id)) return who
  }
  const places = await Promise.all(['cwd', 'root'].map((name) => readlink(`${proc}/${name}`)))
  if (mounts.some(({ path }) => places.some((place) => `${place}/`.startsWith(`${path}/`)))) return who
  if (hasMapped(await readFile(`${proc}/maps`, 'utf8'), device)) return who
  if (ids.size === 0) return undefined
  const namespace = await readlink(`${proc}/ns/mnt`)
  if (namespaces.has(namespace)) return undefined
  namespaces.add(namespace)
  return `the mount namespace of ${who}`
}

/** The fourth word of a line of maps is the device, in hexadecimal digits. */
function hasMapped(maps: string, device: string): boolean {
  const [major = 0, minor = 0] = device.split(':').map(Number)
  const hex = (part: number): string => part.toString(16).padStart(2, '0')
  const wanted = `${hex(major)}:${hex(minor)}`
  return maps.split('\n').some((line) => line.split(' ')[3] === wanted)
}
