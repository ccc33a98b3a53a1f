/** Imports into a namespace that several storages keep: the storage that keeps the container has the bucket. */
import { Fault } from '../vospace/fault.ts'
import { isWithin, type NodePath } from '../vospace/path.ts'
import { type Cancel, type ImportPage, type Imports, type ImportSource, type ImportState, type LeftOut } from './backend.ts' // prettier-ignore
import { JoinedPart } from './joined.ts'

export class RoutedImports extends JoinedPart implements Imports {
  async *bring(source: ImportSource, run: string, options?: Cancel): AsyncGenerator<ImportPage> {
    const { container } = source
    // what is below a seam would not be seen
    const seam = this.routes.lines.find(({ path }) => path !== container && isWithin(path, container))
    if (seam !== undefined) throw new Fault('InvalidArgument', `below ${container} another storage begins, at ${seam.path}`)
    const tag = this.tag(this.routes.of(container))
    for await (const { counts, changes } of this.#pages(container, this.#of(container).bring(source, run, options))) {
      yield { counts, changes: changes.map((one) => tag.put(one)) }
    }
  } // prettier-ignore

  state(container: NodePath): ImportState | undefined {
    return this.routes.of(container).backend.imports?.state(container)
  }

  leftOut(container: NodePath, after: string, limit: number): LeftOut[] {
    return this.#of(container).leftOut(container, after, limit)
  }

  async *forget(container: NodePath, options?: Cancel): AsyncGenerator<ImportPage['changes']> {
    const tag = this.tag(this.routes.of(container))
    for await (const changes of this.#pages(container, this.#of(container).forget(container, options))) {
      yield changes.map((one) => tag.put(one))
    }
  }

  touches(path: NodePath): boolean {
    return this.routes.of(path).backend.imports?.touches(path) === true
  }

  covers(path: NodePath): boolean {
    return this.routes.of(path).backend.imports?.covers(path) === true
  }

  #of(container: NodePath): Imports {
    const { name, backend } = this.routes.of(container)
    if (backend.imports !== undefined) return backend.imports
    throw new Fault('OperationNotSupported', `${container} is kept by ${name}, which is no storage of objects`)
  }

  /** Each page is a change like any other: a container that is on its way to another storage takes none. */
  async *#pages<T>(container: NodePath, pages: AsyncGenerator<T>): AsyncGenerator<T> {
    try {
      for (;;) {
        const page = await this.gate.through([container], () => pages.next())
        if (page.done === true) return
        yield page.value
      }
    } finally {
      await pages.return(undefined)
    }
  }
}
