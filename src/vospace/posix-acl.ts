/** POSIX ACLs in the binary form of the system.posix_acl_* attributes (linux/posix_acl_xattr.h, version 2). Pure. */

export const ACCESS_ACL = 'system.posix_acl_access'
export const DEFAULT_ACL = 'system.posix_acl_default'

export type AclKind = 'access' | 'default'

/** Of the name of an extended attribute; undefined: it is none of an ACL. */
export function aclKindOf(name: string): AclKind | undefined {
  return name === ACCESS_ACL ? 'access' : name === DEFAULT_ACL ? 'default' : undefined
}

/** An entry for one user or group; perm is rwx as 0 to 7. */
export interface Named {
  readonly kind: 'user' | 'group'
  readonly id: number
  readonly perm: number
}

/** Without named entries it says no more than a mode, and the mask means nothing. */
export interface Acl {
  readonly owner: number
  readonly group: number
  readonly other: number
  readonly mask: number | undefined
  readonly named: readonly Named[]
}

const TAG = { owner: 0x01, user: 0x02, group: 0x04, namedGroup: 0x08, mask: 0x10, other: 0x20 } as const
const NO_ID = 0xffffffff

/** The ACL that a mode alone amounts to. */
export function aclOfMode(mode: number): Acl {
  return { owner: (mode >> 6) & 7, group: (mode >> 3) & 7, other: mode & 7, mask: undefined, named: [] }
}

/** undefined: not a form that we know. */
export function parseAcl(bytes: Buffer): Acl | undefined {
  if (bytes.length < 4 || (bytes.length - 4) % 8 !== 0 || bytes.readUInt32LE(0) !== 2) return undefined
  const plain: { [tag: number]: number } = {}
  const named: Named[] = []
  for (let at = 4; at < bytes.length; at += 8) {
    const tag = bytes.readUInt16LE(at)
    const perm = bytes.readUInt16LE(at + 2) & 7
    const id = bytes.readUInt32LE(at + 4)
    if (tag === TAG.user) named.push({ kind: 'user', id, perm })
    else if (tag === TAG.namedGroup) named.push({ kind: 'group', id, perm })
    else plain[tag] = perm
  }
  const { [TAG.owner]: owner, [TAG.group]: group, [TAG.other]: other, [TAG.mask]: mask } = plain
  if (owner === undefined || group === undefined || other === undefined) return undefined
  return { owner, group, other, mask, named }
}

/** In the order the kernel asks for. */
export function buildAcl(acl: Acl): Buffer {
  const of = (kind: Named['kind'], tag: number) =>
    acl.named.filter((entry) => entry.kind === kind).sort((a, b) => a.id - b.id).map(({ id, perm }) => [tag, perm, id]) // prettier-ignore
  const entries = [
    [TAG.owner, acl.owner, NO_ID],
    ...of('user', TAG.user),
    [TAG.group, acl.group, NO_ID],
    ...of('group', TAG.namedGroup),
    ...(acl.mask === undefined ? [] : [[TAG.mask, acl.mask, NO_ID]]),
    [TAG.other, acl.other, NO_ID],
  ]
  const bytes = Buffer.alloc(4 + 8 * entries.length)
  bytes.writeUInt32LE(2, 0)
  for (const [i, [tag = 0, perm = 0, id = 0]] of entries.entries()) {
    bytes.writeUInt16LE(tag, 4 + 8 * i)
    bytes.writeUInt16LE(perm, 6 + 8 * i)
    bytes.writeUInt32LE(id, 8 + 8 * i)
  }
  return bytes
}

/** The same permissions with nothing left for the mask to take away. */
export function unmasked(acl: Acl): Acl {
  const { mask } = acl
  if (mask === undefined) return acl
  const named = acl.named.map((entry) => ({ ...entry, perm: entry.perm & mask }))
  return { ...acl, group: acl.group & mask, named, mask: undefined }
}

/** With the mask that takes nothing away; none where there are no named entries. */
export function masked(acl: Acl): Acl {
  if (acl.named.length === 0) return { ...acl, mask: undefined }
  return { ...acl, mask: acl.named.reduce((union, { perm }) => union | perm, acl.group) }
}

/** The access ACL of what is made with this mode in a container with that default ACL: what the mode does not ask for is not given. */
export function created(byDefault: Acl, mode: number): Acl {
  const asked = aclOfMode(mode)
  const { mask } = byDefault
  return {
    owner: byDefault.owner & asked.owner,
    other: byDefault.other & asked.other,
    group: mask === undefined ? byDefault.group & asked.group : byDefault.group,
    mask: mask === undefined ? undefined : mask & asked.group,
    named: byDefault.named,
  }
}

/** What chmod gives for it: the group bits are the mask. */
export function modeOfAcl(acl: Acl): number {
  return (acl.owner << 6) | ((acl.mask ?? acl.group) << 3) | acl.other
}
