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
