// Bytes of a remote in memory of their own, for those who keep them.
import { Inlet } from './inlet.ts'
import { type Remote, type RemoteRef } from './remote.ts'

/** Bytes `start` to `end` inclusive; fewer at the end of the file. Refuses as Remote.read does. */
export async function readBytes(
  remote: Pick<Remote, 'read'>,
  ref: RemoteRef,
  { start, end }: { readonly start: number; readonly end: number },
  options: Parameters<Remote['read']>[3] = {},
): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(end - start + 1)
  const inlet = new Inlet([bytes], bytes.length)
  await remote.read(ref, start, inlet, options)
  return bytes.subarray(0, inlet.count)
}
