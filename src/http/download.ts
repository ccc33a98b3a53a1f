/** GET of bytes: conditions, one range, and then the stream straight to the socket. */
import { type FastifyReply, type FastifyRequest } from 'fastify'
import { type OutgoingHttpHeaders, type ServerResponse } from 'node:http'
import { type Readable } from 'node:stream'
import { Fault, isFault } from '../vospace/fault.ts'
import { type Entry } from '../vospace/node.ts'
import { readRange, type WholeRange } from './byte-range.ts'
import { answerHead, takeOver } from './endpoint.ts'
import { checkUnchanged, isUnmodified, rangeApplies } from './preconditions.ts'
import { clientGone } from './request-body.ts'

/** How often a file may change under a request before it is given up. */
const ATTEMPTS = 3

/** Up to so many bytes go out in one write with their headers. */
const SMALL = 1 << 16

/** Where the bytes come from: one look at what is there, and then the bytes of that very version. */
export interface Source {
  look(): Promise<{ readonly entry: Entry; readonly headers: OutgoingHttpHeaders }>
  open(options: {
    readonly range?: WholeRange
    readonly ifContentVersion: string
    readonly signal: AbortSignal
  }): Promise<{ readonly body: Readable }>
  /** The last byte of the file has gone out. */
  sent?(): void
}

/** Answers a GET of bytes. */
export async function sendFile(source: Source, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const signal = clientGone(reply.raw)
  for (let attempt = 1; ; attempt++) {
    const { entry, headers } = await source.look()
    checkUnchanged(request.headers, entry)
    if (isUnmodified(request.headers, entry)) return answerHead(reply, 304, headers)
    const range = rangeOf(request, reply, entry)
    try {
      const { body } = await source.open({ ...(range && { range }), ifContentVersion: entry.contentVersion, signal })
      const isWhole = await sendBytes(reply, { body, entry, headers, range })
      if (isWhole && (range === undefined || range.end === entry.size - 1)) source.sent?.()
      return reply
    } catch (error) {
      // replaced between the two looks: what was said of the old bytes must not go with the new
      if (!isFault(error, 'PreconditionFailed')) throw error
      if (attempt === ATTEMPTS) throw new Fault('ServiceBusy', 'the file keeps changing', { cause: error })
    }
  }
}

/** The range that is asked for and may be answered. A refusal tells the size (RFC 9110, 15.5.17). */
function rangeOf(request: FastifyRequest, reply: FastifyReply, entry: Entry): WholeRange | undefined {
  if (!rangeApplies(request.headers, entry)) return undefined
  try {
    return readRange(request.headers.range, entry.size)
  } catch (error) {
    if (isFault(error, 'RangeNotSatisfiable')) reply.header('Content-Range', `bytes */${entry.size}`)
    throw error
  }
}

interface Bytes {
  readonly body: Readable
  readonly entry: Entry
  readonly headers: OutgoingHttpHeaders
  readonly range: WholeRange | undefined
}

/** 200, 206, or 204 for an empty file (wire.md trap 17). False: the client went away before the end. */
async function sendBytes(reply: FastifyReply, { body, entry, headers, range }: Bytes): Promise<boolean> {
  if (entry.size === 0) {
    body.destroy()
    answerHead(reply, 204, headers)
    return true
  }
  const length = range === undefined ? entry.size : range.end - range.start + 1
  const partial = range && { 'Content-Range': `bytes ${range.start}-${range.end}/${entry.size}` }
  const status = range === undefined ? 200 : 206
  const raw = takeOver(reply, status, { ...headers, ...partial, 'Content-Length': length })
  // written together with them, the first chunk would be copied
  if (length > SMALL) raw.flushHeaders()
  try {
    await pour(body, raw)
  } catch (error) {
    // the promised length is never reached: the client sees that it does not have the whole
    if (!raw.writableFinished) reply.log.info({ reason: String(error) }, 'a download was cut')
    raw.destroy()
    return false
  }
  return true
}

/** A body that reads into its own buffers again once they are written: to allocate them anew costs as much as to encrypt them. */
type Recycling = Readable & { recycle?(chunk: Buffer): void }

/** Like pipeline, and gives each chunk back when its bytes have gone. Rejects when either side ends early. */
async function pour(body: Recycling, raw: ServerResponse): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      const gone = (): void => reject(new Error('the client went away'))
      if (raw.destroyed) gone()
      raw.once('close', gone)
      raw.on('drain', () => body.resume())
      body.once('error', reject)
      body.once('end', () => raw.end(resolve))
      body.on('data', (chunk: Buffer) => {
        // of one that broke off nobody knows whether its bytes have gone
        const written = (error?: Error | null): void => void (error ?? body.recycle?.(chunk))
        if (!raw.write(chunk, written)) body.pause()
      })
    })
  } finally {
    body.destroy()
  }
}
