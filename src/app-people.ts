/** The part of the composition root that is about people: those whom the configuration names, the life of accounts, and limits. */
import { type LastingGroups } from './app-groups.ts'
import { folderOf } from './app-backends.ts'
import { type Config } from './config.ts'
import { ConfigError } from './environment.ts'
import { Traffic, type TrafficLog } from './http/limits.ts'
import { Accounts, canonicalIdentity } from './identity/accounts.ts'
import { type Audit } from './identity/audit.ts'
import { callerNamed } from './identity/caller.ts'
import { MembershipWays } from './identity/membership-way.ts'
import { Newcomers } from './identity/newcomers.ts'
import { type People } from './space/access.ts'
import { checkQuota, homeState, homeUsage, makeHome } from './space/home.ts'
import { type Space } from './space/space.ts'
import { type Store } from './store/store.ts'
import { ROOT } from './vospace/path.ts'

/**
 * The users and groups that the configuration names, made known to the store; what it keeps already stays. Who is listed as an administrator is one
 * again, so that a site cannot lock itself out; who was deleted stays so.
 */
export function enrol({ users, groups }: Store, config: Config): void {
  for (const user of config.users) enrolUser(users, user, config.administrators.includes(user.name))
  for (const { uri, owner, members } of config.groups) {
    // a group that was deleted stays so, and a member who was removed
    if (groups.isFormer(uri)) continue
    if (groups.byUri(uri) === undefined && users.byName(owner) !== undefined) groups.create(uri, { owner })
    if (groups.byUri(uri) === undefined) continue
    for (const member of members) if (users.byName(member) !== undefined) groups.seed(uri, member)
  }
}

function enrolUser(
  users: Store['users'],
  { name, uid, x509 = [], oidc = [] }: Config['users'][number],
  admin: boolean,
): void {
  const known = users.byName(name)
  if (known === undefined) {
    if (users.isFormer(name)) return
    users.create({ name, admin, ...(uid !== undefined && { uid }) })
  } else if (uid !== undefined && known.uid !== uid) {
    throw new ConfigError(`users: ${name} has uid ${known.uid} already, and files carry it; ${uid} cannot be given now`)
  } else if (admin && !known.admin) users.setAdmin(name, true)
  for (const dn of x509) users.addIdentity(name, canonicalIdentity({ kind: 'x509', value: dn }))
  for (const value of oidc) users.addIdentity(name, canonicalIdentity({ kind: 'oidc', value }))
}

/** Who has an account, and who gets one. */
export function accountsOf(
  config: Pick<Config, 'accounts' | 'backends' | 'posixMapper'>,
  { users, groups }: Store,
  space: Space,
  audit: Audit,
  settled?: (name: string) => Promise<void>,
): { accounts: Accounts; newcomers: Newcomers } {
  const { home, autoprovision, ...allowed } = config.accounts
  const accounts = new Accounts({
    users,
    groups,
    audit,
    ...(settled && { settled }),
    ...(home && { home }),
    homes: {
      state: (path, user) => homeState(space, path, user),
      make: (path, user, quota) => makeHome(space, path, user, quota),
      usage: (path) => homeUsage(space, path),
      // a home may have a storage of its own one day, but not before it is made
      checkQuota: (quota) => checkQuota(space, home?.parent ?? ROOT, quota),
    },
  })
  const newcomers = new Newcomers({
    users,
    accounts,
    provisioning: { methods: autoprovision, ...allowed },
    exactNames: config.posixMapper !== undefined,
    // what nobody has labelled is theirs
    reserved: Object.values(config.backends).flatMap((backend) =>
      'unlabelledOwner' in backend ? backend.unlabelledOwner : [],
    ),
  })
  return { accounts, newcomers }
}

/** Else who comes would be known and refused at every request. ConfigError. */
export async function checkHomes(config: Config, space: Space): Promise<void> {
  const { home } = config.accounts
  if (home === undefined || (await homeState(space, home.parent, '')) !== 'absent') return
  const root = folderOf(config, home.parent)
  const advice = root === undefined ? 'an administrator makes it' : `mkdir -m 755 ${root}${home.parent} makes one`
  throw new ConfigError(`accounts.home: there is no container ${home.parent} to make homes in; ${advice}`)
}

/** Who somebody is when others ask what they may. */
export function peopleOf({ users, groups }: Store, lasting: LastingGroups): People {
  const ways = new MembershipWays(groups)
  return {
    callerOf: (name) => callerNamed(name, true, users, lasting),
    ...(lasting.settled && { settled: lasting.settled }),
    wayInto: (user, uri) => ways.wayInto(user, uri),
    isWithin: (inner, uri) => ways.isWithin(inner, uri),
  }
}

export function trafficOf({ limits }: Pick<Config, 'limits'>, { users }: Store, log: TrafficLog): Traffic {
  const isActive = (name: string): boolean => {
    const user = users.byName(name)
    return user !== undefined && user.suspended !== true
  }
  return new Traffic({ limits, ofUser: (name) => users.byName(name)?.limits, isActive, log })
}
