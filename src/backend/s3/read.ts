/** Bytes of an object as a stream: of one version, to the last one, taken up again where the connection broke off. */
import { Readable } from 'node:stream'
import { Fault, isFault } from '../../vospace/fault.ts'
import { type Bucket } from './bucket.ts'
import { type ReadAhead, spread } from './read-ahead.ts'
import { refusal } from './refusal.ts'

export interface Span {
  readonly key: string
  readonly etag: string | null
  readonly start: number
  readonly count: number
}

/** How often the rest is asked for without a byte coming in between. */
const RESUMPTIONS = 3

/**
 * Resolves when the first answer has come, so that a refusal is one. Whoever does not read to the end destroys it. `ahead`: several ranges at
 * once, where one connection is slower than who reads.
 */
export async function openSpan(bucket: Bucket, span: Span, signal?: AbortSignal, ahead?: ReadAhead): Promise<Readable> {
  const { count } = span
  if (count === 0) return Readable.from([], { objectMode: false })
  const over = new AbortController()
  const stop = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal])
  const open = async (range: Span): Promise<AsyncGenerator<Buffer>> =>
    pieces(bucket, range, await bucket.get(range.key, range.etag, range.start, range.count, stop), stop)
  const bytes = ahead === undefined ? await open(span) : await spread(span, open, ahead)
  const body = Readable.from(bytes, { objectMode: false, highWaterMark: 2 ** 18 })
  // not left to the generator: it may be waiting for a byte that never comes
  body.once('close', () => over.abort())
  return body
}

async function* pieces(bucket: Bucket, span: Span, first: Readable, signal: AbortSignal): AsyncGenerator<Buffer, void> {
  const { key, etag, start, count } = span
  let done = 0
  let body = first
  for (let tries = RESUMPTIONS; ; tries--) {
    try {
      for await (const piece of body) {
        const bytes = piece as Buffer
        done += bytes.length
        if (done > count) throw new Fault('TransferFailed', 'the object store answers more bytes than were asked for')
        yield bytes
        tries = RESUMPTIONS
      }
      if (done === count) return
      throw new Fault('TransferFailed', `the object store broke off after ${done} of ${count} bytes`)
    } catch (error) {
      body.destroy()
      if (tries === 0 || signal.aborted || (isFault(error) && done > count)) throw refusal(error)
    }
    body = await bucket.get(key, etag, start + done, count - done, signal)
  }
}
