/** The part of the composition root that is about numbers of users and groups which another service gives. */
import { readFile } from 'node:fs/promises'
import { type Logger } from 'pino'
import { type Config } from './config.ts'
import { ConfigError } from './environment.ts'
import { PosixMapper } from './identity/posix-mapper.ts'
import { type GroupNames } from './space/space.ts'
import { type Store } from './store/store.ts'

/**
 * Has its numbers when it resolves, so that whom the configuration names can be made known; undefined: they are given here. ConfigError: it must
 * answer and does not, or knows no such user.
 */
export async function numbersOf(
  { posixMapper, users, groups }: Pick<Config, 'posixMapper' | 'users' | 'groups'>,
  store: Store,
  log: Logger,
): Promise<PosixMapper | undefined> {
  if (posixMapper === undefined) return undefined
  const { uid, gid, ca, certificate, timeoutSeconds, refreshSeconds, required } = posixMapper
  const place = {
    ...{ uid, gid, timeout: timeoutSeconds * 1000 },
    ...(ca !== undefined && { ca: await readFile(ca, 'utf8') }),
    ...(certificate !== undefined && { credential: () => readFile(certificate, 'utf8') }),
  }
  const mapper = new PosixMapper({ place, numbers: store.mapped, log, refresh: refreshSeconds * 1000 })
  try {
    await mapper.start(required)
    store.mapped.connect(mapper)
    await settleConfigured(mapper, store, { users, groups })
    return mapper
  } catch (error) {
    mapper.close()
    if (error instanceof ConfigError) throw error
    const advice = 'start again when it answers, or go on with what is remembered: "required": false'
    throw new ConfigError(`posixMapper: ${(error as Error).message}; ${advice}`, { cause: error })
  }
}

async function settleConfigured(
  mapper: PosixMapper,
  { mapped, users, groups }: Store,
  config: Pick<Config, 'users' | 'groups'>,
): Promise<void> {
  const made = config.users.filter(({ name, uid }) => uid === undefined && users.byName(name) === undefined)
  const shared = config.groups.filter(({ uri }) => groups.byUri(uri) === undefined)
  for (const { name } of made) {
    await mapper.settled('user', name)
    if (mapped.numberOf('user', name) !== undefined || users.isFormer(name)) continue
    const why = mapper.isUnknown('user', name) ? 'knows nobody of that name' : 'does not answer'
    throw new ConfigError(
      `users: ${name} has no uid: the POSIX mapper ${why}; make them known there, or say the uid here`,
    )
  }
  for (const { uri } of shared) {
    await mapper.settled('group', uri)
    if (mapped.numberOf('group', uri) !== undefined || mapper.isUnknown('group', uri)) continue
    throw new ConfigError(`groups: ${uri} has no gid: the POSIX mapper does not answer`)
  }
}

/** Groups are shared with by the number that everybody knows: where it is still being asked for, ServiceBusy says to try again. */
export function numberedNames(names: GroupNames, { mapped, ids }: Store): GroupNames {
  return {
    shareable: (uri) => {
      const known = names.shareable(uri)
      if (ids().gidOfGroup(known) === undefined) mapped.allot('group', known)
      return known
    },
  }
}
