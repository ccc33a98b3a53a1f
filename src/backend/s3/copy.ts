/** The server copies an object, in one request or, where it is too large for one, in ranges. */
import { type NodeRow } from '../../store/catalog.ts'
import { Fault } from '../../vospace/fault.ts'
import { type Composed, type ComposeSettings } from './amend.ts'
import { type Bucket } from './bucket.ts'
import { type NoteUpload, Parts } from './upload.ts'

export async function copyObject(
  bucket: Bucket,
  { key: from, etag, size, md5 }: Pick<NodeRow, 'key' | 'etag' | 'size' | 'md5'>,
  key: string,
  settings: ComposeSettings,
  {
    note,
    signal,
    from: source,
  }: { readonly note: NoteUpload; readonly signal: AbortSignal | undefined; readonly from?: string },
): Promise<Composed> {
  if (from === null) throw new Fault('InternalFault', 'a node with bytes has no object')
  const known = md5 === null ? {} : { md5 }
  if (size <= settings.copyBytes) return { size, ...known, etag: await bucket.copy(from, etag, key, signal, source) }
  const parts = await Parts.begin(bucket, key, settings, { signal, note })
  try {
    const each = Math.ceil(size / Math.ceil(size / settings.copyBytes))
    for (let start = 0; start < size; start += each) {
      await parts.copy({ from, bucket: source, etag, start, end: Math.min(start + each, size) })
    }
    return { size, ...known, etag: (await parts.complete(size)).etag }
  } catch (error) {
    await parts.abort()
    throw error
  }
}
