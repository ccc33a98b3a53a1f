// What a session had of the gateway is given back at its end.
import { asking } from '../asking.ts'
import { type SessionNote } from './run-folder.ts'
import { leavePartitions } from './terms.ts'

/** Milliseconds: the end of a session waits for no gateway that is silent, which removes by itself what has expired. */
const LIMIT = 10_000

/** Throws Faults: ServiceBusy where there is no answer in time. */
export async function leaveGateway({ gateway, ...name }: SessionNote, limit = LIMIT): Promise<void> {
  if (gateway === undefined) return
  const { url, ca, ...credential } = gateway
  const ask = await asking(url, credential, ca, { signal: () => AbortSignal.timeout(limit) })
  await leavePartitions(ask, name)
}
