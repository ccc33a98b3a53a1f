/** The composition root: the only file in src that names every concrete class. Makes a gateway of a configuration. */
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, realpath, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createSecureContext } from 'node:tls'
import { pino, type Logger } from 'pino'
import { type Backend } from './backend/backend.ts'
import { startStorages, storagesOf, type Storages } from './app-backends.ts'
import { foreignGroupsOf, keptGroups, lastingGroups, membershipSeconds, storeOf } from './app-groups.ts'
import { pushesOf, registerJobs } from './app-jobs.ts'
import { numberedNames, numbersOf } from './app-numbers.ts'
import { auditOf, type AuditKept } from './app-audit.ts'
import { mountingOf, type Mounting } from './app-partitions.ts'
import { accountsOf, checkHomes, enrol, peopleOf, trafficOf } from './app-people.ts'
import { foldersServed } from './config-backends.ts'
import { standApart, type Config } from './config.ts'
import { ConfigError, version } from './environment.ts'
import { healthOf } from './health.ts'
import { createServer, type HttpServer } from './http/server.ts'
import { type Audit } from './identity/audit.ts'
import { type Accounts } from './identity/accounts.ts'
import { callerNamed, Callers } from './identity/caller.ts'
import { CredentialService, readAuthority } from './identity/credential-service.ts'
import { Delegations } from './identity/delegation.ts'
import { Tokens } from './identity/token.ts'
import { GroupRules } from './identity/groups.ts'
import { PosixMapping } from './identity/posix-mapping.ts'
import { TrustPlaces } from './identity/trust-places.ts'
import { JobRunner } from './jobs/runner.ts'
import { LogFile } from './log-file.ts'
import { ACCOUNTS, accountsKind } from './space/account-jobs.ts'
import { type People } from './space/access.ts'
import { ChangeStreams } from './space/change-stream.ts'
import { Leases } from './space/leases.ts'
import { Preauth } from './space/preauth.ts'
import { type Pushes } from './space/pushes.ts'
import { DEFAULT_RULES, type Space } from './space/space.ts'
import { sweepHourly } from './space/trash-sweep.ts'
import { type Store } from './store/store.ts'
import { isFault } from './vospace/fault.ts'
import { createdMode } from './vospace/mode.ts'
import { type Access } from './vospace/node.ts'
import { type NodePath } from './vospace/path.ts'
import { service } from './vospace/uri.ts'

export { checkStorages } from './app-backends.ts'

/** A running gateway. */
export interface Gateway {
  /** the service base, as configured */
  readonly url: string
  /** Makes what is missing; leaves what is there as it is. */
  provision(nodes: readonly Provision[]): Promise<void>
  /** Server certificate and trusted CAs are read again; on failure the old ones stay, and it rejects. */
  reload(): Promise<void>
  /** Ends listening, lets requests finish for a while, closes the stores. */
  close(): Promise<void>
}

/** A node that shall exist. */
export interface Provision {
  readonly path: NodePath
  /** undefined: nobody's, the system's */
  readonly owner: string | undefined
  readonly access: Partial<Omit<Access, 'owner'>>
  /** a data node with these bytes; without: a container */
  readonly bytes?: Buffer
  readonly properties?: Readonly<Record<string, string>>
}

/** Seconds that requests under way have when the gateway is told to stop. */
const DRAIN_SECONDS = 25

