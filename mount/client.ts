/** The gateway over HTTPS: `Remote` as schemas/fs-v1.md says it. Retries, time limits and refusals are exchange.ts's. */
import { EXTENTS_TYPE, entryFromJson, textToJson, writeExtents } from '../src/codec/fs-v1.ts'
import { type SeenEntry, type WireExtent } from '../src/codec/fs-v1.ts'
import { Fault, isFault } from '../src/vospace/fault.ts'
import { type NodePath } from '../src/vospace/path.ts'
import { Connections, type Logger } from './connections.ts'
import { bytesOf, discard, Exchange, partsOf, type Answer, type Call } from './exchange.ts'
import { type ChangeFeed, type LeaseCalls, leaseCalls } from './lease-calls.ts'
import { type Inlet } from './inlet.ts'
import { listing, pageOf } from './listing.ts'
import { operationId, randomId } from './operation-id.ts'
import { malformed } from './refusal.ts'
import { type Attributes, type Identity, type NodeDraft, type Page, type PutAttributes, type Remote } from './remote.ts'
import { type ReadOptions, type RemoteRef, type SpaceLeft } from './remote.ts'

export interface ConnectOptions {
  /** service base, `https://host:port/karst` */
  readonly url: string
  /** PEM file: certificate, key, chain. Read again when it changes. */
  readonly certificate?: string | undefined
  /** File of a bearer token, instead of a certificate or before it. Read again when it changes. */
  readonly tokenFile?: string | undefined
  /** PEM file of the authorities the gateway's certificate may come from */
  readonly ca?: string
  /** an administrator's: the gateway does what root does, for the ids it is told */
  readonly trusted?: boolean
  /** seconds until a call without an answer is given up; default 60 */
  readonly timeLimit?: number
  readonly logger: Logger
}

/** bytes of a body that is sent with its headers */
const AT_ONCE = 1 << 16

/** Seconds that a gateway has to say hello: who mounts is waiting, and more often a port is wrong than a gateway slow. */
const GREETING = 10

/**
 * A client of the gateway, once it has answered. InvalidArgument for no https URL, NotAuthenticated for no usable credential,
 * OperationNotSupported for another version of the mount API, ServiceBusy where nothing answers.
 */
export async function connect(options: ConnectOptions): Promise<Client> {
  const client = new Client(options)
  try {
    await client.greet()
    return client
  } catch (error) {
    await client.close()
    throw error
  }
}

export class Client implements Remote {
  readonly #connections: Connections
  readonly #exchange: Exchange
  readonly #greeting: Exchange
  readonly #url: string
  /** path of the mount API, no slash at the end */
  readonly #base: string
  readonly leases: LeaseCalls
  readonly feed: ChangeFeed

