/** The kind of job that takes long of the life of accounts: handing over what somebody owns, and deleting who owns nothing any more. */
import { type Accounts } from '../identity/accounts.ts'
import { type Ending, type JobContext, type Kind } from '../jobs/kind.ts'
import { told } from '../jobs/told.ts'
import { Fault } from '../vospace/fault.ts'
import { nodePath, ROOT } from '../vospace/path.ts'
import { firstOwned, handOver } from './hand-over.ts'
import { type Running } from './recursion.ts'
import { type Space } from './space.ts'

/** Name of the kind. */
export const ACCOUNTS = 'accounts'

/** Requests and jobs of who is suspended have ended after so many milliseconds: only then it is looked what they own. */
export const SUSPENSION_MS = 11_000

/** What is asked for. `to` with a deletion: who gets what is left. `path`: with a hand-over, and only what is there changes hands. */
export interface AccountWork {
  readonly act: 'hand-over' | 'delete'
  readonly user: string
  readonly to?: string
  readonly path?: string
}

/** For JobRunner.register(ACCOUNTS, ...): jobs with an AccountWork as parameters, made by administrators. */
export function accountsKind(space: Space, accounts: Accounts): Kind {
  return {
    run: told((context) => run(space, accounts, context)),
  }
}

async function run(space: Space, accounts: Accounts, context: JobContext): Promise<Ending> {
  const { act, user, to, path } = workOf(context)
  if (act === 'hand-over' && to === undefined) throw new Fault('InvalidArgument', 'to whom?')
  const since = act === 'delete' ? await settled(accounts, user, context.signal) : undefined
  const handed = to === undefined ? 0 : await inherit(space, accounts, context, { user, to, path })
  if (since !== undefined) await remove(space, accounts, context, { user, since })
  return { results: [{ id: 'handed', href: `final:${handed}` }] }
}

function workOf({ job, caller }: JobContext): AccountWork {
  if (!caller.admin) throw new Fault('PermissionDenied', 'only an administrator may')
  const { act, user, to, path } = job.parameters ?? {}
  if (user === undefined || (act !== 'hand-over' && act !== 'delete'))
    throw new Error(`not an act on an account: ${act}`)
  return { act, user, ...(to !== undefined && { to }), ...(path !== undefined && { path }) }
}

interface Heritage {
  readonly user: string
  readonly to: string
  readonly path?: string | undefined
}

/** Nodes, and when it is all of them, groups. */
async function inherit(
  space: Space,
  accounts: Accounts,
  context: JobContext,
  { user, to, path }: Heritage,
): Promise<number> {
  const { checkpoint, signal } = context
  const running: Running = {
    checkpoint,
    signal,
    save: (state) => context.save(state),
    progress: (done) => context.progress(done),
  }
  const nodes = await handOver(
    space,
    context.caller,
    { from: user, to, path: path === undefined ? ROOT : nodePath(path) },
    running,
  )
  const groups = path === undefined ? accounts.handGroups(user, to) : 0
  const detail = { to, nodes, groups, path: path ?? ROOT }
  accounts.note({
    act: 'user.handed-over',
    by: context.caller.user ?? null,
    on: user,
    result: 'allowed',
    detail,
  })
  return nodes
}

/** Resolves when what was under way when they were suspended has ended; answers when that was. PreconditionFailed: they are not suspended. */
async function settled(accounts: Accounts, name: string, signal: AbortSignal): Promise<number> {
  const since = accounts.byName(name)?.suspendedSince
  if (since === undefined) throw new Fault('PreconditionFailed', `${name} is to be suspended first`)
  const left = since + SUSPENSION_MS - Date.now()
  if (left <= 0) return since
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(resolve, Math.min(left, SUSPENSION_MS))
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      reject(new Fault('TransferFailed', 'cancelled', { cause: signal.reason }))
    })
  })
  return since
}

async function remove(
  space: Space,
  accounts: Accounts,
  context: JobContext,
  { user, since }: { readonly user: string; readonly since: number },
): Promise<void> {
  const owned = await firstOwned(space, user, ROOT, context.signal)
  if (owned !== undefined) {
    throw new Fault('ContainerNotEmpty', `${user} owns ${owned}: delete it, or hand over what is theirs`)
  }
  // who was let in again meanwhile may have made something where it was looked already
  if (accounts.byName(user)?.suspendedSince !== since)
    throw new Fault('PreconditionFailed', `${user} was not suspended all the time: ask again`)
  accounts.remove(context.caller, user)
}
