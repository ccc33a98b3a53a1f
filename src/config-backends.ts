/** The part of the configuration that is about storage profiles: one kind of entry for each type of backend. */

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
