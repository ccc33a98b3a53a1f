/** Takes out of the trash what has waited long enough, now and then. */
import { type JobLog } from '../jobs/kind.ts'
import { sweepTrash } from './trash.ts'
import { type Space } from './space.ts'

const HOUR_MS = 3_600_000

/** Sweeps at once and every hour; what fails is told to the log and tried again. Answers how to end it. */
export function sweepHourly(space: Space, log: JobLog, everyMs: number = HOUR_MS): () => void {
  let isBusy = false
  const sweep = async (): Promise<void> => {
    if (isBusy) return
    isBusy = true
    try {
      const removed = await sweepTrash(space)
      if (removed > 0) log.info({ removed }, 'taken out of the trash for good')
    } catch (error) {
      log.warn({ err: error }, 'the trash could not be swept')
    } finally {
      isBusy = false
    }
  }
  const timer = setInterval(() => void sweep(), everyMs)
  timer.unref()
  void sweep()
  return () => clearInterval(timer)
}
