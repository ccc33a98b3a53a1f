// The driver as a process of its own, started by `karst mount`: argv holds the state directory and the first request.
import { type MountRequest } from './control.ts'
import { runDriver, StateInUse, type DaemonMessage } from './daemon.ts'
import { driverLog } from './log.ts'

const [, , stateDir = '', request = ''] = process.argv
const log = driverLog((line) => process.stderr.write(line))
const controller = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => controller.abort())
// the terminal of whoever called `karst mount` may close
process.on('SIGHUP', () => undefined)

function tell(message: DaemonMessage): void {
  // whoever started the driver may have given up waiting
  if (process.connected) process.send?.(message, () => process.disconnect?.())
}

try {
  await runDriver(stateDir, JSON.parse(request) as MountRequest, {
    log,
    signal: controller.signal,
    ready: () => tell({}),
  })
} catch (error) {
  const { code, errno } = error as { code?: string; errno?: string }
  const why = error instanceof Error ? error.message : String(error)
  tell({ error: why, code: error instanceof StateInUse ? 'StateInUse' : (code ?? errno ?? 'EIO') })
  log.error('driver', error)
  process.exitCode = 1
}
