/** Objects of a bucket as nodes: indexed by a job, page by page, and forgotten again (schemas/s3.md, Imports). */
import { type ImportPage, type Imports, type ImportSource, type ImportState } from '../backend/backend.ts'
import { type Ending, type JobContext, type Kind } from '../jobs/kind.ts'
import { told } from '../jobs/told.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { type NodePath } from '../vospace/path.ts'
import { localPath } from '../vospace/uri.ts'
import { alone } from './alone.ts'
import { entryAt } from './resolve.ts'
import { type Space } from './space.ts'

/** Name of the kind, and of its list. */
export const IMPORTS = 'imports'

const SOURCE = /^s3:\/\/([a-z0-9][a-z0-9._-]{1,62})(?:\/(.*))?$/s

/** `s3://BUCKET` or `s3://BUCKET/PREFIX`; InvalidArgument for anything else. */
export function sourceOf(text: string): Pick<ImportSource, 'bucket' | 'prefix'> {
  const [, bucket, prefix = ''] = SOURCE.exec(text) ?? []
  if (bucket !== undefined && prefix.isWellFormed()) return { bucket, prefix }
  throw new Fault('InvalidArgument', `${text} is no s3://BUCKET/PREFIX`)
}

/**
 * For JobRunner.register(IMPORTS, ...): jobs of administrators with the parameters `target`, a node URI, and `source` (s3://BUCKET/PREFIX) with
 * `writable` (true or false), or `forget`. An interrupted one goes on after the last page, which is kept beside the nodes.
 */
export function importKind(space: Space): Kind {
  return {
    run: told((context) => run(space, context)),
  }
}

async function run(space: Space, context: JobContext): Promise<Ending> {
  const { job, caller, signal } = context
  const { target, source, writable, forget } = job.parameters ?? {}
  if (!caller.admin) throw new Fault('PermissionDenied', 'only an administrator may')
  if (target === undefined) throw new Fault('InvalidArgument', 'into which node?')
  const container = localPath(space.service, target)
  const imports = importsOf(space)
  await needContainer(space, container)
  return alone(space.backend, container, async () => {
    let done = 0
    if (forget !== undefined) {
      for await (const changes of imports.forget(container, { signal })) {
        tell(space, changes)
        context.progress((done += changes.length))
      }
      return {}
    }
    if (source === undefined) throw new Fault('InvalidArgument', 'the objects of which bucket?')
    const from = { container, ...sourceOf(source), writable: writable === 'true' }
    for await (const { counts, changes } of imports.bring(from, job.id, { signal })) {
      tell(space, changes)
      context.progress(counts.objects)
    }
    return {}
  })
}

/** What the import of a job has met; undefined: another has begun since, or it was forgotten. */
export function importOf(space: Space, job: string, container: NodePath): ImportState | undefined {
  try {
    const state = space.backend.imports?.state(container)
    return state?.run === job ? state : undefined
  } catch (error) {
    if (isFault(error, 'NodeNotFound', 'ContainerNotFound', 'TypeNotSupported')) return undefined
    throw error
  }
}

/** OperationNotSupported for what would bring a tree into an import, or out of one: names there are keys that others know. */
export function refuseImported({ backend }: Space, ...paths: readonly NodePath[]): void {
  const path = paths.find((one) => backend.imports?.touches(one) === true)
  if (path === undefined) return
  const why = 'has objects that others know by their keys: copy the bytes, then delete them'
  throw new Fault('OperationNotSupported', `${path} ${why}`, { errno: 'EXDEV' })
}

function importsOf({ backend }: Space): Imports {
  if (backend.imports !== undefined) return backend.imports
  throw new Fault('OperationNotSupported', 'there is no storage of objects here')
}

async function needContainer(space: Space, path: NodePath): Promise<void> {
  const entry = await entryAt(space, path)
  if (entry === undefined) throw new Fault('NodeNotFound', `${path}: make this container first, with owner and sharing for what comes into it`)
  if (entry.type !== 'container') throw new Fault('InvalidArgument', `${path} is no container`)
} // prettier-ignore

function tell({ changes: log }: Space, changes: ImportPage['changes']): void {
  log.appendAll(changes)
}
