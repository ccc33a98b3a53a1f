/** The part of the configuration that is about storage profiles: one kind of entry for each type of backend, and which paths each keeps. */
import { nodePath } from './vospace/path.ts'

export type BackendConfig = PosixBackendConfig | CephFsBackendConfig | S3BackendConfig

export interface PosixBackendConfig {
  readonly type: 'posix'
  readonly root: string
  readonly mode: 'auto' | 'root' | 'unprivileged'
  readonly unlabelledOwner?: string
  /** whether a process of its own serves it; absent: CephFS, unless a POSIX mapper gives numbers */
  readonly ownProcess?: boolean
  readonly quotas: QuotaConfig
}

export interface QuotaConfig {
  /** who counts and refuses; auto: the file system where it has project quotas */
  readonly keptBy: 'auto' | 'storage' | 'gateway'
  /** numbers of projects that are given to allocations, both included */
  readonly projects: { readonly first: number; readonly last: number }
}

export interface CephFsBackendConfig extends Omit<PosixBackendConfig, 'type' | 'quotas'> {
  readonly type: 'cephfs'
  /** data pool of what is written */
  readonly pool?: string
}

/** As it stands in the file. */
export type BackendDocument = PosixBackendDocument | CephFsBackendDocument | S3BackendDocument

export interface PosixBackendDocument {
  type: 'posix'
  root: string
  mode?: 'auto' | 'root' | 'unprivileged'
  unlabelledOwner?: string
  ownProcess?: boolean
  quotas?: { keptBy?: QuotaConfig['keptBy']; projects?: QuotaConfig['projects'] }
}

export interface CephFsBackendDocument extends Omit<PosixBackendDocument, 'type' | 'quotas'> {
  type: 'cephfs'
  pool?: string
}

/** A bucket; the tree of its nodes is kept in a catalog among the state. */
export interface S3BackendConfig {
  readonly type: 's3'
  readonly endpoint: string
  readonly bucket: string
  /** JSON with accessKeyId and secretAccessKey */
  readonly credentials: string
  readonly region: string
  /** what the keys of our objects begin with */
  readonly prefix: string
  readonly ca?: string
  readonly pathStyle: boolean
  readonly checksums: 'when-required' | 'when-supported'
  readonly signPayload: boolean
  readonly etag: 'md5' | 'opaque'
  readonly attempts: number
  /** seconds */
  readonly timeout: number
  readonly partBytes: number
  readonly parallelParts: number
  readonly parallelReads: number
  readonly copyBytes: number
  readonly graceSeconds: number
  readonly capacity?: number
  readonly presigned?: PresignedConfig
}

/** Whether clients are sent to the S3 server itself. */
export interface PresignedConfig {
  readonly pull: boolean
  readonly push: boolean
  /** that a URL is good for */
  readonly seconds: number
  /** the server as clients reach it; default: as the gateway does */
  readonly endpoint?: string
}

type Required = 'endpoint' | 'bucket' | 'credentials'

export type S3BackendDocument = { type: 's3' } & Pick<S3BackendConfig, Required> &
  Partial<Omit<S3BackendConfig, Required | 'type' | 'presigned'>> & { presigned?: Partial<PresignedConfig> }

/** Far from the numbers that administrators write into /etc/projects. */
const QUOTA_DEFAULTS = { keptBy: 'auto', projects: { first: 1_000_000, last: 1_999_999 } } as const

const MIB = 2 ** 20

const S3_DEFAULTS = {
  region: 'us-east-1',
  prefix: 'karst/',
  pathStyle: true,
  checksums: 'when-required',
  signPayload: false,
  etag: 'md5',
  attempts: 3,
  timeout: 30,
  partBytes: 8 * MIB,
  parallelParts: 4,
  // more gained nothing where the server is near
  parallelReads: 1,
  // AWS's own bound on what it copies in one request
  copyBytes: 5 * 1024 * MIB,
  graceSeconds: 900,
} as const

/** A withdrawn permission counts late by so much at most. */
const PRESIGNED = { pull: false, push: false, seconds: 300 } as const

/** With its defaults; `file` makes names of files absolute. */
export function backendConfig(document: BackendDocument, file: (path: string) => string): BackendConfig {
  if (document.type === 'posix') {
    const quotas = { ...QUOTA_DEFAULTS, ...document.quotas }
    return { ...document, root: file(document.root), mode: document.mode ?? 'auto', quotas }
  }
  if (document.type === 'cephfs') return { ...document, root: file(document.root), mode: document.mode ?? 'auto' }
  const { ca, credentials, presigned, ...given } = document
  return {
    ...S3_DEFAULTS,
    ...given,
    credentials: file(credentials),
    ...(ca !== undefined && { ca: file(ca) }),
    ...(presigned !== undefined && { presigned: { ...PRESIGNED, ...presigned } }),
  }
}

/** The folders that are served. */
export function foldersServed(backends: Readonly<Record<string, BackendConfig>>): string[] {
  return Object.values(backends).flatMap((backend) => ('root' in backend ? [backend.root] : []))
}

/** What a schema cannot say. */
export const storageMistakes = (document: StorageDocument): string[] => [
  ...namespaceMistakes(document),
  ...projectMistakes(document),
]

function projectMistakes({ backends }: StorageDocument): string[] {
  return Object.entries(backends).flatMap(([name, backend]) => {
    if (backend.type !== 'posix') return []
    const { first, last } = backend.quotas?.projects ?? QUOTA_DEFAULTS.projects
    return first > last ? [`backend ${name}: no project number is from ${first} to ${last}`] : []
  })
}

function namespaceMistakes({ backends, namespace }: StorageDocument): string[] {
  const mistakes: string[] = []
  const paths = namespace.map(({ path }) => path)
  if (!paths.includes('/')) mistakes.push('namespace: no line is for /')
  for (const [i, { path, backend }] of namespace.entries()) {
    if (!(backend in backends)) mistakes.push(`namespace ${path}: there is no backend named ${backend}`)
    if (paths.indexOf(path) !== i) mistakes.push(`namespace ${path}: it is there twice`)
    if (path.split('/').includes('.karst')) mistakes.push(`namespace ${path}: .karst is a reserved name`)
    try {
      nodePath(path)
    } catch (error) {
      mistakes.push(`namespace: ${(error as Error).message}`)
    }
  }
  return mistakes
}

interface StorageDocument {
  readonly backends: Readonly<Record<string, BackendDocument>>
  readonly namespace: readonly { readonly path: string; readonly backend: string }[]
}
