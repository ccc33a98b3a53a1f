// What the driver of a node does for sessions that begin: it agrees with the gateway in their place, and asks already what their mounts will ask
// first. Connections are kept, each for one credential and its CAs alone (https.Agent tells them apart by that).
import { randomUUID } from 'node:crypto'
import { Agent } from 'node:https'
import { entryFromJson, type SeenEntry } from '../../src/codec/fs-v1.ts'
import { answerOf, asking, exchange, secretsWith } from '../asking.ts'
import { identityFrom } from '../client.ts'
import { type Identity } from '../remote.ts'
import { agree } from './agreement.ts'
import { type Agreement, type AgreementRequest, credentialFiles, type Outcome } from './agreement-request.ts'
import { type Ask } from './terms.ts'

/** Milliseconds for which a connection is kept that nobody uses. */
const KEPT = 60_000
/** Milliseconds for which what was asked ahead may be believed, as any answer of the gateway. */
const FRESH = 1000

/** What the gateway says first to a mount: who it is and who we are, and the root. */
export interface Greeting {
  readonly identity: Identity
  readonly root: SeenEntry
}

type Ahead = Greeting & { readonly at: number }

export class Agreements {
  // of one credential one: a second handshake takes longer than the calls before
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1, timeout: KEPT, maxCachedSessions: 0 })
  readonly #ahead = new Map<string, Promise<Ahead | undefined>>()

  /** As `agree`. */
  async make(request: AgreementRequest): Promise<Agreement> {
    const agreement = await agree(request, await this.#asking(request))
    return { ...agreement, outcomes: agreement.outcomes.map((one) => this.#greeted(request, one)) }
  }

  /** What nobody has heard of. */
  async giveBack(request: AgreementRequest): Promise<void> {
    const { session, member } = request.name
    const ask = await this.#asking(request)
    await ask('DELETE', `/partitions?session=${encodeURIComponent(session)}&member=${encodeURIComponent(member)}`)
  }

  /** What was asked ahead under that name, once; undefined: the mount has to ask by itself. */
  async take(id: string): Promise<Greeting | undefined> {
    const found = await this.#ahead.get(id)
    this.#ahead.delete(id)
    return found !== undefined && performance.now() - found.at < FRESH ? found : undefined
  }

  close(): void {
    this.#agent.destroy()
  }

  #asking(request: AgreementRequest): Promise<Ask> {
    const { url, ca } = request
    return asking(url, credentialFiles(request), ca, this.#agent)
  }

  #greeted(request: AgreementRequest, outcome: Outcome): Outcome {
    if (!('agreed' in outcome) || outcome.agreed.terms.bind !== undefined) return outcome
    const { agreed } = outcome
    const ahead = randomUUID()
    // the mount that asks by itself says why it cannot
    const found = this.#greet(request, agreed.terms).catch(() => undefined)
    this.#ahead.set(ahead, found)
    setTimeout(() => this.#ahead.delete(ahead), KEPT).unref()
    return { agreed: { ...agreed, ahead } }
  }

  /** Over the connection that is there, with the credential of the partition alone: it counts before that of the connection. */
  async #greet(
    { url, ca, certificate }: AgreementRequest,
    { path, credential }: { readonly path: string; readonly credential: { readonly token: string } },
  ): Promise<Ahead> {
    const at = performance.now()
    const secrets = await secretsWith(certificate === undefined ? {} : { certificate }, ca)
    const how = { method: 'GET', headers: { authorization: `Bearer ${credential.token}` }, secrets, agent: this.#agent }
    const [identity, root] = await Promise.all([
      exchange(url, '/fs/v1', how, answerOf),
      exchange(url, `/fs/v1/entry?path=${encodeURIComponent(path)}`, how, answerOf),
    ])
    return { identity: identityFrom(identity), root: entryFromJson(root), at }
  }
}
