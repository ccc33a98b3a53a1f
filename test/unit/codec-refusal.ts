/** What a reader refuses. */
import { type Fault, isFault } from '../../src/vospace/fault.ts'

/** The Fault it throws; anything else that is thrown goes on, and to throw nothing is an error. */
export function refusal(read: () => unknown): Fault {
  try {
    read()
  } catch (error) {
    if (isFault(error)) return error
    throw error
  }
  throw new Error('it was read')
}
