// What is told of every grant, refusal and administrative act. Who keeps it (a log file, a test) is not known here.

/** No secrets in it: names, paths and counts only. */
export interface AuditEvent {
  /** What was done, or was asked for: `user.suspend`, `node.share`. */
  readonly act: string
  /** The user who asked; null: nobody was named, the gateway itself or an anonymous caller. */
  readonly by: string | null
  /** What it was done to: a user, a group URI, a node path. */
  readonly on: string
  readonly result: 'allowed' | 'refused'
  readonly detail?: Readonly<Record<string, string | number | boolean | null>>
}

/** Never throws, and never keeps its caller waiting: an act is done whether or not it could be written down. */
export interface Audit {
  note(event: AuditEvent): void
}
