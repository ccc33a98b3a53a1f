/** The storage's side: a backend does what the gateway's process asks of it. */
import { Fault } from '../../vospace/fault.ts'
import { type NodePath } from '../../vospace/path.ts'
import {
  type Backend,
  type Choose,
  type IdentifiedChild,
  type ReadOptions,
  type Ref,
  type Removal,
} from '../backend.ts'
import { type Serve } from './peer.ts'
import { tell, type Told } from './told.ts'

/** Has the gateway choose among children, by the number of the call; it is waited for with everything else of this process standing still. */
export type AskChoice = (call: number, page: readonly IdentifiedChild[]) => readonly IdentifiedChild[]

type Calls = Readonly<Record<string, ((...args: readonly unknown[]) => unknown) | undefined>>

/** `method` as in `walk`, `trash.put`; with `past.` before it, of an allocation as a snapshot has it, which the first two arguments name. */
export function serveBackend(backend: Backend, ask: AskChoice): Serve {
  return async (method, args, { id }) => {
    if (!method.startsWith('past.')) return carryOut(backend, method, args, id, ask)
    const [allocation, name, ...rest] = args as [NodePath, string, ...unknown[]]
    const past = await backend.snapshots?.at(allocation, name)
    if (past === undefined) throw new Fault('OperationNotSupported', 'the storage has no snapshots')
    return carryOut(past, method.slice('past.'.length), rest, id, ask)
  }
}

async function carryOut(
  backend: Backend,
  method: string,
  args: readonly unknown[],
  id: number,
  ask: AskChoice,
): Promise<unknown> {
  switch (method) {
    case 'start':
      await backend.start()
      return { capabilities: backend.capabilities }
    case 'look':
      return undefined
    case 'read': {
      const [ref, options] = args as [Ref, ReadOptions?]
      const { entry, body } = await backend.read(ref, options)
      return { entry, body }
    }
    case 'removeChildren': {
      const choose: Choose = (page) => ask(id, page)
      const [container, options] = args as [Ref, { signal?: AbortSignal }?]
      return toldOf(backend.removeChildren(container, choose, options))
    }
    case 'directUrl':
      return String(await backend.directUrl(...(args as Parameters<Backend['directUrl']>)))
    default:
      return callOf(backend, method)(...args)
  }
}

/** What became of a child, as it goes to the gateway. */
export type ToldRemoval = Omit<Removal, 'fault'> & { readonly fault?: Told }

async function* toldOf(pages: AsyncIterable<readonly Removal[]>): AsyncGenerator<ToldRemoval[]> {
  for await (const page of pages) {
    yield page.map(({ child, fault }) => ({ child, ...(fault !== undefined && { fault: tell(fault) }) }))
  }
}

function callOf(backend: Backend, method: string): (...args: readonly unknown[]) => unknown {
  const [part = '', name] = method.split('.')
  const whole = backend as unknown as Calls & Readonly<Record<string, Calls | undefined>>
  const call = name === undefined ? whole[part] : (whole[part] as Calls | undefined)?.[name]
  if (call === undefined) throw new Fault('OperationNotSupported', `the storage has no ${method}`)
  return (...args) => call.apply(name === undefined ? backend : whole[part], args as unknown[])
}
