/** Partitions: what of the namespace is mounted into a container, and how far a credential for one of them reaches. Pure. */
import { Fault } from './fault.ts'
import { isWithin, type NodePath } from './path.ts'

export const PARTITION_KINDS = ['user', 'project', 'dataset', 'scratch'] as const
export type PartitionKind = (typeof PARTITION_KINDS)[number]

export type PartitionAccess = 'read' | 'write'

/** What a credential is confined to, whatever its user may do elsewhere. */
export interface Scope {
  /** a container, with everything below it */
  readonly path: NodePath
  readonly access: PartitionAccess
}

/** Whether a path is neither in the scope nor on the way to it. */
export const isBeyond = (path: NodePath, { path: root }: Scope): boolean =>
  !isWithin(path, root) && !isWithin(root, path)

/** A partition as it is asked for: `home`, `scratch`, `project:NAME`, `dataset:NAME` or a vos URI. */
export type PartitionWord =
  | { readonly kind: 'user' }
  | { readonly kind: 'scratch' }
  /** `name`: the path below where that kind lives, `alma/2017.1` */
  | { readonly kind: 'project' | 'dataset'; readonly name: string }
  | { readonly uri: string }

/** Throws InvalidArgument that says what can be asked for. */
export function partitionWord(text: string): PartitionWord {
  if (/^vos:/i.test(text)) return { uri: text }
  if (text === 'home' || text === 'user') return { kind: 'user' }
  if (text === 'scratch') return { kind: 'scratch' }
  const [, kind, name = ''] = /^(project|dataset):(.*)$/s.exec(text) ?? []
  if ((kind === 'project' || kind === 'dataset') && name !== '' && !name.startsWith('/')) return { kind, name }
  const what = JSON.stringify(text.slice(0, 100))
  throw new Fault(
    'InvalidArgument',
    `a partition is home, scratch, project:NAME, dataset:NAME or a vos URI, not ${what}`,
  )
}

/** Its name in the environment of a session: `sample` is SAMPLE, `alma/2017.1` ALMA_2017_1. */
export const variableOf = (name: string): string => name.toUpperCase().replace(/[^A-Z0-9]/g, '_')
