// New credentials for the partitions of a session, which tells the gateway too that it goes on: a scratch that nobody asks for any more is removed.
import { renewing } from './credential.ts'
import { tokenFile } from './mounts.ts'
import { type RunFolder, writeWhole } from './run-folder.ts'
import { type Agreed, type Ask, negotiate, type SessionName } from './terms.ts'

export interface Renewed {
  readonly run: RunFolder
  readonly name: SessionName
  /** in the order of their token files */
  readonly agreed: readonly Agreed[]
}

/** Each by itself: one that is refused from now on keeps no other waiting. Answers how to end them. */
export function renewTokens(
  { ask, tell }: { readonly ask: Ask; readonly tell: (line: string) => void },
  { run, name, agreed }: Renewed,
): readonly (() => void)[] {
  return agreed.map(({ planned, terms }, index) => {
    const renew = async (): Promise<number> => {
      const { credential } = (await negotiate(ask, planned, name, [])).terms
      writeWhole(tokenFile(run, index), credential.token, 0o600)
      return Date.parse(credential.renew)
    }
    return renewing(Date.parse(terms.credential.renew), renew, (error) =>
      tell(`the credential of ${planned.partition} could not be renewed, and is tried again: ${String(error)}`),
    )
  })
}
