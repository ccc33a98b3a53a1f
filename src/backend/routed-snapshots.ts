/** The snapshots of a namespace that several storages keep: those of the storage that an allocation is in. */
import { Fault } from '../vospace/fault.ts'
import { type NodePath } from '../vospace/path.ts'
import { type Backend, type Snapshot, type Snapshots } from './backend.ts'
import { JoinedPart, type Joined } from './joined.ts'
import { PastTree } from './snapshots.ts'

export class RoutedSnapshots extends JoinedPart implements Snapshots {
  readonly #whole: Backend

  constructor(joined: Joined & Backend) {
    super(joined)
    this.#whole = joined
  }

  async list(allocation: NodePath): Promise<readonly Snapshot[]> {
    return this.#of(allocation).list(allocation)
  }

  async make(allocation: NodePath, name: string): Promise<Snapshot> {
    return this.gate.through([allocation], () => this.#of(allocation).make(allocation, name))
  }

  async remove(allocation: NodePath, name: string): Promise<void> {
    await this.gate.through([allocation], () => this.#of(allocation).remove(allocation, name))
  }

  async at(allocation: NodePath, name: string): Promise<Backend> {
    const past = await this.#of(allocation).at(allocation, name)
    const walk: Backend['walk'] = async (path, options) =>
      (await past.walk(path, options)).filter((entry) => entry.path.startsWith(allocation))
    const { posix } = past
    const list: Backend['list'] = (container, options) => past.list(container, options)
    const read: Backend['read'] = async (ref, options) => past.read(ref, options)
    return new PastTree(this.#whole, { walk, list, read, ...(posix && { posix }) }, allocation)
  }

  #of(allocation: NodePath): Snapshots {
    const { snapshots } = this.routes.of(allocation).backend
    if (snapshots !== undefined) return snapshots
    throw new Fault('OperationNotSupported', 'the storage that keeps it has no snapshots')
  }
}
