/** The part of the configuration that is about partitions: where each kind lives, and how long what is lent for one is good. */
import { nodePath, type NodePath } from './vospace/path.ts'

export interface PartitionsConfig {
  /** containers that hold partitions of that kind; the first one unless a storage profile is asked for */
  readonly user: readonly NodePath[]
  readonly project: readonly NodePath[]
  readonly dataset: readonly NodePath[]
  readonly scratch: readonly NodePath[]
  /** bytes */
  readonly homeQuota?: number
  readonly scratchQuota?: number
  /** that a scratch lives after the last container of its session was heard of */
  readonly scratchHours: number
  /** that the credential of a partition is good for */
  readonly credentialSeconds: number
}

/** As it stands in the file. */
export interface PartitionsDocument {
  partitions?:
    | false
    | {
        user?: { paths?: string[]; quota?: number }
        project?: { paths?: string[] }
        dataset?: { paths?: string[] }
        scratch?: { paths?: string[]; quota?: number; hours?: number }
        credentialSeconds?: number
      }
}

/** Homes are where accounts get theirs, unless it is said otherwise. undefined: nothing is mounted by negotiation here. */
export function partitionsConfig(
  { partitions = {} }: PartitionsDocument,
  home?: { readonly path: string; readonly quota?: number },
): PartitionsConfig | undefined {
  if (partitions === false) return undefined
  const { user = {}, project = {}, dataset = {}, scratch = {}, credentialSeconds = 3600 } = partitions
  const homeQuota = user.quota ?? home?.quota
  return {
    user: (user.paths ?? [home?.path ?? '/home']).map(nodePath),
    project: (project.paths ?? ['/projects']).map(nodePath),
    dataset: (dataset.paths ?? ['/datasets']).map(nodePath),
    scratch: (scratch.paths ?? ['/scratch']).map(nodePath),
    ...(homeQuota !== undefined && { homeQuota }),
    ...(scratch.quota !== undefined && { scratchQuota: scratch.quota }),
    scratchHours: scratch.hours ?? 24,
    credentialSeconds,
  }
}

/** What a schema cannot say. */
export function partitionMistakes({ partitions }: PartitionsDocument): string[] {
  if (partitions === undefined || partitions === false) return []
  const { user, project, dataset, scratch } = partitions
  const paths = Object.entries({ user, project, dataset, scratch }).flatMap(([kind, one]) =>
    (one?.paths ?? []).map((path) => [kind, path] as const),
  )
  const mistakes = paths.flatMap(([kind, path]) => {
    try {
      nodePath(path)
      return []
    } catch (error) {
      return [`partitions.${kind}: ${(error as Error).message}`]
    }
  })
  const twice = paths.filter(([, path], at) => paths.findIndex(([, other]) => other === path) !== at)
  return [...mistakes, ...twice.map(([kind, path]) => `partitions.${kind}: ${path} is there twice`)]
}
