/** The part of the composition root that is about storage: makes the backend that an entry of the configuration describes. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type S3Client } from '@aws-sdk/client-s3'
import { pino, type Logger } from 'pino'
import { type Backend } from './backend/backend.ts'
import { RoutedBackend } from './backend/routed.ts'
import { Routes } from './backend/routes.ts'
import { Bucket } from './backend/s3/bucket.ts'
import { s3Client } from './backend/s3/client.ts'
import { checkStore, type CheckCounts, type Finding } from './backend/s3/check.ts'
import { type S3Options } from './backend/s3/opened.ts'
import { S3Backend } from './backend/s3/s3.ts'
import { Presigned } from './backend/s3/presigned.ts'
import { PushUrls } from './backend/s3/push-urls.ts'
import { makeTree, type Parts } from './app-trees.ts'
import { type PresignedConfig, type S3BackendConfig } from './config-backends.ts'
import { type Config } from './config.ts'
import { ConfigError } from './environment.ts'
import { openStore, type Store } from './store/store.ts'
import { isFault } from './vospace/fault.ts'
import { isWithin, type NodePath } from './vospace/path.ts'

/** Everything that is served, and the storage of each profile. */
export interface Storages {
  readonly backend: Backend
  readonly byName: ReadonlyMap<string, Backend>
  /** absent: one storage keeps it all */
  readonly routed?: RoutedBackend
}

/** Not started yet. Throws ConfigError. */
export function storagesOf(config: Config, store: Store, logger: Logger): Storages {
  const names = Object.keys(config.backends)
  const byName = new Map(names.map((name) => [name, makeBackend(name, config, store, logger)]))
  const placed = store.placements.all()
  for (const { path, backend } of placed) {
    if (!byName.has(backend))
      throw new ConfigError(`backends: ${path} was brought to ${backend}, which is not there any more`)
  }
  const [only, ...more] = byName.values()
  if (only !== undefined && more.length === 0) return { backend: only, byName }
  const lines = config.namespace.filter(({ path }) => placed.every((one) => one.path !== path))
  const routed = new RoutedBackend(new Routes(byName, [...lines, ...placed]), {
    allocationParents: config.allocations,
    keep: (path, backend) => store.placements.keep(path, backend),
  })
  return { backend: routed, byName, routed }
}

/** Throws ConfigError that names the backend which cannot be used. */
export async function startStorages({ backend, byName, routed }: Storages): Promise<void> {
  try {
    await backend.start()
  } catch (error) {
    // with several of them the error says so itself
    const only = routed === undefined ? `storage profile ${[...byName.keys()].join()}: ` : ''
    const why = isFault(error) ? error.detail : (error as Error).message
    throw new ConfigError(`${only}${why}`, { cause: error })
  }
}

/** The folder under which the file system has what is at `path`; undefined: its storage is no file system. */
export function folderOf({ namespace, backends }: Config, path: NodePath): string | undefined {
  const lines = namespace.filter((line) => isWithin(path, line.path))
  const [longest] = lines.sort((a, b) => b.path.length - a.path.length)
  const backend = longest && backends[longest.backend]
  return backend !== undefined && 'root' in backend ? backend.root : undefined
}

function makeBackend(name: string, config: Config, store: Store, logger: Logger): Backend {
  const backend = config.backends[name]
  if (backend === undefined) throw new ConfigError(`there is no backend named ${name}`)
  const parts = { name, config, store, logger }
  return backend.type === 's3' ? makeS3(backend, parts) : makeTree(backend, parts)
}

function makeS3(backend: S3BackendConfig, parts: Parts): S3Backend {
  const { endpoint, bucket, prefix } = backend
  parts.logger.info({ backend: parts.name, endpoint, bucket, prefix }, 'S3 backend')
  return new S3Backend(s3Options(backend, parts))
}

