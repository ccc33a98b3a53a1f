// The driver as a process of its own, started by a supervisor: argv holds the state directory, the supervisor's number and, for
// the first driver there, the first request. Without one it goes on with the mounts of the driver before it.
import { type MountRequest } from './control.ts'
import { runDriver, StateInUse, type DaemonMessage } from './daemon.ts'
import { DescriptorStore } from './fuse/descriptor-store.ts'
import { driverLog } from './log.ts'
import { ENDED, REFUSED, STORE_ENDS } from './supervisor.ts'

const [, , stateDir = '', supervisor = '', request = ''] = process.argv
const log = driverLog((line) => process.stderr.write(line))
const controller = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => controller.abort())
// the terminal of whoever called `karst mount` may close
process.on('SIGHUP', () => undefined)

let isTold = false
// nobody hands in the device, nor unmounts, of who was killed while this started
process.once('disconnect', () => {
  if (!isTold) process.exit(REFUSED)
})

function tell(message: DaemonMessage): void {
  isTold = true
  // whoever started the driver may have given up waiting
  if (process.connected) process.send?.(message, () => process.disconnect?.())
}

let isReady = false
try {
  await runDriver(stateDir, {
    log,
    signal: controller.signal,
    store: new DescriptorStore(STORE_ENDS),
    supervisor: Number(supervisor),
    ...(request !== '' && { first: JSON.parse(request) as MountRequest }),
    ready: () => {
      isReady = true
      tell({})
    },
  })
  process.exitCode = ENDED
} catch (error) {
  const { code, errno } = error as { code?: string; errno?: string }
  const why = error instanceof Error ? error.message : String(error)
  tell({ error: why, code: error instanceof StateInUse ? 'StateInUse' : (code ?? errno ?? 'EIO') })
  log.error('driver', error)
  process.exitCode = isReady || request === '' ? 1 : REFUSED
}
