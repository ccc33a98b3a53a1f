/** Jobs that the gateway was given: waited for, with a sign on a terminal of how far they are. */
import { type Ask } from './service.ts'

/** A job as the JSON of the gateway says it. */
export interface JobRow {
  readonly phase: string
  /** nodes, or whatever it counts */
  readonly done: number
  readonly error?: string
}

const GOING = ['PENDING', 'QUEUED', 'EXECUTING']

/** The job at `place`, below the service base, when it has ended. Tells a terminal how many of `what` are done. */
export async function ended<Row extends JobRow>(ask: Ask, place: string, what = 'nodes'): Promise<Row> {
  const { stderr } = process
  for (;;) {
    const job = (await ask('GET', `${place}?wait=1`)) as Row
    const isGoing = GOING.includes(job.phase)
    if (stderr.isTTY) stderr.write(isGoing ? `\r${job.done} ${what}` : '\r\x1b[K')
    if (!isGoing) return job
  }
}

/** How one ended that is not COMPLETED. */
export const endOf = ({ phase, error }: JobRow): string => `${phase}${error === undefined ? '' : `: ${error}`}`
