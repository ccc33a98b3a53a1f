// What the driver of a node does for sessions that begin: it agrees with the gateway in their place, and asks already what their mounts will ask
// first. Connections are kept: of a certificate and its CAs one, since a second handshake takes longer than the calls before; those of tokens, which a
// connection knows nothing of, are for whoever has the same CAs.
import { randomUUID } from 'node:crypto'
import { Agent } from 'node:https'
import { entryFromJson, type SeenEntry } from '../../src/codec/fs-v1.ts'
import { isFault } from '../../src/vospace/fault.ts'
import { answerOf, asking, exchange, secretsWith } from '../asking.ts'
import { identityFrom } from '../client.ts'
import { type Identity } from '../remote.ts'
import { agree, checkFiles } from './agreement.ts'
import {
  type Agreement,
  type AgreementRequest,
  credentialFiles,
  isSameHere,
  type Outcome,
} from './agreement-request.ts'
import { type Ask, leavePartitions } from './terms.ts'

/** Milliseconds for which a connection is kept that nobody uses. */
const KEPT = 60_000
/** Milliseconds for which what was asked ahead may be believed, as any answer of the gateway. */
const FRESH = 1000
/** Milliseconds for which the gateway is waited for; the launcher waits for twice that. */
const LIMIT = 30_000

/** What the gateway says first to a mount: who it is and who we are, and the root. */
export interface Greeting {
  readonly identity: Identity
  readonly root: SeenEntry
}

type Ahead = Greeting & { readonly at: number }

export class Agreements {
  readonly #certificates = kept(1)
  readonly #tokens = kept(4)
  readonly #closing = new AbortController()
  readonly #ahead = new Map<string, Promise<Ahead | undefined>>()

  /** As `agree`; undefined, and nothing is asked for, where the files of the request are not the same here or are of no use: the launcher says why. */
  async make(request: AgreementRequest): Promise<Agreement | undefined> {
    if (!isSameHere(request) || !(await isUsable(request))) return undefined
    const agreement = await agree(request, await this.#asking(request))
    return { ...agreement, outcomes: agreement.outcomes.map((one) => this.#greeted(request, one)) }
  }

  /** What nobody has heard of. */
  async giveBack(request: AgreementRequest): Promise<void> {
    await leavePartitions(await this.#asking(request), request.name)
  }

  /** What was asked ahead under that name, once; undefined: the mount has to ask by itself. */
  async take(id: string): Promise<Greeting | undefined> {
    const found = await this.#ahead.get(id)
    this.#ahead.delete(id)
    return found !== undefined && performance.now() - found.at < FRESH ? found : undefined
  }

  close(): void {
    this.#closing.abort()
    for (const agent of [this.#certificates, this.#tokens]) agent.destroy()
  }

  #agentOf({ certificate }: AgreementRequest): Agent {
    return certificate === undefined ? this.#tokens : this.#certificates
  }

  #within(limit: number): AbortSignal {
    return AbortSignal.any([this.#closing.signal, AbortSignal.timeout(limit)])
  }

  #asking(request: AgreementRequest): Promise<Ask> {
    const { url, ca } = request
    // asked for twice it is the same: a member joins once
    const how = { agent: this.#agentOf(request), again: true, signal: () => this.#within(LIMIT) }
    return asking(url, credentialFiles(request), ca, how)
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
    request: AgreementRequest,
    { path, credential }: { readonly path: string; readonly credential: { readonly token: string } },
  ): Promise<Ahead> {
    const { url, ca, certificate } = request
    const at = performance.now()
    const secrets = secretsWith(certificate === undefined ? {} : { certificate }, ca)
    const headers = { authorization: `Bearer ${credential.token}` }
    const connection = { agent: this.#agentOf(request), again: true, signal: this.#within(FRESH) }
    const how = { ...connection, method: 'GET', headers, secrets }
    const [identity, root] = await Promise.all([
      exchange(url, '/fs/v1', how, answerOf),
      exchange(url, `/fs/v1/entry?path=${encodeURIComponent(path)}`, how, answerOf),
    ])
    return { identity: identityFrom(identity), root: entryFromJson(root), at }
  }
}

const kept = (maxSockets: number): Agent =>
  new Agent({ keepAlive: true, maxSockets, timeout: KEPT, maxCachedSessions: 0 })

async function isUsable(request: AgreementRequest): Promise<boolean> {
  try {
    await checkFiles(request)
    return true
  } catch (error) {
    if (isFault(error)) return false
    throw error
  }
}
