/**
 * Bytes that are on their way when permission for them ends: who sends and receives is asked again every few seconds who they are, and what they
 * may, by the same rules as at the start. A credential that runs out meanwhile ends nothing that was begun in time, as authenticate.ts says;
 * one that was revoked does, and so does a user who is suspended, a group that was left, a node that is no longer shared.
 */
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { type Caller } from '../vospace/caller.ts'
import { isFault } from '../vospace/fault.ts'
import { authenticate } from './authenticate.ts'
import { type HttpServices } from './services.ts'
import { loggedOf } from './target.ts'
import { stillTrusted } from './trusted-mount.ts'

/** Milliseconds between two looks: what is withdrawn ends within twice of it. */
const LOOK_MS = 4000

/** Throws what the caller would be refused with who asked now. */
export type Recheck = (caller: Caller) => Promise<unknown>

interface Stream {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly recheck: Recheck
  readonly bearer: Bearer | undefined
  readonly begun: number
}

/** Whom a pre-authorised URL stands for, whoever sends it. */
export interface Bearer {
  readonly user: string | undefined
  /** Throws what they would be refused with. */
  readonly now: () => Caller
}

export class InFlight {
  readonly #services: HttpServices
  readonly #streams = new Set<Stream>()
  readonly #timer: NodeJS.Timeout
  #isLooking = false

  /** For the endpoints of `app`, until that is closed. */
  constructor(app: FastifyInstance, services: HttpServices) {
    this.#services = services
    this.#timer = setInterval(() => void this.look(performance.now() - LOOK_MS), LOOK_MS)
    this.#timer.unref()
    app.addHook('onClose', (_app, done) => {
      clearInterval(this.#timer)
      done()
    })
  }

  /** Until the reply is closed. `bearer`: in place of who shows a credential. */
  watch(request: FastifyRequest, reply: FastifyReply, recheck: Recheck, bearer?: Bearer): void {
    const stream = { request, reply, recheck, bearer, begun: performance.now() }
    this.#streams.add(stream)
    reply.raw.once('close', () => this.#streams.delete(stream))
  }

  /** Asks about all that were begun before (performance.now()); one at a time, so that requests go on beside it. */
  async look(before = Infinity): Promise<void> {
    if (this.#isLooking) return
    this.#isLooking = true
    try {
      for (const stream of [...this.#streams]) {
        if (stream.begun <= before && this.#streams.has(stream)) await this.#ask(stream)
      }
    } finally {
      this.#isLooking = false
    }
  }

  async #ask(stream: Stream): Promise<void> {
    const { request, recheck, bearer } = stream
    try {
      const now = bearer === undefined ? await this.#callerNow(request) : bearer.now()
      await recheck(request.caller.trusted === true ? stillTrusted(now, this.#services) : now)
    } catch (error) {
      if (isFault(error, 'PermissionDenied', 'NotAuthenticated')) this.#cut(stream, error.detail)
      // whatever else there is to say, the request will say it itself
      else if (!isFault(error)) request.log.error({ err: error }, 'a stream could not be looked after')
    }
  }

  async #callerNow(request: FastifyRequest): Promise<Caller> {
    const { callers, people } = this.#services
    try {
      return await authenticate(request.raw, callers)
    } catch (error) {
      const { user, scope } = request.caller
      const isExpired = isFault(error, 'NotAuthenticated') && 'code' in error && error.code === 'EXPIRED'
      if (!isExpired || user === undefined || people === undefined) throw error
      return { ...people.callerOf(user), ...(scope !== undefined && { scope }) }
    }
  }

  #cut({ request, reply, bearer }: Stream, reason: string): void {
    const by = (bearer ?? request.caller).user ?? null
    const on = loggedOf(request.raw)
    request.log.info({ user: by, target: on, reason }, 'a stream was cut: it is not permitted any more')
    this.#services.audit?.note({ act: 'stream.cut', by, on, result: 'refused', detail: { reason } })
    reply.raw.destroy()
  }
}
