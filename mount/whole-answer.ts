/** One request whose answer is wanted whole, taken as it comes: a stream made for each costs more than all else that is done for it here. */
import { type Dispatcher } from 'undici'
import { malformed } from './refusal.ts'

export interface WholeAnswer {
  readonly statusCode: number
  readonly headers: Dispatcher.ResponseData['headers']
  readonly body: Buffer
}

export interface WholeRequest extends Dispatcher.DispatchOptions {
  readonly signal?: AbortSignal | undefined
}

/** Bytes: of an answer, of which more are InternalFault, and of a refusal, of which no more are read. */
export interface Most {
  readonly answer: number
  readonly refusal: number
}

/** Rejects with the connection's error, or at once with the signal's reason. */
export function wholeAnswer(dispatcher: Dispatcher, { signal, ...options }: WholeRequest, most: Most): Promise<WholeAnswer> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) throw signal.reason
    const taking = new Taking(most, resolve, reject)
    const abort = (): void => taking.fail(signal?.reason as Error)
    signal?.addEventListener('abort', abort, { once: true })
    taking.left = () => signal?.removeEventListener('abort', abort)
    dispatcher.dispatch(options, taking)
  })
} // prettier-ignore

class Taking implements Dispatcher.DispatchHandler {
  readonly #most: Most
  readonly #resolve: (answer: WholeAnswer) => void
  readonly #reject: (error: Error) => void
  #controller: Dispatcher.DispatchController | undefined
  #failure: Error | undefined
  #statusCode = 0
  #headers: WholeAnswer['headers'] = {}
  readonly #parts: Buffer[] = []
  #length = 0
  /** called when it has ended, either way */
  left: () => void = () => undefined

  constructor(most: Most, resolve: (answer: WholeAnswer) => void, reject: (error: Error) => void) {
    this.#most = most
    this.#resolve = resolve
    this.#reject = reject
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    // given up while it waited for its turn
    if (this.#failure !== undefined) controller.abort(this.#failure)
  }

  /** Also of what comes before the answer (status 1xx). */
  onResponseStart(_: Dispatcher.DispatchController, statusCode: number, headers: WholeAnswer['headers']): void {
    this.#statusCode = statusCode
    this.#headers = headers
  }

  onResponseData(controller: Dispatcher.DispatchController, part: Buffer): void {
    this.#parts.push(part)
    this.#length += part.length
    if (this.#statusCode < 300) {
      if (this.#length > this.#most.answer) this.fail(malformed('longer than any answer is'))
    } else if (this.#length >= this.#most.refusal) {
      this.onResponseEnd()
      controller.abort(malformed('longer than any refusal is'))
    }
  }

  onResponseEnd(): void {
    const [first] = this.#parts
    const body = this.#parts.length === 1 && first !== undefined ? first : Buffer.concat(this.#parts, this.#length)
    this.left()
    this.#resolve({ statusCode: this.#statusCode, headers: this.#headers, body })
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.left()
    this.#reject(error)
  }

  /** Nobody waits for it any more. */
  fail(error: Error): void {
    this.#failure = error
    this.left()
    this.#reject(error)
    this.#controller?.abort(error)
  }
}
