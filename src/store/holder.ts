/** Which process holds an operation, and whether it still lives: processes on one host share the store's file. */
import { readFileSync, readlinkSync } from 'node:fs'

/** How long a holder that cannot be looked at (another container's) is believed to live, in milliseconds. */
const UNSEEN_MS = 60_000

/** Another one after every boot of the machine. */
export const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()

/** Names this process for good: boot, PID namespace, PID and start time, so that a PID used again is another process. */
export function thisProcess(): string {
  return `${bootId()} ${pidNamespace()} ${process.pid} ${startOf(process.pid)}`
}

/** Whether the process that took something at `since` (milliseconds since 1970) may still be at work. */
export function mayLive(holder: string, self: string, since: number, now: number): boolean {
  if (holder === self) return true
  const [boot, namespace, pid, start] = holder.split(' ')
  const [ourBoot, ourNamespace] = self.split(' ')
  if (boot !== ourBoot) return false
  if (namespace !== ourNamespace) return now - since < UNSEEN_MS
  return startOf(Number(pid)) === start
}

const pidNamespace = (): string => readlinkSync('/proc/self/ns/pid').replace(/\D/g, '')

// proc(5): fields 3 (state) and 22 (start time in ticks since boot); the name in field 2 may hold blanks and brackets.
// Zombies and the dead count as gone: undefined.
function startOf(pid: number): string | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return undefined // no such process
  }
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
}
