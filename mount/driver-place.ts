// Where the driver of a state directory is found: its control socket, and whether it or its supervisor lives.
import * as path from 'node:path'

const fs = process.getBuiltinModule('node:fs')

/** The control socket of the driver that owns a state directory. */
export function socketOf(state: string): string {
  return path.join(state, 'driver.sock')
}

/** The socket at which it takes devices. */
export function devicesOf(state: string): string {
  return path.join(state, 'devices.sock')
}

/** Notes the process that starts drivers for a state directory, for `isSupervised`. */
export function recordSupervisor(state: string, pid: number): void {
  fs.writeFileSync(path.join(state, 'supervisor'), processMark(pid) ?? '', { mode: 0o600 })
}

/** Whether a driver that does not answer is about to be replaced by another one. */
export function isSupervised(state: string): boolean {
  const mark = readIfThere(path.join(state, 'supervisor'))
  return mark !== undefined && mark !== '' && isAlive(mark)
}

export function readIfThere(file: string): string | undefined {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

export function isAlive(mark: string): boolean {
  return processMark(Number(mark.split(' ')[0])) === mark
}

/** Process id and start time, so that a number used again is not taken for its owner; undefined when there is no such process. */
export function processMark(pid: number): string | undefined {
  const stat = readIfThere(`/proc/${pid}/stat`)
  // the name in parentheses may hold anything; state is field 3, start time field 22
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  if (fields === undefined || fields[0] === 'Z') return undefined
  return `${pid} ${fields[19]}`
}
