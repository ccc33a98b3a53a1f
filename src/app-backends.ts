/** The part of the composition root that is about storage: makes the backend that an entry of the configuration describes. */
import { type Logger } from 'pino'
import { type Backend } from './backend/backend.ts'
import { PosixBackend } from './backend/posix/posix.ts'
import { lackingPrivileges } from './backend/posix/privilege.ts'
import { ConfigError, type Config } from './config.ts'
import { type Store } from './store/store.ts'

/** Not started yet. Throws ConfigError. */
export function makeBackend(name: string, config: Config, store: Store, logger: Logger): Backend {
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
