/** What app.ts puts together of groups: whose count here, and how those of other services are asked for. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Logger } from 'pino'
import { type Config } from './config.ts'
import { type GroupDirectory } from './identity/caller.ts'
import { type Delegations } from './identity/delegation.ts'
import { ForeignGroups } from './identity/gms-client.ts'
import { type Tokens } from './identity/token.ts'
import { openStore, type Store } from './store/store.ts'
import { groupName, isKeptElsewhere, type GroupServices } from './vospace/group.ts'

export const keptGroups = ({ gms, groupServices }: Config): GroupServices => ({
  own: gms.resourceId,
  aliases: gms.aliases,
  remote: groupServices.map(({ authority }) => authority),
})

/** The database of a gateway, which knows the groups that other services keep. */
export function storeOf(config: Config): Store {
  const kept = keptGroups(config)
  return openStore(join(config.state, 'karst.db'), { isForeignGroup: (uri) => isKeptElsewhere(uri, kept) })
}

/** `delegations` is asked for when it is needed: it needs the callers, who need the groups. Undefined when no other service counts here. */
export async function foreignGroupsOf(
  { groupServices }: Config,
  logger: Logger,
  tokens: Tokens | undefined,
  delegations: () => Delegations | undefined,
): Promise<ForeignGroups | undefined> {
  if (groupServices.length === 0) return undefined
  const services = await Promise.all(
    groupServices.map(async ({ ca, ...rest }) => ({
      ...rest,
      ...(ca !== undefined && { ca: await readFile(ca, 'utf8') }),
    })),
  )
  return new ForeignGroups({
    services,
    ...(tokens && { mayForward: (proof, host) => tokens.mayForward(proof, host) }),
    credentialFor: (user) => delegations()?.credentialFor(user),
    notice: ({ service, reason }) => {
      if (reason === undefined) logger.info({ service }, 'a group service answers again')
      else logger.warn({ service, reason }, 'a group service does not answer, and is left alone for a while')
    },
  })
}

export interface LastingGroups extends GroupDirectory {
  /** Resolves when what can be asked with what the user has delegated has been answered. */
  readonly settled?: (user: string) => Promise<unknown>
}

/** The groups of a user for work that goes on after its request: with what is known of those kept elsewhere. */
export function lastingGroups(
  { groups: local, users }: Pick<Store, 'groups' | 'users'>,
  foreign: ForeignGroups | undefined,
): LastingGroups {
  if (foreign === undefined) return local
  return {
    of: (user) => {
      const known = users.byName(user)
      const more = known && foreign.remembered(known)
      return more === undefined || more.size === 0 ? local.of(user) : new Set([...local.of(user), ...more])
    },
    settled: async (name) => {
      const known = users.byName(name)
      return known && foreign.of(known, undefined)
    },
  }
}

/** Seconds that a membership counts without being asked for again; 0: it is kept here. For Preauth. */
export function membershipSeconds(
  { groupServices }: Pick<Config, 'groupServices'>,
  kept: { byUri(uri: string): unknown },
): (group: string) => number {
  return (group) => {
    if (kept.byUri(group) !== undefined) return 0
    const keeper = groupName(group)?.service
    return groupServices.find(({ authority }) => authority === keeper)?.ttl ?? 0
  }
}
