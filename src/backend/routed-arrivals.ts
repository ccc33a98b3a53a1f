/** Arrivals in a namespace that several storages keep: each storage that can has its own. */
import { Fault } from '../vospace/fault.ts'
import { type NodePath } from '../vospace/path.ts'
import { type Arrivals, type Awaited, type Judge } from './backend.ts'
import { JoinedPart } from './joined.ts'
import { type Storage } from './routes.ts'

export class RoutedArrivals extends JoinedPart implements Arrivals {
  async expect(awaited: Omit<Awaited, 'token'>, issue: (seconds: number) => string): Promise<URL> {
    const { arrivals } = this.routes.of(awaited.path).backend
    if (arrivals !== undefined) return arrivals.expect(awaited, issue)
    throw new Fault('OperationNotSupported', 'all that is written there goes through the gateway')
  }

  isAwaited(path: NodePath): boolean {
    return this.routes.of(path).backend.arrivals?.isAwaited(path) === true
  }

  async settle(judge: Judge, of?: { readonly job: string } | { readonly path: NodePath }): Promise<void> {
    const failed: unknown[] = []
    for (const storage of this.routes.storages) {
      // one that fails keeps nothing from the others
      await storage.backend.arrivals
        ?.settle(this.#judge(judge, storage), of)
        .catch((error: unknown) => failed.push(error))
    }
    if (failed.length > 0) throw failed[0]
  }

  #judge(judge: Judge, storage: Storage): Judge {
    const tag = this.tag(storage)
    return {
      permit: async (arrival) => {
        if (this.routes.of(arrival.path) === storage) return judge.permit(arrival)
        throw new Fault('PreconditionFailed', `${arrival.path} was brought to another storage during the upload`)
      },
      ended: (awaited, end) => judge.ended(awaited, 'entry' in end ? { ...end, entry: tag.entry(end.entry) } : end),
      around: (path, work) => this.gate.through([path], work),
    }
  }
}
