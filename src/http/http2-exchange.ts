/** Requests and responses of HTTP/2 that behave as those of HTTP/1.1 do where handlers depend on it: when a client goes away, and when an answer is broken off. */
import { type IncomingMessage, type ServerResponse } from 'node:http'
import { constants, Http2ServerRequest, Http2ServerResponse, type ServerHttp2Stream } from 'node:http2'

/** Node's own ends the body of a client that has gone away as if it had been whole. */
export class Http2Request extends Http2ServerRequest {
  constructor(...args: ConstructorParameters<typeof Http2ServerRequest>) {
    super(...args)
    this.stream.once('aborted', () => this.destroy(new Error('the client went away')))
  }

  /** Whoever destroys a request does not wait for its answer either; an error is for those who listen, as in HTTP/1.1. */
  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (!this.stream.closed) this.stream.close(constants.NGHTTP2_CANCEL)
    callback(this.listenerCount('error') > 0 ? error : null)
  }
}

/** All of the body has come and was read, or there is none. Node's own says so of one that was broken off, too. */
Object.defineProperty(Http2Request.prototype, 'complete', {
  get(this: Http2Request) {
    return this.stream.endAfterHeaders || (this.readableEnded && !this.aborted)
  },
})

/** Node's own tells the client of a response destroyed midway that it was whole. */
export class Http2Response extends Http2ServerResponse {
  override destroy(error: Error = new Error('the response was broken off')): this {
    super.destroy(error)
    return this
  }
}

/** The stream of a request or response; undefined: it came by HTTP/1.1, which has none. */
export function streamOf(exchange: IncomingMessage | ServerResponse): ServerHttp2Stream | undefined {
  const one: object = exchange
  return one instanceof Http2ServerRequest || one instanceof Http2ServerResponse ? one.stream : undefined
}

/** Asks the client of a stream to stop sending, now that it has its answer (RFC 9113, 8.1). */
export function refuseRest(stream: ServerHttp2Stream): void {
  if (!stream.closed) stream.close(constants.NGHTTP2_NO_ERROR)
}
