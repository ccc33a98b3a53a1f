/** The part of the composition root that is about partitions: what may be mounted, by which credential, and the end of scratches. */
import { type JobLog } from './jobs/kind.ts'
import { membershipSeconds } from './app-groups.ts'
import { type Config } from './config.ts'
import { type PartitionServices } from './http/partitions.ts'
import { PartitionTokens } from './identity/partition-token.ts'
import { type Caller } from './vospace/caller.ts'
import { checkPartitionQuotas, Partitions, type PartitionRules } from './space/partitions.ts'
import { Scratches, sweepScratches } from './space/scratch.ts'
import { type Space } from './space/space.ts'
import { type Store } from './store/store.ts'
import { isWithin, type NodePath } from './vospace/path.ts'

export interface Mounting extends PartitionServices {
  readonly stop: () => void
}

type PartitionsOf = Pick<Config, 'partitions' | 'namespace' | 'groupServices'>

/** `key`: 32 bytes. undefined where the configuration wants no partitions. */
export function mountingOf(
  config: PartitionsOf,
  { store, space, callerOf, key, log }: MountingParts,
): Mounting | undefined {
  const { partitions } = config
  if (partitions === undefined) return undefined
  const { scratchHours, scratchQuota, homeQuota, credentialSeconds } = partitions
  checkPartitionQuotas(space, partitions.scratch, scratchQuota)
  const scratches = new Scratches(space, store.scratches, {
    seconds: scratchHours * 3600,
    ...(scratchQuota !== undefined && { quota: scratchQuota }),
  })
  const rules: PartitionRules = {
    places: partitions,
    ...(homeQuota !== undefined && { homeQuota }),
    profileOf: (path) => profileAt(config, space.backend, path),
    bindSeconds: credentialSeconds,
    bindOf: (path) => bindAt(config, space, path),
  }
  const tokens = new PartitionTokens({
    key,
    callerOf,
    seconds: credentialSeconds,
    membershipSeconds: membershipSeconds(config, store.groups),
  })
  const { stop, now } = sweepScratches(scratches, log)
  return { partitions: new Partitions(space, rules, scratches, store.binds), tokens, sweep: now, stop }
}

interface MountingParts {
  readonly store: Store
  readonly space: Space
  readonly callerOf: (user: string) => Caller
  readonly key: Buffer
  readonly log: JobLog
}

/** Whatever it has been brought to; else as the configuration says. */
function profileAt({ namespace }: PartitionsOf, { profiles }: Space['backend'], path: NodePath): string {
  const lines = namespace.filter((line) => isWithin(path, line.path)).sort((a, b) => b.path.length - a.path.length)
  return profiles?.of(path) ?? lines[0]?.backend ?? ''
}

/** Only where owners, modes and ACLs are true on disk may the kernel of a node decide, and where all of it is in one storage. */
function bindAt(config: PartitionsOf, { backend }: Space, path: NodePath): ReturnType<PartitionRules['bindOf']> {
  const { profiles } = backend
  const name = profileAt(config, backend, path)
  const storage = profiles === undefined ? backend : profiles.storage(name)
  if (storage?.posix === undefined || profiles?.hasSeamBelow(path) === true) return undefined
  return { backend: name, path: path.slice(1) }
}