/** Resolves when the gateway answers. Rejects, with nothing left open, when it cannot start. */
export async function startGateway(config: Config, options: { readonly logFile?: string }): Promise<Gateway> {
  const log = new LogFile(options.logFile)
  const logger = pino({ level: config.logLevel, base: { pid: process.pid } }, log)
  const open: (() => Promise<void> | void)[] = [() => log.close()]
  const closeAll = async (): Promise<void> => {
    for (const close of open.splice(0).reverse()) await close()
  }
  try {
    await mkdir(config.state, { recursive: true, mode: 0o700 })
    await checkApart(config)
    const kept = keptGroups(config)
    const store = storeOf(config)
    open.push(() => store.close())
    const mapper = await numbersOf(config, store, logger)
    open.push(() => mapper?.close())
    enrol(store, config)
    const storages = storagesOf(config, store, logger)
    const { backend } = storages
    await startStorages(storages)
    open.push(() => backend.stop())
    const audit = auditOf(config, logger)
    open.push(() => audit.close())
    const groups = new GroupRules({ store: store.groups, services: kept, audit })
    const space = { ...makeSpace(config, store, backend), groupNames: numberedNames(groups, store), audit }
    await checkHomes(config, space)
    const trust = await TrustPlaces.open(config.trust, logger)
    open.push(() => trust.close())
    const tokens = tokensOf(config, logger)
    const late: { delegations?: Delegations } = {}
    const remoteGroups = await foreignGroupsOf(config, logger, tokens, () => late.delegations)
    open.push(() => remoteGroups?.close())
    const lasting = lastingGroups(store, remoteGroups)
    const runner = new JobRunner({
      store: store.jobs,
      callerOf: (owner, admin) => callerNamed(owner, admin, store.users, lasting),
      log: logger,
      waiting: config.jobs.waiting,
    })
    const { accounts, newcomers } = accountsOf(config, store, space, audit, async (name) =>
      mapper?.settled('user', name),
    )
    runner.register(ACCOUNTS, accountsKind(space, accounts))
    const people = peopleOf(store, lasting)
    const mounting = mountingOf(config, {
      ...{ store, space, log: logger },
      callerOf: (user) => people.callerOf(user),
      key: await secret(config, 'partition.key'),
    })
    open.push(() => mounting?.stop())
    const callers = new Callers({
      trust: trust.stores,
      users: accounts,
      groups: store.groups,
      newcomer: (proof) => newcomers.admit(proof),
      ...(tokens && { tokens }),
      ...(mounting && { partitions: mounting.tokens }),
      ...(remoteGroups && { remoteGroups }),
    })
    const issuing = await issuingOf(config, store, callers, audit)
    late.delegations = issuing.delegations
    open.push(issuing.delegations.sweeping())
    const parts = {
      store,
      storages,
      space,
      callers,
      accounts,
      groups,
      issuing,
      logger,
      runner,
      people,
      audit,
      mounting,
    }
    const preauth = await preauthOf(config, store)
    const pushes = pushesOf({ ...parts, preauth })
    const server = await listen(config, { ...parts, preauth, pushes })
    if (pushes !== undefined) open.push(pushes.start())
    open.push(() => server.close(DRAIN_SECONDS))
    // before the server: who waits for a job is answered then
    open.push(() => runner.stop())
    runner.start()
    open.push(sweepHourly(space, logger))
    return {
      url: config.service.url,
      provision: (nodes) => provision(backend, nodes),
      reload: async () => {
        try {
          audit.reopen()
        } finally {
          const takeOver = await trust.prepare()
          const authority = config.credentials && (await readAuthority(config.credentials.ca))
          server.reloadTls(await tlsFiles(config))
          takeOver()
          if (authority !== undefined) issuing.credentials?.use(authority)
          await tokens?.reload()
        }
        audit.note({ act: 'gateway.reload', by: null, on: config.service.resourceId, result: 'allowed' })
      },
      close: closeAll,
    }
  } catch (error) {
    await closeAll()
    throw error
  }
}

/** What a start needs of the files that a configuration names, without a start: their absence, or a key of another certificate, is thrown. */
export async function checkFiles(config: Config): Promise<void> {
  const { cert, key } = await tlsFiles(config)
  try {
    createSecureContext({ cert, key })
  } catch (error) {
    throw new ConfigError(`tls: ${(error as Error).message}`, { cause: error })
  }
  for (const root of foldersServed(config.backends)) await realpath(root)
  const trust = await TrustPlaces.open(config.trust, pino({ level: 'silent' }))
  trust.close()
}

/** Secrets and database are not part of what is served, and no tree is served twice. Throws ConfigError. */
async function checkApart(config: Config): Promise<void> {
  const state = await realpath(config.state)
  const earlier: string[] = []
  for (const root of foldersServed(config.backends)) {
    const served = await realpath(root)
    const other = earlier.find((one) => !standApart(one, served))
    if (other !== undefined) {
      throw new ConfigError(`the served trees ${other} and ${served} must stand apart, neither in the other`)
    }
    earlier.push(served)
    if (!standApart(state, served)) {
      throw new ConfigError(
        `the state folder ${state} and the served tree ${served} must stand apart, neither in the other`,
      )
    }
  }
}

/** What the system says when it will not let us listen, with what to do about it. */
function listenError(error: NodeJS.ErrnoException, { host, port }: Config['listen']): Error {
  const why: Record<string, string> = {
    EADDRINUSE: 'it is in use by another program; choose another port',
    EACCES: 'ports below 1024 are for root; choose a higher one',
    EADDRNOTAVAIL: 'this machine has no such address',
  }
  const reason = why[error.code ?? '']
  if (reason === undefined) return error
  return new ConfigError(`cannot listen on ${host} port ${port} (${error.code}): ${reason}`, { cause: error })
}

function makeSpace(config: Config, store: Store, backend: Backend): Space {
  const { allocations: allocationParents, strict, trash } = config
  return {
    backend,
    service: service(config.service.resourceId),
    rules: { ...DEFAULT_RULES, allocationParents, strict, trashDays: trash.days },
    changes: store.changes,
    ids: store.ids(),
  }
}

/** Their keys are fetched from the start on, but nobody waits: an issuer that is down keeps no gateway from starting. */
function tokensOf(config: Config, logger: Logger): Tokens | undefined {
  if (config.tokens.length === 0) return undefined
  const tokens = new Tokens(config.tokens, { notice: (keys) => logger.info({ keys }, 'tokens') })
  void tokens.reload()
  return tokens
}

/** What the gateway keeps for users and makes for them. */
interface Issuing {
  readonly delegations: Delegations
  readonly credentials?: CredentialService
}

