/**
 * The configuration: read, validated against schemas/config.schema.json with all mistakes reported at once, frozen.
 * The only file that reads the environment.
 */
import { readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import {
  accountMistakes,
  accountsConfig,
  type AccountsConfig,
  type AccountsDocument,
  type LimitsConfig,
} from './config-accounts.ts'
import { backendConfig, storageMistakes, type BackendConfig, type BackendDocument } from './config-backends.ts'
import {
  listenConfig,
  listenMistakes,
  type ForwardedConfig,
  type ListenConfig,
  type ListenDocument,
} from './config-listen.ts'
import {
  partitionMistakes,
  partitionsConfig,
  type PartitionsConfig,
  type PartitionsDocument,
} from './config-partitions.ts'
import {
  posixMapperConfig,
  posixMapperMistakes,
  type PosixMapperConfig,
  type PosixMapperDocument,
} from './config-posix-mapper.ts'
import { issuerMistakes, tokenConfig, type TokenConfig, type TokenDocument } from './config-tokens.ts'
import { ConfigError, PACKAGE_ROOT } from './environment.ts'
import { nodePath, type NodePath } from './vospace/path.ts'

export interface Config {
  readonly service: { readonly resourceId: string; readonly url: string }
  readonly listen: ListenConfig
  readonly tls: { readonly certificate: string; readonly key: string }
  readonly trust: readonly TrustConfig[]
  readonly tokens: readonly TokenConfig[]
  /** absent: no certificates are issued here */
  readonly credentials?: CredentialsConfig
  /** absent: numbers of users and groups are given here */
  readonly posixMapper?: PosixMapperConfig
  /** absent: a header never says who somebody is */
  readonly forwardedCertificates?: ForwardedConfig
  readonly state: string
  readonly backends: Readonly<Record<string, BackendConfig>>
  readonly namespace: readonly { readonly path: NodePath; readonly backend: string }[]
  readonly allocations: readonly NodePath[]
  readonly administrators: readonly string[]
  /** administrators whose mounts may act for everybody */
  readonly mounts: { readonly trusted: readonly string[] }
  readonly users: readonly UserConfig[]
  /** the service that keeps the groups of this site */
  readonly gms: { readonly resourceId: string; readonly aliases: readonly string[] }
  readonly groupServices: readonly GroupServiceConfig[]
  readonly groups: readonly { readonly uri: string; readonly owner: string; readonly members: readonly string[] }[]
  /** seconds */
  readonly preauthorizedSeconds: number
  readonly strict: boolean
  /** how long what is deleted through VOSpace waits in the trash; 0: it is gone at once */
  readonly trash: { readonly days: number }
  readonly accounts: AccountsConfig
  /** absent: nothing is mounted by negotiation */
  readonly partitions?: PartitionsConfig
  readonly limits: LimitsConfig
  /** `waiting`: PENDING and QUEUED jobs that one owner may have; anonymous callers together */
  readonly jobs: { readonly waiting: number }
  readonly logLevel: string
  /** absent: grants, refusals and administrative acts go to the log */
  readonly audit?: { readonly file: string }
}

export interface TrustConfig {
  readonly path: string
  readonly kind: 'grid' | 'site'
  readonly signingPolicy: Requirement
  readonly crl: Requirement
  readonly pollSeconds: number
}

type Requirement = 'off' | 'if-present' | 'require'

export interface UserConfig {
  readonly name: string
  readonly uid?: number
  /** distinguished names */
  readonly x509?: readonly string[]
  /** `issuer subject` */
  readonly oidc?: readonly string[]
}

/** Certificates for users, by the authority of the site. */
export interface CredentialsConfig {
  readonly ca: { readonly certificate: string; readonly key: string }
  readonly maximumDays: number
  /** DN with {user} in it */
  readonly subject?: string
}

/** Seconds. */
export interface GroupServiceConfig {
  /** its resource ID */
  readonly authority: string
  readonly url: string
  readonly ca?: string
  readonly timeout: number
  readonly ttl: number
  readonly staleIfError: number
}

/** As it stands in the file: defaults not yet filled in, file names as written. */
export interface ConfigDocument extends AccountsDocument, ListenDocument, PartitionsDocument, PosixMapperDocument {
  service: { resourceId: string; url: string }
  tls: { certificate: string; key: string }
  trust?: (
    | string
    | {
        path: string
        kind?: 'grid' | 'site'
        signingPolicy?: Requirement
        crl?: Requirement
        pollSeconds?: number
      }
  )[]
  tokens?: TokenDocument[]
  state: string
  backends: Record<string, BackendDocument>
  namespace: { path: string; backend: string }[]
  allocations?: string[]
  administrators?: string[]
  mounts?: { trusted?: string[] }
  users?: UserConfig[]
  gms?: { resourceId?: string; aliases?: string[] }
  groupServices?: {
    authority: string
    url: string
    ca?: string
    timeout?: number
    ttl?: number
    staleIfError?: number
  }[]
  groups?: { uri: string; owner: string; members: string[] }[]
  preauthorizedSeconds?: number
  strict?: boolean
  credentials?: { ca: { certificate: string; key: string }; maximumDays?: number; subject?: string }
  trash?: { days?: number }
  jobs?: { waiting?: number }
  logLevel?: string
  audit?: false | { file?: string }
}

/** Reads and validates a configuration file. Throws ConfigError. */
export function loadConfig(file: string): Config {
  let document: unknown
  try {
    document = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new ConfigError(`${file}: ${(error as Error).message}`, { cause: error })
  }
  return readConfig(document, dirname(resolve(file)), file)
}

/** Validates a document; `folder` is what relative file names are relative to. Throws ConfigError. */
export function readConfig(document: unknown, folder: string, name = 'configuration'): Config {
  const valid = validator()
  const mistakes = valid(document) ? consistency(document as ConfigDocument) : (valid.errors ?? []).map(sentence)
  if (mistakes.length > 0) throw new ConfigError(mistakes.map((mistake) => `${name}: ${mistake}`).join('\n'))
  return deepFreeze(complete(document as ConfigDocument, folder))
}

let compiled: ValidateFunction | undefined

function validator(): ValidateFunction {
  const schema: unknown = JSON.parse(readFileSync(join(PACKAGE_ROOT, 'schemas', 'config.schema.json'), 'utf8'))
  compiled ??= new Ajv({ allErrors: true, strict: false, discriminator: true }).compile(schema as object)
  return compiled
}

function sentence(error: ErrorObject): string {
  const where = error.instancePath === '' ? 'the document' : error.instancePath.slice(1).replaceAll('/', '.')
  const extra = error.params as Record<string, unknown>
  if (error.keyword === 'discriminator')
    return `${where}.${String(extra['tag'])} is none that there is (${JSON.stringify(extra['tagValue'])})`
  const what = extra['additionalProperty'] ?? extra['allowedValues'] ?? extra['allowedValue']
  return `${where} ${error.message ?? 'is wrong'}${what === undefined ? '' : ` (${JSON.stringify(what)})`}`
}

/** What a schema cannot say. */
function consistency(document: ConfigDocument): string[] {
  const mistakes: string[] = []
  mistakes.push(...storageMistakes(document))
  const users = new Set(document.users?.map((user) => user.name))
  for (const group of document.groups ?? []) {
    for (const member of [group.owner, ...group.members]) {
      if (!users.has(member)) mistakes.push(`groups ${group.uri}: ${member} is not among users`)
    }
  }
  for (const admin of document.administrators ?? []) {
    if (!users.has(admin)) mistakes.push(`administrators: ${admin} is not among users`)
  }
  for (const user of document.mounts?.trusted ?? []) {
    if (document.administrators?.includes(user) !== true) mistakes.push(`mounts.trusted: ${user} is no administrator`)
  }
  mistakes.push(...issuerMistakes(document.tokens ?? []), ...groupServiceMistakes(document))
  mistakes.push(...accountMistakes(document), ...posixMapperMistakes(document), ...partitionMistakes(document))
  for (const path of document.allocations ?? []) {
    try {
      nodePath(path)
    } catch (error) {
      mistakes.push(`allocations: ${(error as Error).message}`)
    }
  }
  return [...mistakes, ...listenMistakes(document)]
}

type Listed = NonNullable<ConfigDocument['trust']>[number]

function completeTrust(listed: Listed, file: (path: string) => string): TrustConfig {
  const { path, kind = 'site', ...more } = typeof listed === 'string' ? { path: listed } : listed
  const signingPolicy = kind === 'grid' ? 'require' : 'if-present'
  return { kind, signingPolicy, crl: 'if-present', pollSeconds: 60, ...more, path: file(path) }
}

/** A group must be of one service. */
function groupServiceMistakes(document: ConfigDocument): string[] {
  const { resourceId, aliases } = groupsKept(document)
  const remote = (document.groupServices ?? []).map(({ authority }) => authority)
  const all = [document.service.resourceId, resourceId, ...aliases, ...remote]
  return all
    .filter((id, i) => all.indexOf(id) !== i)
    .map((id) => `gms, groupServices: ${id} is there twice, and groups are kept by one service`)
}

function groupsKept({ service, gms = {} }: ConfigDocument): Config['gms'] {
  const { resourceId = service.resourceId.replace(/^(ivo:\/\/[^/]+)\/.*$/, '$1/gms'), aliases = [] } = gms
  return { resourceId, aliases }
}

function credentialsConfig(
  { ca, maximumDays = 30, ...rest }: NonNullable<ConfigDocument['credentials']>,
  file: (path: string) => string,
): CredentialsConfig {
  return { maximumDays, ...rest, ca: { certificate: file(ca.certificate), key: file(ca.key) } }
}

function complete(document: ConfigDocument, folder: string): Config {
  const file = (path: string): string => resolve(folder, path)
  const partitions = partitionsConfig(document, document.accounts?.home)
  return {
    service: document.service,
    listen: listenConfig(document),
    tls: { certificate: file(document.tls.certificate), key: file(document.tls.key) },
    trust: (document.trust ?? []).map((listed) => completeTrust(listed, file)),
    ...(document.forwardedCertificates && {
      forwardedCertificates: { header: 'Client-Cert', ...document.forwardedCertificates },
    }),
    tokens: (document.tokens ?? []).map((one) => tokenConfig(one, file)),
    state: file(document.state),
    backends: Object.fromEntries(
      Object.entries(document.backends).map(([name, backend]) => [name, backendConfig(backend, file)]),
    ),
    namespace: document.namespace.map(({ path, backend }) => ({ path: nodePath(path), backend })),
    allocations: (document.allocations ?? []).map(nodePath),
    administrators: document.administrators ?? [],
    mounts: { trusted: document.mounts?.trusted ?? [] },
    users: document.users ?? [],
    gms: groupsKept(document),
    groupServices: (document.groupServices ?? []).map(({ ca, ...rest }) => ({
      timeout: 3,
      ttl: 300,
      staleIfError: 0,
      ...rest,
      ...(ca !== undefined && { ca: file(ca) }),
    })),
    groups: document.groups ?? [],
    preauthorizedSeconds: document.preauthorizedSeconds ?? 3600,
    strict: document.strict ?? false,
    ...(document.credentials && { credentials: credentialsConfig(document.credentials, file) }),
    trash: { days: document.trash?.days ?? 7 },
    ...(document.posixMapper && { posixMapper: posixMapperConfig(document.posixMapper, file) }),
    accounts: accountsConfig(document),
    ...(partitions !== undefined && { partitions }),
    limits: document.limits ?? {},
    jobs: { waiting: document.jobs?.waiting ?? 1000 },
    logLevel: document.logLevel ?? 'info',
    ...(document.audit !== false && {
      audit: { file: file(document.audit?.file ?? join(document.state, 'audit.jsonl')) },
    }),
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    Object.values(value).forEach(deepFreeze)
    Object.freeze(value)
  }
  return value
}

/** Whether neither of two folders (absolute, links resolved) is the other or within it. */
export function standApart(a: string, b: string): boolean {
  const outside = (path: string, folder: string): boolean => /^\.\.(\/|$)/.test(relative(folder, path))
  return outside(a, b) && outside(b, a)
}