  constructor({ url, certificate, tokenFile, ca, trusted = false, timeLimit = 60, logger }: ConnectOptions) {
    const { protocol, origin, pathname } = serviceUrl(url)
    if (protocol !== 'https:') throw new Fault('InvalidArgument', `not an https URL: ${url}`)
    const patience = timeLimit / 2
    if (certificate === undefined && tokenFile === undefined) {
      throw new Fault('NotAuthenticated', 'neither a certificate nor the file of a token')
    }
    const credential = { certificate, tokenFile, trusted }
    this.#connections = new Connections({ origin, ...credential, patience, logger, ...(ca !== undefined && { ca }) })
    this.#exchange = new Exchange(this.#connections, timeLimit, logger)
    this.#greeting = new Exchange(this.#connections, Math.min(GREETING, timeLimit), logger)
    this.#url = url
    this.#base = `${pathname.replace(/\/+$/, '')}/fs/v1`
    this.leases = this.feed = leaseCalls(this.#exchange, this.#base, this.#exchange.mount, timeLimit)
  }

  identity(): Promise<Identity> {
    return this.#get('', {}, identityFrom)
  }

  /** Who the gateway says it is, and who we are to it. As `connect` refuses. */
  async greet(): Promise<Identity> {
    try {
      return await this.#greeting.send({
        method: 'GET',
        target: this.#target('', {}),
        isShort: true,
        accept: json(identityFrom),
      })
    } catch (error) {
      if (!isFault(error, 'ServiceBusy')) throw error
      const advice = `is the gateway running at ${this.#url}?`
      throw new Fault('ServiceBusy', `${error.detail}; ${advice}`, { errno: error.errno, cause: error })
    }
  }

  entry({ path, id }: RemoteRef): Promise<SeenEntry> {
    return this.#get('entry', { path, id }, entryFrom)
  }

  list(path: NodePath, signal?: AbortSignal): AsyncIterable<readonly SeenEntry[]> {
    const page = (cursor: string | undefined): Promise<Answer> =>
      this.#exchange.send({
        method: 'GET',
        target: this.#target('list', { path, cursor }),
        signal,
        accept: async (answer) => answer,
      })
    return listing(page, signal)
  }

  page(path: NodePath, limit: number, from?: string): Promise<Page> {
    const target = this.#target('list', { path, cursor: from, limit })
    return this.#exchange.send({ method: 'GET', target, accept: pageOf })
  }

  async put(ref: RemoteRef, body: () => AsyncIterable<Uint8Array>, attributes: PutAttributes): Promise<SeenEntry> {
    const { ifAbsent, ifContentVersion, mode, mtime, length, durable, signal } = attributes
    const octal = mode === undefined ? undefined : `0${mode.toString(8)}`
    const query = { path: ref.path, id: ref.id, mode: octal, mtime, durable: durable === false ? 'false' : undefined }
    const headers = {
      'content-type': 'application/octet-stream',
      ...(length !== undefined && { 'content-length': String(length) }),
      ...(ifAbsent === true && { 'if-none-match': '*' }),
      ...ifMatch(ifContentVersion),
      ...underLease(ref),
    }
    const target = this.#target('data', query)
    const whole = length !== undefined && length <= AT_ONCE ? await gathered(body()) : undefined
    const speed = length === undefined ? { isGrowing: true } : { isBulk: true }
    return this.#change({
      method: 'PUT',
      target,
      headers,
      body: whole ?? body,
      signal,
      accept: json(entryFrom),
      ...speed,
    })
  }

  isNear(): boolean {
    return this.#connections.isNear
  }

  async read(ref: RemoteRef, start: number, into: Inlet, options: ReadOptions): Promise<void> {
    const { ifContentVersion, signal, more } = options
    const headers = ifMatch(ifContentVersion)
    const accept = async (answer: Answer): Promise<void> => {
      if (into.count === 0) await takeRange(answer, start, into)
    }
    const target = this.#target('data', { path: ref.path, id: ref.id })
    try {
      const range = { start, inlet: into, more }
      await this.#exchange.send({ method: 'GET', target, headers, signal, accept, range, isBulk: true })
    } catch (error) {
      // it starts at or after the end
      if (!isFault(error, 'RangeNotSatisfiable')) throw error
    }
  }

  async amend(
    ref: RemoteRef,
    extents: () => AsyncIterable<WireExtent>,
    options: { readonly length: number; readonly ifContentVersion?: string; readonly mtime?: bigint },
  ): Promise<SeenEntry> {
    const body = () => writeExtents(extents())
    return this.#change({
      method: 'PATCH',
      target: this.#target('data', { path: ref.path, id: ref.id, length: options.length, mtime: options.mtime }),
      headers: { 'content-type': EXTENTS_TYPE, ...ifMatch(options.ifContentVersion), ...underLease(ref) },
      body: (await gathered(body())) ?? body,
      accept: json(entryFrom),
      isBulk: true,
    })
  }

  mkdir(path: NodePath, mode: number): Promise<SeenEntry> {
    return this.#post('mkdir', { path, mode }, json(entryFrom))
  }

  symlink(path: NodePath, text: Buffer): Promise<SeenEntry> {
    return this.#post('symlink', { path, ...textToJson(text) }, json(entryFrom))
  }

  mknod(path: NodePath, { text: linkText, ...draft }: NodeDraft): Promise<SeenEntry> {
    return this.#post('mknod', { path, ...draft, ...(linkText && textToJson(linkText)) }, json(entryFrom))
  }

  link({ path, id }: RemoteRef, to: NodePath): Promise<SeenEntry> {
    return this.#post('link', { from: path, ...(id !== undefined && { id }), to }, json(entryFrom))
  }

  remove(path: NodePath, type: 'container' | 'leaf'): Promise<void> {
    return this.#post('remove', { path, type }, nothing)
  }

  rename(from: NodePath, to: NodePath, flags: 'replace' | 'noreplace' | 'exchange'): Promise<SeenEntry> {
    return this.#post('rename', { from, to, flags }, json(entryFrom))
  }

  setattr({ path, id }: RemoteRef, { mtime, atime, ...numbers }: Attributes): Promise<SeenEntry> {
    const times = {
      ...(mtime !== undefined && { mtime: String(mtime) }),
      ...(atime !== undefined && { atime: String(atime) }),
    }
    return this.#post('setattr', { path, ...(id !== undefined && { id }), ...numbers, ...times }, json(entryFrom))
  }

  xattrNames(path: NodePath): Promise<string[]> {
    return this.#get('xattr', { path }, namesFrom)
  }

  xattr(path: NodePath, name: string): Promise<Buffer> {
    return this.#exchange.send({ method: 'GET', target: this.#target('xattr', { path, name }), accept: bytesOf })
  }

  setXattr(path: NodePath, name: string, value: Buffer, flags?: 'create' | 'replace'): Promise<void> {
    return this.#change({
      method: 'PUT',
      target: this.#target('xattr', { path, name, flags }),
      headers: { 'content-type': 'application/octet-stream' },
      body: value,
      accept: nothing,
    })
  }

  removeXattr(path: NodePath, name: string): Promise<void> {
    return this.#change({ method: 'DELETE', target: this.#target('xattr', { path, name }), accept: nothing })
  }

  statfs(path: NodePath): Promise<SpaceLeft> {
    return this.#get('statfs', { path }, spaceFrom)
  }

  /** Ends when the calls under way have ended; those waiting to try again are given up. */
  async close(): Promise<void> {
    this.#exchange.close()
    await this.#connections.close()
  }

  abandon(): void {
    this.#exchange.close()
    this.#connections.destroy()
  }

  #get<T>(call: string, query: Query, from: (value: unknown) => T): Promise<T> {
    return this.#exchange.send({ method: 'GET', target: this.#target(call, query), isShort: true, accept: json(from) })
  }

  #post<T>(call: string, document: object, accept: (answer: Answer) => Promise<T>): Promise<T> {
    const headers = { 'content-type': 'application/json' }
    return this.#change({ method: 'POST', target: this.#target(call, {}), headers, body: text(document), accept })
  }

  /** One operation id for all attempts: the gateway repeats its first answer. */
  #change<T>(call: Call<T>): Promise<T> {
    const { method, target, body, headers } = call
    // bytes that are asked to be sent again may be others by then; those of a new file are not
    const isUpload = call.isBulk === true || call.isGrowing === true
    const isNamed = !isUpload || headers?.['if-none-match'] !== undefined
    // of a new file the time in the target says which bytes these are
    const what = isUpload ? (body?.length ?? 0) : String(body)
    const id = isNamed && typeof body !== 'function' ? operationId(`${method} ${target} ${what}`) : randomId()
    return this.#exchange.send({ ...call, isShort: true, headers: { ...headers, 'operation-id': id } })
  }

  #target(call: string, query: Query): string {
    const parameters = Object.entries(query).filter(([, value]) => value !== undefined)
    const pairs = parameters.map(([name, value]) => `${name}=${encoded(String(value))}`)
    return `${this.#base}${call === '' ? '' : `/${call}`}${pairs.length === 0 ? '' : `?${pairs.join('&')}`}`
  }
}

