/** The process of a storage, as the gateway has it: started, asked, looked after, started again. */
import { fork, type ChildProcess, type Serializable } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Duplex } from 'node:stream'
import { Fault } from '../../vospace/fault.ts'
import { type Capabilities, type Choose, type IdentifiedChild } from '../backend.ts'
import { type Line } from './apart.ts'
import { Frames, frameOf } from './frames.ts'
import { Peer, type Message } from './peer.ts'
import { Consumer } from './streams.ts'
import { tell } from './told.ts'

/** Milliseconds. */
const LOOK = 1000
/** What takes longer is a reason to ask whether the storage answers at all. */
const SLOW = 5000
/** When that question has no answer for so long, it does not. */
const LOST = 20_000
const STOP = 10_000

/** The descriptor in the storage's process over which it asks while everything in it stands still. */
export const CHOICES = 4

/** Of the gateway; a storage's process speaks to it through the channel. */
export interface StorageLog {
  info(fields: object, text: string): void
  warn(fields: object, text: string): void
  error(fields: object, text: string): void
}

export interface ProcessOptions {
  /** of the profile, for people */
  readonly name: string
  /** the module that serves, and what it is told first */
  readonly program: string
  readonly order: Serializable
  readonly logger: StorageLog
  /** of the times above, for tests */
  readonly hurry?: number
}

/** What comes of a storage's process beside messages of the channel. */
export interface LogLine {
  readonly kind: 'log'
  readonly level: keyof StorageLog
  readonly fields: object
  readonly text: string
}

export class StorageProcess implements Line {
  readonly #options: ProcessOptions
  readonly #choosers = new Map<number, Choose>()
  #child: ChildProcess | undefined
  #peer: Peer | undefined
  #timer: NodeJS.Timeout | undefined
  /** why nobody is let through */
  #why: Fault | undefined
  /** performance.now() of the question that has no answer yet */
  #asked: number | undefined
  #isStopping = false

  constructor(options: ProcessOptions) {
    this.#options = options
  }

  /** Of the process that runs now. */
  get pid(): number | undefined {
    return this.#child?.pid
  }

