/** What every part of a namespace that several storages keep is made of. */
import { type Gate } from './gate.ts'
import { type Routes, type Storage } from './routes.ts'
import { type Tag } from './tagged-ids.ts'

export interface Joined {
  readonly routes: Routes
  readonly gate: Gate
  /** of the ids that a storage gives */
  tag(storage: Storage): Tag
}

/** A part of it. */
export class JoinedPart {
  protected readonly routes: Routes
  protected readonly gate: Gate
  protected readonly tag: (storage: Storage) => Tag

  constructor(joined: Joined) {
    this.routes = joined.routes
    this.gate = joined.gate
    this.tag = (storage) => joined.tag(storage)
  }
}
