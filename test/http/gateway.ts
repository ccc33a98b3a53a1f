/** A gateway over the memory backend on a real TLS socket, and calls to it as its clients make them. */
import { type FastifyBaseLogger } from 'fastify'
import { randomBytes, randomUUID } from 'node:crypto'
import { type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { Agent, request as httpsRequest } from 'node:https'
import { connect, type TLSSocket } from 'node:tls'
import { type Test } from 'tap'
import { mountingOf } from '../../src/app-partitions.ts'
import { accountsOf, peopleOf as peopleAround, trafficOf } from '../../src/app-people.ts'
import { type Backend } from '../../src/backend/backend.ts'
import { MemoryBackend } from '../../src/backend/memory.ts'
import { type AccountsConfig, type LimitsConfig } from '../../src/config-accounts.ts'
import { partitionsConfig } from '../../src/config-partitions.ts'
import { createServer, type HttpServer } from '../../src/http/server.ts'
import { type HttpLimits, type HttpServices } from '../../src/http/services.ts'
import { type Audit, type AuditEvent } from '../../src/identity/audit.ts'
import { callerNamed, Callers } from '../../src/identity/caller.ts'
import { GroupRules } from '../../src/identity/groups.ts'
import { PosixMapping } from '../../src/identity/posix-mapping.ts'
import { type Credential, pemCertificates } from '../../src/identity/pem.ts'
import { TrustStore } from '../../src/identity/trust.ts'
import { JobRunner } from '../../src/jobs/runner.ts'
import { ACCOUNTS, accountsKind } from '../../src/space/account-jobs.ts'
import { ChangeStreams } from '../../src/space/change-stream.ts'
import { Leases } from '../../src/space/leases.ts'
import { type Mounts } from '../../src/space/mount-terms.ts'
import { Preauth } from '../../src/space/preauth.ts'
import { ASYNC_DELETE, ASYNC_SETPROPS, deleteKind, setpropsKind } from '../../src/space/recursive-jobs.ts'
import { DEFAULT_RULES, type Rules, type Space } from '../../src/space/space.ts'
import { transferKind } from '../../src/space/transfer-jobs.ts'
import { openStore, type Store } from '../../src/store/store.ts'
import { type GroupServices } from '../../src/vospace/group.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { service } from '../../src/vospace/uri.ts'
import { Http2Agent } from './http2-agent.ts'
import { authority, chainPem, credentials, dnOf, host, type Name } from './people.ts'
import { keepXml, watchXml } from './xml-answers.ts'

export const GROUP = 'ivo://karst.local/gms?team'
/** Whose groups count here; the alias is what vchmod of the Python client writes. */
export const GROUP_SERVICES: GroupServices = {
  own: 'ivo://karst.local/gms',
  aliases: ['ivo://cadc.nrc.ca/gms'],
  remote: ['ivo://remote.example/gms'],
}
export const VOS = 'vos://karst.local~karst'
/** Set to 2, the calls of a suite go by HTTP/2. */
const BY_HTTP2 = process.env['KARST_TEST_HTTP'] === '2'

const HOME = { groupRead: [], groupWrite: [], inherit: false, locked: false, isPublic: false } as const

export interface Call {
  readonly method?: string
  /** nobody: without a certificate */
  readonly as?: Name | 'dave' | Credential
  readonly headers?: Record<string, string | string[]>
  readonly body?: string | Buffer
}

export interface Reply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  readonly text: string
}

export interface GatewayOptions {
  readonly backend?: (memory: MemoryBackend) => Backend
  readonly rules?: Partial<Rules>
  readonly limits?: Partial<HttpLimits>
  readonly services?: Partial<HttpServices>
  readonly quota?: number
  /** what the rules tell of grants; of refusals, `services` */
  readonly audit?: Audit
  /** calls go by HTTP/2 (or not), whatever KARST_TEST_HTTP says */
  readonly http2?: boolean
  /** jobs of one owner that may wait */
  readonly waiting?: number
  /** partitions are mounted by negotiation; credentials are good for so many seconds */
  readonly mounting?: {
    readonly credentialSeconds?: number
    readonly homeQuota?: number
    readonly backends?: readonly (readonly [string, string])[]
  }
  /** accounts are administered here, and requests counted */
  readonly people?: {
    readonly accounts?: Partial<AccountsConfig>
    readonly limits?: LimitsConfig
    readonly audit?: AuditEvent[]
  }
}

/** `/home/alice`, `/home/bob` and a public `/pub` of alice's are there; alice and bob are in GROUP. */
export class Gateway {
  readonly server: HttpServer
  readonly space: Space
  readonly store: Store
  readonly preauth: Preauth
  readonly log: LogLine[]
  readonly runner: JobRunner
  readonly #agents = new Map<unknown, Agent>()
  readonly #http2: Http2Agent | undefined

  constructor(parts: {
    server: HttpServer
    space: Space
    store: Store
    preauth: Preauth
    log: LogLine[]
    runner: JobRunner
    http2?: boolean
  }) {
    if (parts.http2 ?? BY_HTTP2) this.#http2 = new Http2Agent(() => this.port)
    this.server = parts.server
    this.space = parts.space
    this.store = parts.store
    this.preauth = parts.preauth
    this.log = parts.log
    this.runner = parts.runner
  }