  async start(): Promise<{ readonly capabilities: Capabilities }> {
    this.#isStopping = false
    try {
      const told = await this.#begin()
      this.#timer = setInterval(() => this.#look(), this.#time(LOOK)).unref()
      return told
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  async stop(): Promise<void> {
    this.#isStopping = true
    clearInterval(this.#timer)
    const child = this.#child
    if (child === undefined || !isAlive(child)) return
    const ended = once(child, 'exit')
    // one that hangs never answers
    const timer = setTimeout(() => child.kill('SIGKILL'), this.#time(STOP)).unref()
    await this.#peer?.call('stop', []).catch(() => undefined)
    if (child.connected) child.disconnect()
    await ended
    clearTimeout(timer)
  }

  async call(method: string, args: readonly unknown[], choose?: Choose): Promise<unknown> {
    const peer = this.#peer
    if (this.#why !== undefined) throw this.#why
    if (peer === undefined) throw new Fault('ServiceBusy', `storage profile ${this.#options.name} has not started`)
    if (choose === undefined) return peer.call(method, args)
    const chooser = { number: 0 }
    const forget = (): void => void this.#choosers.delete(chooser.number)
    try {
      const found = await peer.call(method, args, (id) => this.#choosers.set((chooser.number = id), choose))
      if (found instanceof Consumer) void found.over.then(forget)
      return found
    } catch (error) {
      forget()
      throw error
    }
  }

  #time(milliseconds: number): number {
    return milliseconds / (this.#options.hurry ?? 1)
  }

  async #begin(): Promise<{ readonly capabilities: Capabilities }> {
    const { program, order } = this.#options
    const child = fork(program, {
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'pipe'],
      execArgv: ['--disable-warning=ExperimentalWarning'],
    })
    const send = (message: Message): void => {
      if (child.connected) child.send(message, () => undefined) // its end is told of elsewhere
    }
    const peer = new Peer(send, async () => {
      throw new Fault('OperationNotSupported', 'the gateway serves nothing here')
    })
    child.on('message', (message: Message | LogLine) => {
      if (message.kind === 'log') this.#options.logger[message.level](message.fields, message.text)
      else peer.receive(message)
    })
    child.once('exit', (code, signal) => this.#ended(child, peer, code ?? signal ?? 'nothing'))
    // said again by its exit
    child.on('error', () => undefined)
    this.#answerChoices(child.stdio[CHOICES] as Duplex)
    this.#child = child
    this.#peer = peer
    child.send(order)
    const told = (await peer.call('start', [])) as { readonly capabilities: Capabilities }
    this.#why = undefined
    return told
  }

  #answerChoices(line: Duplex): void {
    const frames = new Frames()
    line.on('error', () => undefined)
    line.on('data', (bytes: Buffer) => {
      for (const question of frames.take(bytes)) {
        const { call, page } = question as { call: number; page: IdentifiedChild[] }
        line.write(frameOf(this.#chosen(call, page)))
      }
    })
  }

  #chosen(call: number, page: readonly IdentifiedChild[]): object {
    try {
      const choose = this.#choosers.get(call)
      if (choose === undefined) throw new Fault('TransferFailed', 'nobody waits for this any more')
      return { chosen: choose(page) }
    } catch (error) {
      return { error: tell(error) }
    }
  }

  /** Asks whether the storage answers where somebody has waited long, or nobody is let through. */
  #look(): void {
    const peer = this.#peer
    if (peer === undefined || this.#isStopping) return
    const now = performance.now()
    if (this.#asked !== undefined) {
      if (now - this.#asked > this.#time(LOST) && this.#why === undefined) this.#lose(peer)
      return
    }
    const since = peer.waitingSince
    if (this.#why === undefined && (since === undefined || now - since < this.#time(SLOW))) return
    this.#asked = now
    void this.#ask(peer)
  }

  async #ask(peer: Peer): Promise<void> {
    try {
      await peer.call('probe', [])
      if (this.#peer !== peer) return
      if (this.#why !== undefined) this.#options.logger.info(this.#who, 'the storage answers again')
      this.#why = undefined
    } catch (error) {
      // given up with all the others
      if (error === this.#why) return
      // it has said so itself: whoever waits is told by the calls they wait for
      this.#options.logger.warn({ ...this.#who, err: error }, 'the storage does not work')
    } finally {
      this.#asked = undefined
    }
  }

  #lose(peer: Peer): void {
    const detail = `storage profile ${this.#options.name} does not answer; what was under way there may still happen`
    this.#why = new Fault('ServiceBusy', detail, { errno: 'ETIMEDOUT' })
    this.#options.logger.error(
      this.#who,
      'the storage does not answer: everybody who needs it is refused until it does',
    )
    peer.refuse(this.#why)
    this.#choosers.clear()
    // the question was refused with the others, and goes on from here
    this.#asked = undefined
  }

  get #who(): object {
    return { backend: this.#options.name, pid: this.pid }
  }

  #ended(child: ChildProcess, peer: Peer, how: number | string): void {
    if (this.#child !== child) return
    const detail = `the process of storage profile ${this.#options.name} has ended (${how})`
    const why = new Fault('ServiceBusy', detail)
    this.#why = why
    this.#asked = undefined
    this.#choosers.clear()
    peer.refuse(why)
    if (this.#isStopping || this.#timer === undefined) return
    this.#options.logger.error({ ...this.#who, how }, 'the process of a storage has ended, and is started again')
    void this.#again()
  }

  async #again(): Promise<void> {
    await sleep(this.#time(LOOK))
    if (this.#isStopping) return
    try {
      await this.#begin()
      this.#options.logger.info(this.#who, 'the storage is there again')
    } catch (error) {
      this.#options.logger.error({ ...this.#who, err: error }, 'the storage could not be started again')
      // one that has ended starts the next itself
      if (this.#child !== undefined && isAlive(this.#child)) this.#child.kill('SIGKILL')
    }
  }
}

const isAlive = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null
