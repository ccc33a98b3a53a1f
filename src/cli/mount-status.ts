/** `karst mount status`: what the driver tells of its mounts. */
import { askDriver, type ControlReply, type MountStatus } from '../../mount/control.ts'
import { placeOf } from '../../mount/fuse/mountinfo.ts'
import { socketOf } from '../../mount/state.ts'
import { mountEnvironment } from '../environment.ts'
import { complain, readWords, say } from './command.ts'

/** Milliseconds. */
const LIMIT = 10_000

/** Exit code 1 where nothing (or not the directory that was named) is mounted. */
export async function mountStatus(words: readonly string[]): Promise<number> {
  const { values, positionals } = readWords(words, { json: { type: 'boolean' } }, { min: 0, max: 1 })
  const [dir] = positionals
  const place = dir === undefined ? undefined : await placeOf(dir)
  const reply = await askDriver(socketOf(mountEnvironment().state), { command: 'status' }, LIMIT)
  const status = reply?.ok === true ? reply : undefined
  const mounts = (status?.mounts ?? []).filter((mount) => place === undefined || mount.dir === place)
  if (values.json === true) say(JSON.stringify({ pid: status?.pid ?? null, cache: status?.cache ?? null, mounts }))
  else if (status !== undefined && mounts.length > 0) for (const line of described(status, mounts)) say(line)
  if (mounts.length > 0) return 0
  if (values.json !== true) complain(dir === undefined ? 'nothing is mounted' : `nothing of ours is mounted at ${dir}`)
  return 1
}

function described(status: Extract<ControlReply, { ok: true }>, mounts: readonly MountStatus[]): string[] {
  const { pid, cache } = status
  const ahead = cache === undefined ? '' : `, ${size(cache.used)} of ${size(cache.limit)} read ahead`
  return [`driver ${pid}${ahead}`, ...mounts.flatMap(lines)]
}

function lines(mount: MountStatus): string[] {
  const { latency, lastError } = mount
  return [
    `${mount.dir}  ${mount.source}${mount.readOnly ? '  read-only' : ''}`,
    `  ${mount.openFiles} open files, ${mount.dirtyFiles} with ${size(mount.dirtyBytes)} to send, spool ${size(mount.spoolBytes)}`,
    `  ${mount.inodes} nodes known, ${mount.locks} locks; ${mount.survives ? 'survives its driver' : 'does not survive its driver'}`,
    `  ${latency.count} requests: half within ${latency.p50} ms, 95% ${latency.p95}, 99% ${latency.p99}, longest ${latency.longest}`,
    ...(lastError === undefined ? [] : [`  last failure ${lastError.at}: ${lastError.message}`]),
  ]
}

function size(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit] ?? ''}`
}