  get port(): number {
    return this.server.address.port
  }
  get url(): string {
    return `https://localhost:${this.port}/karst`
  }

  /** `target` is sent as it stands: below `/karst`, or from the root of the host with two slashes, or a URL of this gateway. */
  async call(target: string, call: Call = {}): Promise<Reply> {
    const reply = await this.#called(target, call)
    keepXml(target, reply.headers['content-type'], reply.text)
    return reply
  }

  async #called(target: string, { method = 'GET', as, headers = {}, body }: Call): Promise<Reply> {
    const path = this.path(target)
    if (this.#http2 !== undefined) return this.#http2.call(as, tlsOf(as), { path, method, headers, body })
    return new Promise((resolve, reject) => {
      const request = httpsRequest({ ...this.#where(as), path, method, headers }, (response) => {
        collect(response).then(resolve, reject)
      })
      request.on('error', reject)
      request.end(body)
    })
  }

  path(target: string): string {
    if (target.startsWith('https://')) return target.slice(new URL(target).origin.length)
    return target.startsWith('//') ? target.slice(1) : `/karst${target}`
  }

  /** A connection for bytes that no client would send. */
  async raw(as?: Name): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const socket = connect({ ...tlsOf(as), host: '127.0.0.1', port: this.port }, () => resolve(socket))
      socket.once('error', reject)
    })
  }

  #where(as: Call['as']) {
    const agent = this.#agents.get(as) ?? new Agent({ keepAlive: true, ...tlsOf(as) })
    this.#agents.set(as, agent)
    return { host: '127.0.0.1', port: this.port, agent }
  }

  async stop(): Promise<void> {
    for (const agent of this.#agents.values()) agent.destroy()
    this.#http2?.destroy()
    await this.runner.stop()
    await this.server.close(0)
    this.store.close()
  }
}

/** What a client of this identity says in the handshake, and whom it trusts. */
export function tlsOf(as?: Call['as']) {
  const credential = typeof as === 'string' ? credentials[as] : as
  const own = credential === undefined ? {} : { cert: chainPem(credential), key: credential.key }
  return { ca: authority.certificate, servername: 'localhost', ...own }
}

export async function collect(response: IncomingMessage): Promise<Reply> {
  const parts: Buffer[] = []
  for await (const part of response) parts.push(part as Buffer)
  const body = Buffer.concat(parts)
  return { status: response.statusCode ?? 0, headers: response.headers, body, text: body.toString('utf8') }
}

/** Starts one for a test; it stops with it. */
export async function startGateway(t: Test, options: GatewayOptions = {}): Promise<Gateway> {
  watchXml()
  const store = openStore(':memory:')
  for (const name of ['alice', 'bob', 'carol'] as const) {
    store.users.create({ name })
    store.users.addIdentity(name, { kind: 'x509', value: dnOf(name) })
  }
  store.groups.create(GROUP, { owner: 'alice' })
  for (const name of ['alice', 'bob']) store.groups.add(GROUP, name)
  const memory = new MemoryBackend({
    ids: store.ids(),
    ...(options.quota !== undefined && { quota: options.quota }),
    ...(options.rules?.allocationParents && { allocationParents: options.rules.allocationParents }),
  })
  await furnish(memory)
  const of = service('ivo://karst.local/karst')
  const rules: Rules = { ...DEFAULT_RULES, ...options.rules }
  const backend = options.backend?.(memory) ?? memory
  const groups = new GroupRules({ store: store.groups, services: GROUP_SERVICES })
  const space: Space = {
    backend,
    service: of,
    rules,
    changes: store.changes,
    ids: store.ids(),
    groupNames: groups,
    ...(options.audit && { audit: options.audit }),
  }
  const preauth = new Preauth(randomBytes(32), { seconds: 3600 })
  const trust = TrustStore.of(pemCertificates(authority.certificate))
  const log: LogLine[] = []
  const logger = recorder(log)
  const callerOf = (owner: string | undefined, admin: boolean) => callerNamed(owner, admin, store.users, store.groups)
  const runner = new JobRunner({
    store: store.jobs,
    callerOf,
    log: logger,
    ...(options.waiting !== undefined && { waiting: options.waiting }),
  })
  const people = peopleOf(options, store, space, logger)
  const listening: { server?: HttpServer } = {}
  const mounting = mountingIn(options, store, space, logger)
  t.teardown(() => mounting?.stop())
  const leases = new Leases(store.leases, store.changes)
  const changes = new ChangeStreams(store.changes)
  const services: HttpServices = {
    space,
    leases,
    changes,
    preauth,
    jobs: runner,
    operations: store.operations,
    callers: new Callers({
      trust: [trust],
      users: people?.accounts ?? store.users,
      groups: store.groups,
      ...(mounting && { partitions: mounting.tokens }),
      ...(people && { newcomer: (proof) => people.newcomers.admit(proof) }),
    }),
    ...(people && { accounts: people.accounts, traffic: people.traffic }),
    groups,
    ...(mounting && { mounting }),
    people: peopleAround(store, store.groups),
    mapping: new PosixMapping(store.ids(), GROUP_SERVICES),
    health: { check: async () => ({ available: true, upSince: Date.now(), notes: [] }) },
    get publicUrl() {
      return `https://localhost:${listening.server?.address.port ?? 0}/karst`
    },
    service: of,
    logger,
    version: '0.0.0',
    strict: rules.strict,
    ...(options.limits && { limits: options.limits }),
    ...options.services,
  }
  runner.register('transfers', transferKind(mounting === undefined ? services : servicesWith(services, mounting)))
  runner.register(ASYNC_DELETE, deleteKind(space))
  runner.register(ASYNC_SETPROPS, setpropsKind(space))
  if (people !== undefined) runner.register(ACCOUNTS, accountsKind(space, people.accounts))
  runner.start()
  const server = await createServer(services, { key: host.key, cert: host.certificate })
  await server.listen(0, '127.0.0.1')
  listening.server = server
  const gateway = new Gateway({
    server,
    space,
    store,
    preauth,
    log,
    runner,
    ...(options.http2 !== undefined && { http2: options.http2 }),
  })
  t.teardown(() => gateway.stop())
  return gateway
}

