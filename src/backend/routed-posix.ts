/** What trusted mounts call, over several storages that all keep numbers and modes. */
import { Fault } from '../vospace/fault.ts'
import { type PosixCalls } from './backend.ts'
import { type Joined } from './joined.ts'
import { RoutedNames } from './routed-names.ts'
import { type Storage } from './routes.ts'

export function routedPosix(joined: Joined): PosixCalls {
  const { routes, gate } = joined
  const calls = ({ name, backend }: Storage): PosixCalls => {
    if (backend.posix === undefined) throw new Fault('OperationNotSupported', `${name} has no trusted mounts`)
    return backend.posix
  }
  const names = new RoutedNames(joined, calls)
  return {
    walk: (path, options) => names.walk(path, options),
    list: (container, options) => names.list(container, options),
    move: (from, to, options) => gate.through([from, to], () => names.move(from, to, options)),
    link: (ref, to) => gate.through([ref.path, to], () => names.link(ref, to)),
    remove: (path, type) => gate.through([path], () => names.remove(path, type)),
    make: (path, draft) =>
      gate.through([path], async () => {
        const storage = routes.of(path)
        return joined.tag(storage).entry(await calls(storage).make(path, draft))
      }),
    set: (ref, changes) =>
      gate.through([ref.path], async () => {
        const storage = routes.of(ref.path)
        const tag = joined.tag(storage)
        return tag.entry(await calls(storage).set(tag.ref(ref), changes))
      }),
    acl: (ref, kind) => {
      const storage = routes.of(ref.path)
      return calls(storage).acl(joined.tag(storage).ref(ref), kind)
    },
    setAcl: (ref, kind, value) =>
      gate.through([ref.path], async () => {
        const storage = routes.of(ref.path)
        const tag = joined.tag(storage)
        return tag.entry(await calls(storage).setAcl(tag.ref(ref), kind, value))
      }),
  }
}
