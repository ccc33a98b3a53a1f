/** Whether this process may keep a tree as root does. */
import { readFileSync } from 'node:fs'

/** capability(7): other owners, their files, their modes, and trusted.* attributes (CAP_SYS_ADMIN, which root in a container lacks). */
const NEEDED = { CAP_CHOWN: 0n, CAP_DAC_OVERRIDE: 1n, CAP_FOWNER: 3n, CAP_SYS_ADMIN: 21n }

/** What this process lacks for mode `root`, by name; [] when it has all. */
export function lackingPrivileges(status = readFileSync('/proc/self/status', 'latin1')): string[] {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`)
  const lacking = Object.entries(NEEDED).filter(([, bit]) => ((effective >> bit) & 1n) === 0n)
  return [...(process.geteuid?.() === 0 ? [] : ['root']), ...lacking.map(([name]) => name)]
}
