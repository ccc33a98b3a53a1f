// The files passwd(5) and group(5) of a session: those of its image, and the users and groups of the site, so that programs show names. Pure.
import { Fault } from '../vospace/fault.ts'
import { groupName } from '../vospace/group.ts'
import { type Numbered } from './posix-mapping.ts'

/** What the site says. */
export interface SiteNumbers {
  /** name and uid, which is the gid of their own group too */
  readonly users: readonly Numbered[]
  /** URI and gid */
  readonly groups: readonly Numbered[]
  /** URIs of the groups that a user is in, for those of whom that is known */
  readonly memberships?: ReadonlyMap<string, readonly string[]>
  /** of everybody, with `{user}` for the name; default /home/{user} */
  readonly home?: string
  /** default /bin/sh */
  readonly shell?: string
}

/** Two files whole. */
export interface AccountFiles {
  readonly passwd: string
  readonly group: string
}

export interface MergedAccounts extends AccountFiles {
  /** what was added alone, as libnss-extrausers reads it */
  readonly extra: AccountFiles
  /** who is not in it, and why */
  readonly left: readonly string[]
}

/** useradd(8), groupadd(8): names longer than that are cut off by programs. */
const LONGEST = 32
/** Those below are the system's; the last is "no id". */
const FIRST_NUMBER = 1000
const NO_NUMBERS: readonly number[] = [65_534, 65_535, 0xffffffff]
const USER_NAME = /^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/
/**
 * Groups by whose name sudo, polkit, daemons and devices of some system or other know who may more. Anybody makes groups, so none of a site is called
 * so, whether or not the image has one.
 */
const PRIVILEGED =
  `root sudo sudoers google-sudoers wheel admin adm operator staff shadow disk kmem mem tty tape floppy cdrom dialout audio video
  render input sgx plugdev netdev scanner lpadmin docker podman containerd lxd lxc incus incus-admin libvirt libvirt-qemu kvm qemu vboxusers
  wireshark systemd-journal systemd-network systemd-resolve messagebus polkitd ssh _ssh sshd ssh_keys crontab daemon bin sys mail nobody
  nogroup`.split(/\s+/)

/**
 * The image's files with the site's users and groups behind them. What the image has stays as it is: a name of its own is never given away, so
 * somebody called the same is called `name-NUMBER`, as is a group with a name that means power; nor is a number, so its holder is left out. Names depend on what is there alone, and of two
 * groups that would be called the same the one with the lower number is: a later one changes nothing. To merge the result again changes
 * nothing either. InvalidArgument: a home or shell that cannot stand in such a file.
 */
export function mergeAccounts(image: AccountFiles, site: SiteNumbers): MergedAccounts {
  const { home = '/home/{user}', shell = '/bin/sh' } = site
  for (const path of [home, shell]) {
    if (!/^\/[^:\n\r\0]*$/.test(path)) throw new Fault('InvalidArgument', `not fit for passwd: ${JSON.stringify(path)}`)
  }
  const users = new Names(image.passwd)
  const groups = new Names(image.group, PRIVILEGED)
  const left: string[] = []
  const known = new Map<string, string>()
  for (const [user, uid] of inOrder(site.users)) {
    const name = USER_NAME.test(user) ? users.place(user, uid) : { refused: 'no name of a user' }
    if ('refused' in name) {
      left.push(`user ${JSON.stringify(user)} (${uid}): ${name.refused}`)
      continue
    }
    known.set(user, name.name)
    if (name.isNew) users.add(`${name.name}:x:${uid}:${uid}:${user}:${home.replaceAll('{user}', user)}:${shell}`)
    const own = groups.place(name.name, uid)
    if ('refused' in own) left.push(`group of ${user} (${uid}): ${own.refused}`)
    else if (own.isNew) groups.add(`${own.name}:x:${uid}:`)
  }
  const members = membersOf(site.memberships ?? new Map(), known)
  const placed = new Set(known.values())
  for (const [uri, gid] of inOrder(site.groups)) {
    const group = groups.place(systemGroupName(uri), gid)
    if ('refused' in group) left.push(`group ${JSON.stringify(uri)} (${gid}): ${group.refused}`)
    else groups.enrol(group.name, gid, members.get(uri) ?? [], placed)
  }
  return {
    passwd: users.whole,
    group: groups.whole,
    extra: { passwd: users.added, group: groups.added },
    left,
  }
}

