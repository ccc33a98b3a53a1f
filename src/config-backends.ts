/** The part of the configuration that is about storage profiles: one kind of entry for each type of backend, and which paths each keeps. */
import { nodePath } from './vospace/path.ts'

export type BackendConfig = PosixBackendConfig | CephFsBackendConfig | S3BackendConfig

export interface PosixBackendConfig {
  readonly type: 'posix'
  readonly root: string
  readonly mode: 'auto' | 'root' | 'unprivileged'
  readonly unlabelledOwner?: string
}

export interface CephFsBackendConfig extends Omit<PosixBackendConfig, 'type'> {
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
}

export interface CephFsBackendDocument extends Omit<PosixBackendDocument, 'type'> {
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
  readonly copyBytes: number
  readonly graceSeconds: number
  readonly capacity?: number
}

type Required = 'endpoint' | 'bucket' | 'credentials'

export type S3BackendDocument = { type: 's3' } & Pick<S3BackendConfig, Required> &
  Partial<Omit<S3BackendConfig, Required | 'type'>>

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
  // AWS's own bound on what it copies in one request
  copyBytes: 5 * 1024 * MIB,
  graceSeconds: 900,
} as const

/** With its defaults; `file` makes names of files absolute. */
export function backendConfig(document: BackendDocument, file: (path: string) => string): BackendConfig {
  if (document.type !== 's3') return { ...document, root: file(document.root), mode: document.mode ?? 'auto' }
  const { ca, credentials, ...given } = document
  return {
    ...S3_DEFAULTS,
    ...given,
    credentials: file(credentials),
    ...(ca !== undefined && { ca: file(ca) }),
  }
}

/** The folders that are served. */
export function foldersServed(backends: Readonly<Record<string, BackendConfig>>): string[] {
  return Object.values(backends).flatMap((backend) => ('root' in backend ? [backend.root] : []))
}

/** What a schema cannot say of the table of prefixes. */
export function namespaceMistakes({ backends, namespace }: NamespaceDocument): string[] {
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

interface NamespaceDocument {
  readonly backends: Readonly<Record<string, unknown>>
  readonly namespace: readonly { readonly path: string; readonly backend: string }[]
}