/** The whole in one buffer, so that it leaves with its headers in one write; undefined when it is too much for that. */
async function gathered(parts: AsyncIterable<Uint8Array>): Promise<Buffer | undefined> {
  const all: Uint8Array[] = []
  let length = 0
  for await (const part of parts) {
    if ((length += part.length) > AT_ONCE) return undefined
    all.push(part)
  }
  return Buffer.concat(all)
}

type Query = Readonly<Record<string, string | number | bigint | undefined>>

function serviceUrl(url: string): URL {
  try {
    return new URL(url)
  } catch (error) {
    throw new Fault('InvalidArgument', `not a URL: ${url}`, { cause: error })
  }
}

/** Percent-encoded once, UTF-8; slashes may stand in a query (RFC 3986 section 3.4). */
function encoded(value: string): string {
  if (!value.isWellFormed()) throw new Fault('InvalidArgument', 'a name that is not UTF-8')
  return encodeURIComponent(value).replaceAll('%2F', '/')
}

function underLease({ lease }: RemoteRef): Record<string, string> {
  return lease === undefined ? {} : { lease }
}

function ifMatch(contentVersion: string | undefined): Record<string, string> {
  return contentVersion === undefined ? {} : { 'if-match': `"${contentVersion}"` }
}

function text(document: object): string {
  for (const value of Object.values(document)) {
    if (typeof value === 'string' && !value.isWellFormed())
      throw new Fault('InvalidArgument', 'a name that is not UTF-8')
  }
  return JSON.stringify(document)
}