async function issuingOf(config: Config, store: Store, callers: Callers, audit: Audit): Promise<Issuing> {
  const verify = callers.verify.bind(callers)
  const key = await secret(config, 'delegation.key')
  const delegations = new Delegations({ store: store.delegations, key, verify, users: store.users, audit })
  if (config.credentials === undefined) return { delegations }
  const { ca, ...rest } = config.credentials
  const authority = await readAuthority(ca)
  return { delegations, credentials: new CredentialService({ authority, ...rest, users: store.users, audit }) }
}

interface Parts {
  readonly store: Store
  readonly storages: Storages
  readonly space: Space
  readonly callers: Callers
  readonly accounts: Accounts
  readonly groups: GroupRules
  readonly issuing: Issuing
  readonly logger: Logger
  readonly runner: JobRunner
  readonly people: People
  readonly audit: AuditKept
  readonly mounting: Mounting | undefined
}

interface Listening extends Parts {
  readonly preauth: Preauth
  readonly pushes: Pushes | undefined
}

async function preauthOf(config: Config, store: Store): Promise<Preauth> {
  return new Preauth(await secret(config, 'preauth.key'), {
    seconds: config.preauthorizedSeconds,
    membershipSeconds: membershipSeconds(config, store.groups),
  })
}

async function listen(config: Config, parts: Listening): Promise<HttpServer> {
  const { store, storages, space, callers, accounts, groups, issuing, logger, runner, people, audit, mounting } = parts
  const { preauth, pushes } = parts
  const check = healthOf({
    database: store.probe,
    storages: storages.byName,
    folders: foldersServed(config.backends),
    upSince: Date.now(),
    log: logger,
  })
  const transfers = { space, preauth, publicUrl: config.service.url, ...(mounting && { mounts: mounting }) }
  registerJobs(runner, transfers, store.binds)
  const server = await createServer(
    {
      space,
      preauth,
      jobs: runner,
      operations: store.operations,
      leases: new Leases(store.leases, store.changes),
      changes: new ChangeStreams(store.changes),
      callers,
      accounts,
      traffic: trafficOf(config, store, logger),
      groups,
      mapping: new PosixMapping(store.ids(), groups.services),
      ...issuing,
      people,
      audit,
      ...(mounting && { mounting }),
      ...(pushes && { pushes }),
      signOn: { tokens: callers.tokens !== undefined, logins: config.tokens.flatMap(({ login }) => login ?? []) },
      health: { check: audit.checked(check) },
      ...(config.forwardedCertificates && { forwardedCertificates: config.forwardedCertificates }),
      http2: config.listen.http2,
      ...(config.listen.proxyProtocol && { proxyProtocol: config.listen.proxyProtocol }),
      trustedMounts: config.mounts.trusted,
      publicUrl: config.service.url,
      service: space.service,
      logger,
      version: version(),
      strict: config.strict,
    },
    await tlsFiles(config),
  )
  try {
    await server.listen(config.listen.port, config.listen.host)
  } catch (error) {
    throw listenError(error as NodeJS.ErrnoException, config.listen)
  }
  return server
}

async function tlsFiles(config: Config): Promise<{ cert: string; key: string }> {
  return {
    cert: await readFile(config.tls.certificate, 'utf8'),
    key: await readFile(config.tls.key, 'utf8'),
  }
}

/** A key, of pre-authorised URLs or delegations: 32 random bytes, kept so that they survive a restart. */
async function secret(config: Config, name: string): Promise<Buffer> {
  const file = join(config.state, name)
  try {
    const kept = await readFile(file)
    if (kept.length === 32) return kept
    throw new ConfigError(`${file} is not 32 bytes: remove it, and a new one is made`)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    const fresh = randomBytes(32)
    // whole or not at all: half a key would keep the next start from its own
    await writeFile(`${file}.new`, fresh, { mode: 0o600 })
    await rename(`${file}.new`, file)
    return fresh
  }
}

async function provision(backend: Backend, nodes: readonly Provision[]): Promise<void> {
  for (const node of nodes) {
    try {
      await provisionOne(backend, node)
    } catch (error) {
      if (!isFault(error, 'DuplicateNode')) throw error
    }
  }
}

async function provisionOne(backend: Backend, node: Provision): Promise<void> {
  const access: Access = {
    owner: node.owner ?? `uid:${process.getuid?.() ?? 0}`,
    isPublic: false,
    groupRead: [],
    groupWrite: [],
    inherit: false,
    locked: false,
    ...node.access,
  }
  const type = node.bytes === undefined ? 'container' : 'data'
  const properties = new Map(Object.entries(node.properties ?? {}))
  const draft = { access, mode: createdMode(type, undefined, access), properties }
  if (node.bytes === undefined) await backend.make(node.path, { type: 'container', ...draft })
  else await backend.put(node.path, pieces(node.bytes), { draft, ifAbsent: true })
}

async function* pieces(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes
}
