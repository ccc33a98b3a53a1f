// What a session shall mount and run: the manifest, and what the command line says besides. Pure.
import path from 'node:path'
import { Fault } from '../../src/vospace/fault.ts'
import { partitionWord } from '../../src/vospace/partition.ts'

export interface PlannedPartition {
  readonly partition: string
  /** absolute; absent: where the gateway says */
  readonly at?: string
  readonly access?: 'read' | 'write'
  readonly profile?: string
  /** the command runs without it */
  readonly optional?: boolean
}

/** As it stands in the file, validated against schemas/session.schema.json. */
export interface Manifest {
  readonly session?: string
  readonly user?: string | number
  readonly partitions?: readonly PlannedPartition[]
  readonly environment?: Readonly<Record<string, string>>
}

/** Here the system has what nothing may cover. */
const KEPT = ['/proc', '/sys', '/dev', '/etc', '/run', '/bin', '/sbin', '/lib', '/lib64', '/usr', '/boot']

/** Manifest and words: what is named twice is planned once. InvalidArgument with what is wrong and where. */
export function planOf(manifest: Manifest, words: readonly string[]): readonly PlannedPartition[] {
  const listed = manifest.partitions ?? []
  const more = words.filter((word) => !listed.some(({ partition }) => partition === word))
  const all: readonly PlannedPartition[] = [...listed, ...more.map((partition) => ({ partition }))]
  for (const { partition, at } of all) {
    partitionWord(partition)
    if (at !== undefined) checkPlace(partition, at)
  }
  const twice = all.find(({ partition }, i) => all.findIndex((one) => one.partition === partition) !== i)
  if (twice !== undefined) throw new Fault('InvalidArgument', `the partition ${twice.partition} is there twice`)
  return all
}

/** InvalidArgument for a place where nothing can be mounted: outside, by `..`, or over the system. */
export function checkPlace(partition: string, at: string): void {
  const refuse = (why: string): never => {
    throw new Fault('InvalidArgument', `${partition} cannot be mounted at ${at}: ${why}`)
  }
  if (!at.startsWith('/') || /[\0\n]/.test(at) || path.normalize(at) !== at || (at !== '/' && at.endsWith('/')))
    refuse('a place is an absolute path without "..", "." or "//"')
  if (at === '/') refuse('that is the root')
  const over = KEPT.find((one) => at === one || at.startsWith(`${one}/`))
  if (over !== undefined) refuse(`${over} is the system's; choose a place elsewhere`)
}

/** InvalidArgument where two of them would be in each other's way. */
export function checkPlaces(places: readonly { readonly partition: string; readonly at: string }[]): void {
  for (const [i, one] of places.entries()) {
    for (const other of places.slice(i + 1)) {
      const [a, b] = [`${one.at}/`, `${other.at}/`]
      if (!a.startsWith(b) && !b.startsWith(a)) continue
      const where = one.at === other.at ? `both at ${one.at}` : `one at ${one.at} and the other at ${other.at}`
      throw new Fault(
        'InvalidArgument',
        `${one.partition} and ${other.partition} would be ${where}: give one of them another place (at)`,
      )
    }
  }
}

/** What could not be had is left out, and told, where the plan says so; else it is thrown. */
export async function settled<T>(
  { tell }: { readonly tell: (line: string) => void },
  work: readonly (readonly [PlannedPartition, Promise<T>])[],
): Promise<T[]> {
  const results = await Promise.allSettled(work.map(([, one]) => one))
  const failed = results.findIndex(({ status }, i) => status === 'rejected' && work[i]?.[0].optional !== true)
  if (failed !== -1) throw (results[failed] as PromiseRejectedResult).reason
  return results.flatMap((result) => {
    if (result.status === 'fulfilled') return [result.value]
    const { reason } = result as { reason: unknown }
    tell(`left out: ${reason instanceof Error ? reason.message : String(reason)}`)
    return []
  })
}
