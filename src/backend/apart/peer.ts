/** One end of a channel between two processes: calls with their answers, and sequences in both directions. Both ends are alike. */
import { Consumer, Producer, type StreamMessage } from './streams.ts'
import { heard, tell, type Told } from './told.ts'

export type Message =
  | { readonly kind: 'call'; readonly id: number; readonly method: string; readonly args: readonly unknown[] }
  | { readonly kind: 'cancel'; readonly id: number; readonly reason: Told }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'refusal'; readonly id: number; readonly error: Told }
  | StreamMessage

/** Does what the other end asks for; what it answers may be, or have as a property, a sequence. */
export type Serve = (method: string, args: readonly unknown[], call: Served) => Promise<unknown>

export interface Served {
  readonly id: number
  /** aborted when the other end has given up */
  readonly signal: AbortSignal
}

interface Pending {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
  /** performance.now() */
  readonly since: number
}

/** Stand for a sequence, and for the signal of the call, in what is sent. */
const MARK = 'karst:sequence'
const SIGNAL = 'karst:signal'

const isSequence = (value: unknown): value is AsyncIterable<unknown> =>
  typeof value === 'object' && value !== null && Symbol.asyncIterator in value

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype

export class Peer {
  readonly #send: (message: Message) => void
  readonly #serve: Serve
  readonly #calls = new Map<number, Pending>()
  readonly #served = new Map<number, AbortController>()
  readonly #producers = new Map<number, { readonly producer: Producer; over: () => void }>()
  readonly #consumers = new Map<number, Consumer>()
  #last = 0

  /** `send` copies what it is given. */
  constructor(send: (message: Message) => void, serve: Serve) {
    this.#send = send
    this.#serve = serve
  }

  /** Rejects with what the other end has thrown. `signal`, of the call or of an option, cancels it there. `begun` hears the number of the call. */
  async call(method: string, args: readonly unknown[], begun?: (id: number) => void): Promise<unknown> {
    const id = ++this.#last
    begun?.(id)
    const signal = args.flatMap((arg) =>
      isPlain(arg) && arg['signal'] instanceof AbortSignal ? [arg['signal']] : [],
    )[0]
    const cancel = (): void => this.#send({ kind: 'cancel', id, reason: tell(signal?.reason) })
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    this.#calls.set(id, { resolve, reject, since: performance.now() })
    const sequences: number[] = []
    this.#send({ kind: 'call', id, method, args: args.map((arg) => this.#pack(arg, sequences)) })
    if (signal?.aborted === true) cancel()
    else signal?.addEventListener('abort', cancel, { once: true })
    const forget = (): void => signal?.removeEventListener('abort', cancel)
    try {
      const answer = await promise
      const consumers = consumersIn(answer)
      if (consumers.length === 0) forget()
      for (const consumer of consumers) void consumer.over.then(forget)
      return answer
    } catch (error) {
      forget()
      throw error
    } finally {
      // a body of which more was there than was wanted
      for (const stream of sequences) this.#drop(stream)
    }
  }

