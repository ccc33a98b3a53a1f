/** The part of the configuration that is about storage profiles: one kind of entry for each type of backend, and which paths each keeps. */
import { nodePath } from './vospace/path.ts'

export type BackendConfig = PosixBackendConfig

export interface PosixBackendConfig {
  readonly type: 'posix'
  readonly root: string
  readonly mode: 'auto' | 'root' | 'unprivileged'
  readonly unlabelledOwner?: string
}

/** As it stands in the file. */
export type BackendDocument = PosixBackendDocument

export interface PosixBackendDocument {
  type: 'posix'
  root: string
  mode?: 'auto' | 'root' | 'unprivileged'
  unlabelledOwner?: string
}

/** With its defaults; `file` makes names of files absolute. */
export function backendConfig(document: BackendDocument, file: (path: string) => string): BackendConfig {
  return { ...document, root: file(document.root), mode: document.mode ?? 'auto' }
}

/** The folders that are served. */
export function foldersServed(backends: Readonly<Record<string, BackendConfig>>): string[] {
  return Object.values(backends).flatMap((backend) => ('root' in backend ? [backend.root] : []))
}

/** What a schema cannot say of the table of prefixes. */
export function namespaceMistakes({ backends, namespace }: NamespaceDocument): string[] {
  const mistakes: string[] = []
  const paths = namespace.map(({ path }) => path)
  if (!paths.includes('/')) mistakes.push('namespace: no line is for /')
  for (const [i, { path, backend }] of namespace.entries()) {
    if (!(backend in backends)) mistakes.push(`namespace ${path}: there is no backend named ${backend}`)
    if (paths.indexOf(path) !== i) mistakes.push(`namespace ${path}: it is there twice`)
    if (path.split('/').includes('.karst')) mistakes.push(`namespace ${path}: .karst is a reserved name`)
    try {
      nodePath(path)
    } catch (error) {
      mistakes.push(`namespace: ${(error as Error).message}`)
    }
  }
  return mistakes
}

interface NamespaceDocument {
  readonly backends: Readonly<Record<string, unknown>>
  readonly namespace: readonly { readonly path: string; readonly backend: string }[]
}
