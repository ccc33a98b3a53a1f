/** The part of the configuration that is about people: who gets an account and a home, and what one user may ask for at a time. */
import { nodePath, type NodePath } from './vospace/path.ts'

export interface AccountsConfig {
  /** Who gets an account at their first request; neither: an administrator makes all. */
  readonly autoprovision: readonly ('x509' | 'token')[]
  /** patterns of canonical distinguished names; absent: any */
  readonly names?: readonly string[]
  /** issuers of tokens; absent: any */
  readonly issuers?: readonly string[]
  /** absent: nobody gets a home. `quota`: bytes */
  readonly home?: { readonly parent: NodePath; readonly quota?: number }
}

/** What is said is otherwise than the defaults of src/http/limits.ts; null: no limit. */
export interface LimitsConfig {
  readonly user?: Partial<Record<'connections' | 'requests' | 'perSecond' | 'uploadBytes', number | null>>
  /** from each address */
  readonly anonymous?: Partial<Record<'requests' | 'perSecond', number | null>>
  readonly connectionsPerAddress?: number | null
}

/** As they stand in the file. */
export interface AccountsDocument {
  accounts?: {
    autoprovision?: 'off' | ('x509' | 'token')[]
    names?: string[]
    issuers?: string[]
    home?: { path: string; quota?: number }
  }
  limits?: LimitsConfig
}

/** Throws InvalidURI for a home that is no path; accountMistakes says so before. */
export function accountsConfig({ accounts = {} }: AccountsDocument): AccountsConfig {
  const { autoprovision = 'off', names, issuers, home } = accounts
  return {
    autoprovision: autoprovision === 'off' ? [] : autoprovision,
    ...(names && { names }),
    // one with a slash at the end is the same
    ...(issuers && { issuers: issuers.map((issuer) => issuer.replace(/\/$/, '')) }),
    ...(home && { home: { parent: nodePath(home.path), ...(home.quota !== undefined && { quota: home.quota }) } }),
  }
}

/** What a schema cannot say. */
export function accountMistakes({ accounts }: AccountsDocument): string[] {
  if (accounts?.home === undefined) return []
  try {
    nodePath(accounts.home.path)
    return []
  } catch (error) {
    return [`accounts.home: ${(error as Error).message}`]
  }
}
