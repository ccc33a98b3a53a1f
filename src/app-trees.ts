/** The part of the composition root that is about trees of files, in this process or in one of their own. */
import { extname, join } from 'node:path'
import { type Logger } from 'pino'
import { BackendApart } from './backend/apart/apart.ts'
import { StorageProcess } from './backend/apart/process.ts'
import { type Backend } from './backend/backend.ts'
import { CephFsBackend } from './backend/cephfs/cephfs.ts'
import { type Logger as TreeLog } from './backend/posix/open.ts'
import { PosixBackend } from './backend/posix/posix.ts'
import { lackingPrivileges } from './backend/posix/privilege.ts'
import { type CephFsBackendConfig, type PosixBackendConfig } from './config-backends.ts'
import { type Config } from './config.ts'
import { ConfigError } from './environment.ts'
import { type Store } from './store/store.ts'

/** What a storage is made of. */
export interface Parts {
  readonly name: string
  readonly config: Config
  readonly store: Store
  readonly logger: Logger
}

/** With a process of its own where the file system may hang. */
export function makeTree(backend: PosixBackendConfig | CephFsBackendConfig, parts: Parts): Backend {
  const { name, config, logger } = parts
  const { ownProcess = backend.type === 'cephfs' && config.posixMapper === undefined } = backend
  if (ownProcess && config.posixMapper !== undefined)
    throw new ConfigError(`backend ${name}: ownProcess and posixMapper cannot be had together`)
  const tree = treeOf(backend, parts)
  if (!ownProcess) return tree
  const program = join(import.meta.dirname, `backend-process${extname(import.meta.filename)}`)
  return new BackendApart(new StorageProcess({ name, program, order: { config, name }, logger }), tree)
}

/** In this process. */
export function treeOf(
  backend: PosixBackendConfig | CephFsBackendConfig,
  { name, config, store, logger }: Omit<Parts, 'logger'> & { readonly logger: TreeLog },
): Backend {
  const lacking = lackingPrivileges()
  const mode = backend.mode === 'auto' ? (lacking.length === 0 ? 'root' : 'unprivileged') : backend.mode
  if (mode === 'root' && lacking.length > 0)
    throw new ConfigError(`backend ${name}: mode root needs more privilege: ${lacking.join(', ')}`)
  logger.info({ backend: name, type: backend.type, root: backend.root, mode, lacking }, 'backend')
  const tree = new PosixBackend({
    root: backend.root,
    ids: store.ids(),
    mode,
    allocationParents: config.allocations,
    logger,
    ...(backend.unlabelledOwner !== undefined && { unlabelledOwner: backend.unlabelledOwner }),
    ...(backend.type === 'posix' && { quotas: backend.quotas }),
  })
  if (backend.type === 'posix') return tree
  const { root, pool } = backend
  return new CephFsBackend({ tree, root, allocationParents: config.allocations, ...(pool !== undefined && { pool }) })
}
