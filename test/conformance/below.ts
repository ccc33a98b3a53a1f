/** A container of a store as a store of its own: for running the contract where it is not the root that is looked at. */
import { type Backend, type Ref, type Trash, type TrashNote } from '../../src/backend/backend.ts'
import { type Entry } from '../../src/vospace/node.ts'
import { nodePath, type NodePath } from '../../src/vospace/path.ts'

export function below(backend: Backend, top: NodePath): Backend {
  const down = (path: NodePath): NodePath => (path === '/' ? top : nodePath(top + path))
  const up = (path: NodePath): NodePath => nodePath(path.slice(top.length) || '/')
  const shown = (entry: Entry): Entry => ({ ...entry, path: up(entry.path) })
  const ref = (one: Ref): Ref => ({ ...one, path: down(one.path) })
  return {
    get capabilities() {
      return backend.capabilitiesAt?.(top) ?? backend.capabilities
    },
    start: () => backend.start(),
    stop: () => backend.stop(),
    probe: () => backend.probe(),
    walk: async (path, options) =>
      (await backend.walk(down(path), options)).filter((entry) => entry.path.startsWith(top)).map(shown),
    async *list(container, options) {
      for await (const entry of backend.list(down(container), options)) yield shown(entry)
    },
    make: async (path, draft) => shown(await backend.make(down(path), draft)),
    put: async (path, body, options) => shown(await backend.put(down(path), body, options)),
    read: async (one, options) => {
      const { entry, body } = await backend.read(ref(one), options)
      return { entry: shown(entry), body }
    },
    amend: async (one, extents, options) => shown(await backend.amend(ref(one), extents, options)),
    set: async (one, changes) => shown(await backend.set(ref(one), changes)),
    move: async (from, to, options) => shown(await backend.move(down(from), down(to), options)),
    copy: async (from, to, draft) => shown(await backend.copy(down(from), down(to), draft)),
    remove: (path, type, seen) => backend.remove(down(path), type, seen),
    isFixed: (path) => backend.isFixed?.(down(path)) ?? false,
    survey: (container, options) => backend.survey(down(container), options),
    removeChildren: (container, choose, options) => backend.removeChildren(ref(container), choose, options),
    link: async (one, to) => shown(await backend.link(ref(one), down(to))),
    usage: (path) => backend.usage(down(path)),
    setQuota: (container, bytes) => backend.setQuota(down(container), bytes),
    directUrl: (path) => backend.directUrl(down(path)),
    ...(backend.trash && { trash: trashBelow(backend.trash, down, up, shown) }),
  }
}

type Mapping = (path: NodePath) => NodePath

function trashBelow(trash: Trash, down: Mapping, up: Mapping, shown: (entry: Entry) => Entry): Trash {
  const noted = (note: TrashNote): TrashNote => ({ ...note, path: up(note.path) })
  return {
    put: (path, seen, note) => trash.put(down(path), seen, { ...note, path: down(note.path) }),
    async *list(keeper) {
      for await (const note of trash.list(down(keeper))) yield noted(note)
    },
    restore: async (keeper, id, to) => shown(await trash.restore(down(keeper), id, down(to))),
    purge: (keeper, id) => trash.purge(down(keeper), id),
    sweep: (keeper, before) => trash.sweep(down(keeper), before),
    async *keepers() {
      for await (const keeper of trash.keepers()) yield up(keeper)
    },
  }
}
