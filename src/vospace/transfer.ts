/** Transfers and their jobs as documents (VOSpace 2.1 section on transfers; UWS 1.1 section on jobs). */
import { type NodeDocument } from './document.ts'
import { CORE } from './property.ts'

export const PROTOCOL = {
  httpget: `${CORE}httpget`,
  httpput: `${CORE}httpput`,
  httpsget: `${CORE}httpsget`,
  httpsput: `${CORE}httpsput`,
} as const

export const VIEW = {
  any: `${CORE}anyview`,
  binary: `${CORE}binaryview`,
  default: `${CORE}defaultview`,
  /** CADC's name of the bytes as they are */
  data: 'ivo://cadc.nrc.ca/vospace/view#data',
} as const

export const SECURITY = {
  anonymous: 'ivo://ivoa.net/sso#anon',
  certificate: 'ivo://ivoa.net/sso#tls-with-certificate',
  token: 'ivo://ivoa.net/sso#token',
  /** what older Python clients write inside transfers; the same as `token` */
  legacyToken: 'vos://cadc.nrc.ca~vospace/CADC/std/Auth#token-1.0',
} as const

export interface Param {
  readonly uri: string
  readonly value: string
}

export interface Protocol {
  readonly uri: string
  readonly endpoint?: string
  readonly params?: readonly Param[]
  /** securityMethod URIs as they came; empty: none was asked for */
  readonly securityMethods: readonly string[]
}

export interface View {
  readonly uri: string
  readonly params?: readonly Param[]
}

export interface Transfer {
  /** '2.0' or '2.1': the version attribute; securityMethod and param exist in 2.1 only */
  readonly version: '2.0' | '2.1'
  readonly targets: readonly string[]
  /** pushToVoSpace | pullFromVoSpace | pullToVoSpace | pushFromVoSpace | a vos URI (move, copy), as it came */
  readonly direction: string
  readonly view?: View
  readonly protocols: readonly Protocol[]
  readonly keepBytes?: boolean
  readonly params?: readonly Param[]
}

export const PHASES = [
  'PENDING', 'QUEUED', 'EXECUTING', 'COMPLETED', 'ERROR', 'ABORTED', 'UNKNOWN', 'HELD', 'SUSPENDED', 'ARCHIVED',
] as const // prettier-ignore
export type Phase = (typeof PHASES)[number]

/** A job in one of these may come to another phase. */
export const ACTIVE_PHASES: readonly Phase[] = ['PENDING', 'QUEUED', 'EXECUTING']

/** The list of transfer jobs, moves and copies among them, and their kind. */
export const TRANSFERS = 'transfers'

export interface JobResult {
  readonly id: string
  readonly href: string
}

/** A job as UWS shows it. Times in milliseconds since 1970. */
export interface Job {
  readonly id: string
  /** who does it, and the name of the list it is in: `transfers`, `async-delete`, `async-setprops` */
  readonly kind: string
  /** Local user name; undefined: made anonymously */
  readonly owner: string | undefined
  /** made with an administrator's rights */
  readonly admin?: boolean
  readonly phase: Phase
  readonly created: number
  readonly started?: number
  readonly ended?: number
  readonly destruction: number
  /** seconds */
  readonly executionDuration: number
  readonly results: readonly JobResult[]
  /** the bare fault token (wire.md 4.5) */
  readonly error?: string
  /** the transfer document as asked for */
  readonly transfer?: Transfer
  /** the node document as asked for */
  readonly node?: NodeDocument
  /** the parameters as asked for, by name */
  readonly parameters?: Readonly<Record<string, string>>
  /** nodes, or whatever is counted; `total` where it is known */
  readonly progress?: { readonly done: number; readonly total?: number }
  /** what was negotiated: the transferDetails; no protocols when it failed */
  readonly details?: Transfer
}
