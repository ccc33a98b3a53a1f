/** The part of the composition root that is about storage: makes the backend that an entry of the configuration describes. */
import { type Logger } from 'pino'
import { type Backend } from './backend/backend.ts'
import { PosixBackend } from './backend/posix/posix.ts'
import { lackingPrivileges } from './backend/posix/privilege.ts'
import { RoutedBackend } from './backend/routed.ts'
import { Routes } from './backend/routes.ts'
import { ConfigError, type Config } from './config.ts'
import { type Store } from './store/store.ts'
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
  const [only, ...more] = byName.values()
  if (only !== undefined && more.length === 0) return { backend: only, byName }
  const routed = new RoutedBackend(new Routes(byName, config.namespace), { allocationParents: config.allocations })
  return { backend: routed, byName, routed }
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
  const lacking = lackingPrivileges()
  const mode = backend.mode === 'auto' ? (lacking.length === 0 ? 'root' : 'unprivileged') : backend.mode
  if (mode === 'root' && lacking.length > 0)
    throw new ConfigError(`backend ${name}: mode root needs more privilege: ${lacking.join(', ')}`)
  logger.info({ backend: name, root: backend.root, mode, lacking }, 'POSIX backend')
  return new PosixBackend({
    root: backend.root,
    ids: store.ids(),
    mode,
    allocationParents: config.allocations,
    logger,
    ...(backend.unlabelledOwner !== undefined && { unlabelledOwner: backend.unlabelledOwner }),
  })
}