/** As group(5) has it: what stands after `?` in lower case, every other character `_`, 32 at most. */
export function systemGroupName(uri: string): string {
  const name = (groupName(uri)?.name ?? uri).toLowerCase().replace(/[^a-z0-9_-]/g, '_')
  return (/^[a-z_]/.test(name) ? name : `_${name}`).slice(0, LONGEST)
}

const inOrder = (all: readonly Numbered[]): Numbered[] => [...all].sort(([a, m], [b, n]) => m - n || (a < b ? -1 : 1))

/** Names as they stand in passwd, by group URI. */
function membersOf(
  memberships: ReadonlyMap<string, readonly string[]>,
  known: ReadonlyMap<string, string>,
): Map<string, string[]> {
  const members = new Map<string, string[]>()
  for (const [user, uris] of memberships) {
    const name = known.get(user)
    if (name !== undefined) for (const uri of new Set(uris)) members.set(uri, [...(members.get(uri) ?? []), name])
  }
  return members
}

type Placed = { readonly name: string; readonly isNew: boolean } | { readonly refused: string }

/** One of the two files: its names and numbers, each of which is somebody's, and what is added. */
class Names {
  readonly #image: string[]
  /** line of the image by number */
  readonly #lines = new Map<number, { readonly name: string; readonly at: number }>()
  readonly #numbers = new Set<number>()
  // whatever the image has: there is one root
  readonly #names = new Set<string>(['root'])
  readonly #added: string[] = []

  /** `taken`: names that are nobody's, though the image has none of them. */
  constructor(text: string, taken: readonly string[] = []) {
    for (const name of taken) this.#names.add(name)
    this.#image = text === '' ? [] : text.replace(/\n$/, '').split('\n')
    for (const [at, line] of this.#image.entries()) {
      const [name = '', , number = ''] = line.split(':')
      this.#names.add(name)
      if (!/^\d+$/.test(number) || this.#lines.has(Number(number))) continue
      this.#lines.set(Number(number), { name, at })
    }
  }

  /** The name under which somebody stands there, or may. */
  place(wanted: string, number: number): Placed {
    if (!Number.isInteger(number) || number < FIRST_NUMBER || number > 0xffffffff || NO_NUMBERS.includes(number))
      return { refused: 'no number of people' }
    if (this.#numbers.has(number)) return { refused: 'the number is given twice' }
    const suffix = `-${number}`
    const other = wanted.slice(0, LONGEST - suffix.length) + suffix
    const here = this.#lines.get(number)
    if (here !== undefined) {
      if (here.name !== wanted && here.name !== other) return { refused: `the number is ${here.name}'s` }
      this.#numbers.add(number)
      return { name: here.name, isNew: false }
    }
    const name = wanted.length <= LONGEST && !this.#names.has(wanted) ? wanted : other
    if (this.#names.has(name)) return { refused: `${name} is somebody else` }
    this.#names.add(name)
    this.#numbers.add(number)
    return { name, isNew: true }
  }

  add(line: string): void {
    this.#added.push(line)
  }

  /** A group with these members; of those that stand there already only those stay that are none of `users`. */
  enrol(name: string, number: number, members: readonly string[], users: ReadonlySet<string>): void {
    const here = this.#lines.get(number)
    if (here === undefined) return this.add(`${name}:x:${number}:${members.join(',')}`)
    const [, password = 'x', , listed = ''] = (this.#image[here.at] ?? '').split(':')
    const others = listed.split(',').filter((one) => one !== '' && !users.has(one))
    this.#image[here.at] = `${name}:${password}:${number}:${[...others, ...members].join(',')}`
  }

  get whole(): string {
    return textOf([...this.#image, ...this.#added])
  }

  get added(): string {
    return textOf(this.#added)
  }
}

const textOf = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('')
