// Who the command of a session is: the user it runs as, and the passwd and group files in which that user has a name.
import { systemGroupName } from '../../src/identity/passwd.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { type Terms } from './terms.ts'

const { readFileSync } = process.getBuiltinModule('node:fs')

export interface SessionUser {
  readonly name: string
  readonly uid: number
  readonly gid: number
  /** further groups, by number: what is bind mounted is decided by them */
  readonly groups: readonly number[]
}

/** The one above it means nobody to setresuid(2), which then leaves root what it is; larger ones come out as 0. */
const LAST_ID = 0xffff_fffe

/** Whom a name means where the image has none. */
const GUEST = { name: 'guest', uid: 1000, gid: 1000 }

/** A name or number of the image, guest, or the user as the gateway numbers them. NodeNotFound; InvalidArgument for root, and for what is no number of a user. */
export function sessionUser(asked: string | number | undefined, user: Terms['user'], passwd: string): SessionUser {
  const found = asked === undefined ? user : named(String(asked), user.name, passwd)
  if (found.uid === 0) throw new Fault('InvalidArgument', 'a session does not run as root: name another user (--user)')
  if (![found.uid, found.gid].every((one) => Number.isInteger(one) && one >= 0 && one <= LAST_ID))
    throw new Fault('InvalidArgument', `a session cannot run as ${found.uid}:${found.gid}: numbers end at ${LAST_ID}`)
  const isTheirs = found.uid === user.uid
  const { name, uid, gid } = found
  return { name, uid, gid, groups: isTheirs ? user.groups.map((group) => group.gid) : [] }
}

function named(asked: string, name: string, passwd: string): { name: string; uid: number; gid: number } {
  for (const line of passwd.split('\n')) {
    const [known = '', , uid = '', gid = ''] = line.split(':')
    if ((known === asked || uid === asked) && /^\d+$/.test(uid))
      return { name: known, uid: Number(uid), gid: Number(gid) }
  }
  if (/^\d{1,10}$/.test(asked)) return { name, uid: Number(asked), gid: Number(asked) }
  if (asked === GUEST.name) return GUEST
  throw new Fault('NodeNotFound', `--user ${asked}: this image has no such user; give a number, or guest`)
}

/** The image's files with the session's user and groups behind them; a number or name that is somebody's stays so. */
export function accountFiles(
  { name, uid, gid }: SessionUser,
  home: string,
  groups: Terms['user']['groups'],
): { readonly passwd: string; readonly group: string } {
  const passwd = linesOf('/etc/passwd')
  const group = linesOf('/etc/group')
  const user = free(passwd, name, uid)
  if (user !== undefined) passwd.push(`${user}:x:${uid}:${gid}:${name}:${home.replaceAll(':', '_')}:/bin/sh`)
  const own = free(group, name, gid)
  if (own !== undefined) group.push(`${own}:x:${gid}:`)
  for (const { uri, gid: number } of groups) {
    const known = free(group, systemGroupName(uri), number)
    if (known !== undefined) group.push(`${known}:x:${number}:${user ?? name}`)
  }
  return { passwd: textOf(passwd), group: textOf(group) }
}

/** The name under which a number may be added; undefined: it has one. */
function free(lines: readonly string[], name: string, number: number): string | undefined {
  const fields = lines.map((line) => line.split(':'))
  if (fields.some(([, , known]) => known === String(number))) return undefined
  return fields.some(([known]) => known === name) ? `${name}-${number}` : name
}

function linesOf(file: string): string[] {
  try {
    return readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
  } catch (error) {
    // an image may have neither
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

const textOf = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('')