/** Whether catalog and bucket agree, of every backend that has both. ConfigError: a backend cannot be looked at. */
export async function checkStorages(
  config: Config,
  options: { readonly repair: boolean; readonly found: (name: string, finding: Finding) => void },
): Promise<ReadonlyMap<string, CheckCounts>> {
  const counts = new Map<string, CheckCounts>()
  const store = openStore(join(config.state, 'karst.db'))
  try {
    for (const [name, backend] of Object.entries(config.backends)) {
      if (backend.type !== 's3') continue
      const found = (finding: Finding): void => options.found(name, finding)
      const checked = s3Options(backend, { name, config, store, logger: pino({ level: 'silent' }) })
      try {
        counts.set(name, await checkStore(checked, { repair: options.repair, found }))
      } catch (error) {
        throw new ConfigError(`storage profile ${name}: ${(error as Error).message}`, { cause: error })
      } finally {
        checked.bucket.close()
      }
    }
  } finally {
    store.close()
  }
  return counts
}

function s3Options(backend: S3BackendConfig, { name, config, store, logger }: Parts): S3Options {
  const { prefix, partBytes, parallelParts, parallelReads, copyBytes, graceSeconds, capacity } = backend
  return {
    bucket: bucketOf(name, backend),
    prefix,
    catalog: join(config.state, `catalog-${name}.db`),
    spool: join(config.state, `spool-${name}`),
    ids: store.ids(),
    allocationParents: config.allocations,
    settings: { partBytes, concurrency: parallelParts, copyBytes },
    parallelReads,
    graceSeconds,
    logger: logger.child({ backend: name }),
    ...(capacity !== undefined && { capacity }),
    ...(backend.presigned?.pull === true && { presigned: presignedOf(name, backend, backend.presigned) }),
    ...(backend.presigned?.push === true && { pushes: pushesOf(name, backend, backend.presigned) }),
  }
}

function presignedOf(name: string, backend: S3BackendConfig, { seconds, endpoint }: PresignedConfig): Presigned {
  return new Presigned({ client: clientOf(name, backend, endpoint ?? backend.endpoint), seconds })
}

/** A put that was begun in time may end so much later: 5 GiB at 1.5 MB/s. */
const LATE_SECONDS = 3600

function pushesOf(name: string, backend: S3BackendConfig, { seconds, endpoint }: PresignedConfig): NonNullable<S3Options['pushes']> {
  // a checksum in the URL would be that of no bytes
  const plain = { ...backend, checksums: 'when-required' } as const
  const clients = { client: clientOf(name, plain, endpoint ?? backend.endpoint), own: clientOf(name, plain, backend.endpoint) }
  const ca = backend.ca !== undefined && { ca: readFileSync(backend.ca, 'utf8') }
  return { urls: new PushUrls({ ...clients, ...ca, seconds }), lateSeconds: LATE_SECONDS }
} // prettier-ignore

function bucketOf(name: string, backend: S3BackendConfig): Bucket {
  const client = clientOf(name, backend, backend.endpoint)
  return new Bucket({ client, name: backend.bucket, etagIsMd5: backend.etag === 'md5' })
}

function clientOf(name: string, backend: S3BackendConfig, endpoint: string): S3Client {
  const { region, pathStyle, checksums, signPayload, attempts, timeout, ca } = backend
  const credentials = readCredentials(name, backend.credentials)
  const settings = { region, credentials, pathStyle, checksums, signPayload, attempts, timeout }
  return s3Client({ ...settings, ...(ca !== undefined && { ca: readFileSync(ca, 'utf8') }), endpoint })
}

function readCredentials(name: string, file: string): { accessKeyId: string; secretAccessKey: string } {
  let found: unknown
  try {
    found = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    // the message of a parser may quote what it could not read
    const why = error instanceof SyntaxError ? 'it is no JSON' : (error as Error).message
    throw new ConfigError(`backend ${name}: the credentials in ${file} cannot be read: ${why}`, { cause: error })
  }
  const { accessKeyId, secretAccessKey } = (found ?? {}) as Record<string, unknown>
  if (typeof accessKeyId === 'string' && typeof secretAccessKey === 'string') return { accessKeyId, secretAccessKey }
  throw new ConfigError(`backend ${name}: ${file} has no accessKeyId and secretAccessKey`)
}
