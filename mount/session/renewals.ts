// New credentials for the partitions of a session, which tells the gateway too that it goes on: a scratch that nobody asks for any more is removed.
import { renewing } from './credential.ts'
import { tokenFile } from './mounts.ts'
import { type RunFolder, writeWhole } from './run-folder.ts'
import { type Agreed, type Ask, negotiate, type SessionName, type Terms } from './terms.ts'

export interface Renewed {
  readonly run: RunFolder
  readonly name: SessionName
  /** in the order of their token files */
  readonly agreed: readonly Agreed[]
}

/** What is bind mounted is asked for as that again, or it would count as given back. */
const asBind = ({ bind }: Terms): string[] => (bind === undefined ? [] : [bind.backend])

const isSame = (one: Terms['bind'], other: Terms['bind']): boolean =>
  one?.backend === other?.backend && one?.path === other?.path

/** Each by itself: one that is refused from now on keeps no other waiting. Answers how to end them. */
export function renewTokens(
  { ask, tell }: { readonly ask: Ask; readonly tell: (line: string) => void },
  { run, name, agreed }: Renewed,
): readonly (() => void)[] {
  return agreed.map(({ planned, terms }, index) => {
    let isMoved = false
    const renew = async (): Promise<number> => {
      const { credential, bind } = (await negotiate(ask, planned, name, asBind(terms))).terms
      if (!isMoved && terms.bind !== undefined && !isSame(bind, terms.bind)) {
        isMoved = true
        tell(`${planned.partition} was brought to another storage, and what is written here is lost: end this session`)
      }
      writeWhole(tokenFile(run, index), credential.token, 0o600)
      return Date.parse(credential.renew)
    }
    return renewing(Date.parse(terms.credential.renew), renew, (error) =>
      tell(`the credential of ${planned.partition} could not be renewed, and is tried again: ${String(error)}`),
    )
  })
}
