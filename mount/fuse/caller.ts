// What can be known about the program behind a request.
import { readFile } from 'node:fs/promises'

/** Bit of SIGKILL in the low word of a signal mask of /proc. A fatal signal of any kind appears as this one. */
const KILL_BIT = 1 << 8
const PENDING = /^(?:SigPnd|ShdPnd):\s*[0-9a-f]*?([0-9a-f]{1,8})$/gm

/**
 * Whether the thread waits to die. The kernel passes on every signal as an interrupt, harmless ones too (the Go runtime
 * sends itself SIGURG all the time), and a program does not expect EINTR from a file because of those.
 * False where it cannot be seen: pid 0, or a /proc that hides it.
 */
export async function isBeingKilled(pid: number): Promise<boolean> {
  if (pid === 0) return false
  try {
    const status = await readFile(`/proc/${pid}/status`, 'latin1')
    for (const [, mask] of status.matchAll(PENDING)) if (parseInt(mask ?? '0', 16) & KILL_BIT) return true
    return false
  } catch {
    // gone or hidden: then nobody we know of waits
    return false
  }
}

const PF_EXITING = 4

/** Whether the thread is on its way out: nobody will look at what its last calls answer. */
export async function isExiting(pid: number): Promise<boolean> {
  if (pid === 0) return false
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1')
    // the name in parentheses may hold anything; flags are field 9
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[6] ?? 0) & PF_EXITING) !== 0
  } catch {
    return false // gone or hidden
  }
}
