/** What the tests of backends are written with: nodes of alice, bodies, extents, refusals. */
import { createHash } from 'node:crypto'
import { type Test } from 'tap'
import { type Backend, type Extent, type Ids } from '../../src/backend/backend.ts'
import { Fault, type FaultName } from '../../src/vospace/fault.ts'
import { type Access, type Entry } from '../../src/vospace/node.ts'
import { nodePath, type NodePath } from '../../src/vospace/path.ts'

export interface Harness {
  readonly backend: Backend
  readonly ids: Ids
  /** a container that may have a quota, and need not be there; default /a */
  readonly quotaOn?: NodePath
  readonly dispose: () => Promise<void>
}

export const GROUPS = ['ivo://karst.local/gms?astro', 'ivo://karst.local/gms?survey'] as const

/** What alice keeps to herself. */
export const access: Access = {
  owner: 'alice',
  isPublic: false,
  groupRead: [],
  groupWrite: [],
  inherit: false,
  locked: false,
}
export const container = { type: 'container', access, mode: 0o750 } as const
export const file = { access, mode: 0o640 } as const
export const link = (text: string | Buffer) =>
  ({ type: 'link', access: { ...access, isPublic: true }, mode: 0o777, text: Buffer.from(text) }) as const

/** A body of these pieces; an Error among them is thrown there. */
export async function* body(...pieces: (string | Uint8Array | Error)[]): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) {
    if (piece instanceof Error) throw piece
    yield typeof piece === 'string' ? Buffer.from(piece) : piece
  }
}

export async function* extents(...pieces: (Extent | Error)[]): AsyncGenerator<Extent> {
  for (const piece of pieces) {
    if (piece instanceof Error) throw piece
    yield piece
  }
}

export const at = (offset: number, text: string): Extent => ({ offset, bytes: Buffer.from(text) })
export const md5 = (bytes: string | Buffer) => createHash('md5').update(bytes).digest('hex')

export async function bytesOf(backend: Backend, path: NodePath): Promise<Buffer> {
  const { body } = await backend.read({ path })
  return Buffer.concat((await body.toArray()) as Buffer[])
}

export async function entryAt(backend: Backend, path: NodePath): Promise<Entry | undefined> {
  const found = (await backend.walk(path)).at(-1)
  return found?.path === path ? found : undefined
}

export async function namesIn(backend: Backend, path: NodePath, options = {}): Promise<string[]> {
  const names: string[] = []
  for await (const entry of backend.list(path, options)) names.push(entry.path.slice(entry.path.lastIndexOf('/') + 1))
  return names
}

/** The promise is refused with this fault, and with this errno when one is said. */
export async function refused(t: Test, promise: Promise<unknown>, fault: FaultName, errno?: string): Promise<void> {
  const error: unknown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (!(error instanceof Fault)) return void t.fail(`${fault} expected, got ${String(error)}`)
  t.equal(error.fault, fault, error.message)
  if (errno !== undefined) t.equal(error.errno, errno, error.message)
}

export type Case = (t: Test, b: Backend, h: Harness) => Promise<void>
export const p = nodePath
