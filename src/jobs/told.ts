/** Jobs that no client of the standard looks at: how they failed says what is to be done. */
import { isFault } from '../vospace/fault.ts'
import { type Kind } from './kind.ts'

/** The same work, but a Fault ends it in ERROR with its token and its words; an InternalFault is told to the log instead, and an interruption goes on later. */
export function told(run: Kind['run']): Kind['run'] {
  return async (context) => {
    try {
      return await run(context)
    } catch (error) {
      if (context.signal.aborted || !isFault(error) || error.fault === 'InternalFault') throw error
      return { phase: 'ERROR', error: `${error.fault}: ${error.detail}` }
    }
  }
}