/** As the composition root does; the public URL stays a getter. */
const servicesWith = (services: HttpServices, mounts: Mounts) => ({
  ...{ space: services.space, preauth: services.preauth, mounts },
  get publicUrl() {
    return services.publicUrl
  },
})

function mountingIn({ mounting }: GatewayOptions, store: Store, space: Space, log: FastifyBaseLogger) {
  if (mounting === undefined) return undefined
  const { homeQuota, credentialSeconds = 600, backends = [['/', 'main']] } = mounting
  const places = partitionsConfig({ partitions: { credentialSeconds, scratch: { paths: ['/scratch', '/fast'] } } })
  if (places === undefined) return undefined
  const config = {
    partitions: { ...places, ...(homeQuota !== undefined && { homeQuota }) },
    namespace: backends.map(([path, backend]) => ({ path: nodePath(path), backend })),
    groupServices: [],
  }
  const callerOf = (name: string) => peopleAround(store, store.groups).callerOf(name)
  return mountingOf(config, { store, space, callerOf, key: randomBytes(32), log })
}

/** As the gateway of a site puts them together. */
function peopleOf({ people }: GatewayOptions, store: Store, space: Space, log: FastifyBaseLogger) {
  if (people === undefined) return undefined
  const { accounts = {}, limits = {}, audit = [] } = people
  const config = { accounts: { autoprovision: [], ...accounts }, backends: {}, limits }
  const noted = { note: (event: AuditEvent): void => void audit.push(event) }
  return { ...accountsOf(config, store, space, noted), traffic: trafficOf(config, store, log) }
}

async function furnish(memory: MemoryBackend): Promise<void> {
  const folder = async (path: string, owner: string, isPublic: boolean): Promise<unknown> =>
    memory.make(nodePath(path), { type: 'container', access: { ...HOME, owner, isPublic }, mode: 0o750 })
  await folder('/home', 'root', true)
  for (const name of ['alice', 'bob']) await folder(`/home/${name}`, name, false)
  await folder('/pub', 'alice', true)
}

/** A backend with some methods replaced: for what fails, waits or is watched. */
export function overlay(backend: Backend, methods: Partial<Backend>): Backend {
  return new Proxy(backend, {
    get(target, key) {
      // whoever replaces a method replaces it in both its forms
      if (key === 'walkNow' && methods.walk !== undefined && methods.walkNow === undefined) return undefined
      const value: unknown = Reflect.get(methods, key) ?? Reflect.get(target, key, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

export interface LogLine {
  readonly level: string
  readonly fields: unknown
  readonly text: string | undefined
}

/** Keeps what is logged, for tests of what must and must not be in it. */
function recorder(log: LogLine[]): FastifyBaseLogger {
  const write =
    (level: string) =>
    (fields: unknown, text?: string): void => {
      log.push({ level, fields, text })
    }
  const logger = {
    level: 'info',
    silent: () => undefined,
    ...Object.fromEntries(['fatal', 'error', 'warn', 'info', 'debug', 'trace'].map((level) => [level, write(level)])),
    child: () => logger,
  } as unknown as FastifyBaseLogger
  return logger
}

/** A node document as a client writes it. */
export function node(path: string, type = 'ContainerNode', inside = ''): string {
  return `<vos:node xmlns:vos="http://www.ivoa.net/xml/VOSpace/v2.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    uri="${VOS}${path}" xsi:type="vos:${type}">${inside}</vos:node>`
}

export const property = (uri: string, value: string): string =>
  `<vos:properties><vos:property uri="${uri}">${value}</vos:property></vos:properties>`

/** Headers of a change through /fs/v1. */
export const operation = (id: string = randomUUID()): { 'operation-id': string } => ({ 'operation-id': id })
