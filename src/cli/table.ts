/** Which file holds which command: only the one that is called is loaded. */
import { type Command } from './command.ts'

const LOADERS: Readonly<Record<string, () => Promise<Command>>> = {
  quickstart: async () => (await import('./quickstart.ts')).quickstart,
  serve: async () => (await import('./serve.ts')).serve,
  mount: async () => (await import('./mount.ts')).mount,
  umount: async () => (await import('./mount.ts')).umount,
  session: async () => (await import('./session.ts')).session,
  doctor: async () => (await import('./doctor.ts')).doctor,
  'mount-helper': async () => (await import('./mount-helper.ts')).mountHelper,
  proxy: async () => (await import('./proxy.ts')).proxy,
  check: async () => (await import('./check.ts')).check,
  trash: async () => (await import('./trash.ts')).trash,
  snapshots: async () => (await import('./snapshots.ts')).snapshots,
  import: async () => (await import('./import.ts')).importCommand,
  migrate: async () => (await import('./migrate.ts')).migrate,
  groups: async () => (await import('./groups.ts')).groups,
  share: async () => (await import('./share.ts')).share,
  access: async () => (await import('./access.ts')).access,
  users: async () => (await import('./users.ts')).users,
  identities: async () => (await import('./identities.ts')).identities,
}

/** The command of that name alone; none for the version; all of them for anything else, which is told what there is. */
export async function commandsFor(name: string | undefined): Promise<readonly Command[]> {
  if (name === '--version' || name === '-V') return []
  const load = name !== undefined && Object.hasOwn(LOADERS, name) ? LOADERS[name] : undefined
  return load === undefined ? Promise.all(Object.values(LOADERS).map((one) => one())) : [await load()]
}