  /** Since when (performance.now()) the longest has waited who waits for the other end; undefined: nobody does. */
  get waitingSince(): number | undefined {
    const [first] = this.#calls.values()
    const readers = [...this.#consumers.values()].map(({ waitingSince }) => waitingSince)
    const all = [first?.since, ...readers].filter((one) => one !== undefined)
    return all.length === 0 ? undefined : Math.min(...all)
  }

  /** The other end does not answer: everything that waits for it is refused so, and it is told that nobody waits any more. */
  refuse(error: Error): void {
    for (const [id, { reject }] of this.#calls) {
      this.#send({ kind: 'cancel', id, reason: tell(error) })
      reject(error)
    }
    this.#calls.clear()
    for (const stream of this.#producers.keys()) {
      this.#send({ kind: 'end', stream, error: tell(error) })
      this.#drop(stream)
    }
    for (const [stream, consumer] of this.#consumers) {
      this.#send({ kind: 'drop', stream })
      consumer.end(error)
    }
  }

  receive(message: Message): void {
    switch (message.kind) {
      case 'call':
        return void this.#answer(message)
      case 'cancel':
        return this.#served.get(message.id)?.abort(heard(message.reason))
      case 'answer':
        return this.#settle(message.id)?.resolve(this.#unpack(message.value))
      case 'refusal':
        return this.#settle(message.id)?.reject(heard(message.error))
      case 'grant':
        return this.#producers.get(message.stream)?.producer.grant(message.credit)
      case 'drop':
        return this.#drop(message.stream)
      case 'items':
        return this.#consumers.get(message.stream)?.take(message.items)
      case 'end':
        return this.#consumers.get(message.stream)?.end(message.error && heard(message.error))
    }
  }

  #settle(id: number): Pending | undefined {
    const pending = this.#calls.get(id)
    this.#calls.delete(id)
    return pending
  }

  #drop(stream: number): void {
    const found = this.#producers.get(stream)
    this.#producers.delete(stream)
    found?.producer.drop()
    found?.over()
  }

  async #answer({ id, method, args }: Message & { kind: 'call' }): Promise<void> {
    const controller = new AbortController()
    const { signal } = controller
    this.#served.set(id, controller)
    const over = (): void => void this.#served.delete(id)
    try {
      const given = args.map((arg) => this.#unpack(arg, signal))
      const sequences: number[] = []
      const value = this.#pack(await this.#serve(method, given, { id, signal }), sequences)
      this.#send({ kind: 'answer', id, value })
      // what is still being read can still be cancelled
      for (const stream of sequences) (this.#producers.get(stream) ?? { over }).over = over
      if (sequences.length === 0) over()
    } catch (error) {
      over()
      this.#send({ kind: 'refusal', id, error: tell(error) })
    }
  }

  /** Of plain objects the properties too. Adds the numbers of sequences to `sequences`. */
  #pack(value: unknown, sequences: number[]): unknown {
    if (isSequence(value)) return { [MARK]: this.#produce(value, sequences) }
    if (!isPlain(value)) return value
    const packed = Object.entries(value).map(([name, one]) => {
      if (one instanceof AbortSignal) return [name, { [SIGNAL]: true }]
      return [name, isSequence(one) ? { [MARK]: this.#produce(one, sequences) } : one]
    })
    return Object.fromEntries(packed)
  }

  #produce(source: AsyncIterable<unknown>, sequences: number[]): number {
    const stream = ++this.#last
    sequences.push(stream)
    const producer = new Producer(source, {
      items: (items) => this.#send({ kind: 'items', stream, items }),
      end: (error) => {
        this.#producers.get(stream)?.over()
        this.#producers.delete(stream)
        this.#send({ kind: 'end', stream, ...(error !== undefined && { error: tell(error) }) })
      },
    })
    this.#producers.set(stream, { producer, over: () => undefined })
    return stream
  }

  #unpack(value: unknown, signal?: AbortSignal): unknown {
    if (!isPlain(value)) return value
    if (MARK in value) return this.#consume(Number(value[MARK]))
    for (const [name, one] of Object.entries(value)) {
      if (!isPlain(one)) continue
      if (MARK in one) value[name] = this.#consume(Number(one[MARK]))
      else if (SIGNAL in one) value[name] = signal
    }
    return value
  }

  #consume(stream: number): Consumer {
    const consumer = new Consumer({
      grant: (credit) => this.#send({ kind: 'grant', stream, credit }),
      over: (isLeft) => {
        this.#consumers.delete(stream)
        if (isLeft) this.#send({ kind: 'drop', stream })
      },
    })
    this.#consumers.set(stream, consumer)
    return consumer
  }
}

const consumersIn = (value: unknown): readonly Consumer[] =>
  (isPlain(value) ? Object.values(value) : [value]).filter((one) => one instanceof Consumer)
