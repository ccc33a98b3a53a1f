/** The program of a storage's own process: the gateway starts it, and tells it which storage of which configuration it is. */
import { storeOf } from './app-groups.ts'
import { treeOf } from './app-trees.ts'
import { host, hostLog } from './backend/apart/host.ts'
import { type Config } from './config.ts'
import { ConfigError } from './environment.ts'

host<{ readonly config: Config; readonly name: string }>(({ config, name }) => {
  const backend = config.backends[name]
  if (backend === undefined || backend.type === 's3') throw new ConfigError(`${name} is no tree of files`)
  return treeOf(backend, { name, config, store: storeOf(config), logger: hostLog() })
})