/** Takes a JSON answer; what is none, or not what was asked for, is InternalFault. */
function json<T>(from: (value: unknown) => T): (answer: Answer) => Promise<T> {
  return async (answer) => {
    const bytes = await bytesOf(answer)
    try {
      return from(JSON.parse(bytes.toString('utf8')))
    } catch (error) {
      if (isFault(error, 'InternalFault', 'OperationNotSupported')) throw error
      throw malformed(bytes.toString('utf8', 0, 200), error)
    }
  }
}

async function nothing(answer: Answer): Promise<void> {
  await bytesOf(answer)
}

/** The bytes from `start` on, of a partial or a whole answer. */
async function takeRange(answer: Answer, start: number, into: Inlet): Promise<void> {
  into.begin()
  if (answer.statusCode === 204) return nothing(answer) // an empty file
  let skip = answer.statusCode === 206 ? start - partialStart(answer, start) : start
  for await (const part of partsOf(answer)) {
    const wanted = part.subarray(Math.min(skip, part.length))
    skip -= part.length - wanted.length
    into.write(wanted)
    if (into.count === into.length && answer.statusCode === 200) return discard(answer)
  }
}

function partialStart(answer: Answer, start: number): number {
  const [, first] = /^bytes (\d+)-\d+\//.exec(String(answer.headers['content-range'] ?? '')) ?? []
  if (first === undefined || Number(first) !== start) throw malformed(`other bytes than asked for: ${first ?? 'none'}`)
  return start
}

function entryFrom(value: unknown): SeenEntry {
  return entryFromJson(value)
}

/** Who the gateway is, and who we are to it, as its answer says. */
export function identityFrom(value: unknown): Identity {
  const { version, resourceId, user, uid, gid } = value as Record<string, unknown>
  if (version !== 1) throw new Fault('OperationNotSupported', `the gateway's mount API has version ${String(version)}`)
  if (user !== null && typeof user !== 'string') throw malformed('user')
  if (typeof resourceId !== 'string') throw malformed('resourceId')
  return { resourceId, user: user ?? undefined, uid: count(uid), gid: count(gid) }
}

function spaceFrom(value: unknown): SpaceLeft {
  const { blockSize, blocks, blocksFree, files, filesFree, nameMax, quota } = value as Record<string, unknown>
  return {
    blockSize: count(blockSize),
    blocks: count(blocks),
    blocksFree: count(blocksFree),
    files: count(files),
    filesFree: count(filesFree),
    nameMax: count(nameMax),
    hasQuota: typeof quota === 'number',
  }
}

function namesFrom(value: unknown): string[] {
  const { names } = value as { names?: unknown }
  if (!Array.isArray(names) || !names.every((name) => typeof name === 'string')) throw malformed('names')
  return names
}

function count(value: unknown): number {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) throw malformed(`no count: ${String(value)}`)
  return value
}
