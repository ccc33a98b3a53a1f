/** VOSpace groups as entries of a POSIX ACL and back: what the kernel enforces is what the gateway says. Pure. */
import { type NodeType } from '../../vospace/node.ts'
import { type Ids } from '../backend.ts'
import { masked, type Acl, type Named } from '../../vospace/posix-acl.ts'

export interface Groups {
  readonly groupRead: readonly string[]
  readonly groupWrite: readonly string[]
}

/** 0 none, 1 reads, 2 writes too. An entry of a container counts only with x: without it the kernel lets nobody in. */
type Level = 0 | 1 | 2

function levelOf(type: NodeType, perm: number): Level {
  const read = type === 'container' ? 5 : 4
  if ((perm & read) !== read) return 0
  return (perm & 2) !== 0 ? 2 : 1
}

function permOf(type: NodeType, level: Level): number {
  if (level === 0) return 0
  return (level === 2 ? 6 : 4) | (type === 'container' ? 1 : 0)
}

function wantedLevel(groups: Groups, uri: string): Level {
  return groups.groupWrite.includes(uri) ? 2 : groups.groupRead.includes(uri) ? 1 : 0
}

/** The granted groups of an ACL whose mask is applied. The owning group counts when it is a group of ours. */
export function groupsOfAcl(type: NodeType, acl: Acl, gid: number, ids: Ids): Groups {
  const groupRead: string[] = []
  const groupWrite: string[] = []
  const grant = (group: number, perm: number) => {
    const level = levelOf(type, perm)
    const uri = level === 0 ? undefined : ids.groupOf(group)
    if (uri === undefined) return
    if (level === 2) groupWrite.push(uri)
    else groupRead.push(uri)
  }
  grant(gid, acl.group)
  for (const entry of acl.named) if (entry.kind === 'group') grant(entry.id, entry.perm)
  return { groupRead, groupWrite }
}

/**
 * The ACL that says these groups. What it cannot say is for the record: groups without a number (the kernel will not know them),
 * and those in both lists. Entries that already say what is wanted, or are not of our groups, stay as they are.
 */
export function aclOfGroups(
  type: NodeType,
  mode: number,
  groups: Groups,
  gid: number,
  ids: Ids,
  old: Acl,
): { acl: Acl; unnumbered: Groups; also: string[] } {
  const owning = ids.groupOf(gid)
  const numbered = new Map<number, string>()
  const unnumbered = { groupRead: [] as string[], groupWrite: [] as string[] }
  const also: string[] = []
  for (const kind of ['groupRead', 'groupWrite'] as const)
    for (const uri of groups[kind]) {
      const number = uri === owning ? gid : ids.gidOf(uri)
      if (number === undefined) unnumbered[kind].push(uri)
      else if (kind === 'groupRead' && groups.groupWrite.includes(uri)) also.push(uri)
      else if (number !== gid) numbered.set(number, uri)
    }
  const named: Named[] = old.named.filter((entry) => {
    const uri = entry.kind === 'group' ? ids.groupOf(entry.id) : undefined
    return uri === undefined || levelOf(type, entry.perm) === wantedLevel(groups, uri)
  })
  for (const [id, uri] of numbered) {
    if (named.some((entry) => entry.kind === 'group' && entry.id === id)) continue
    named.push({ kind: 'group', id, perm: permOf(type, wantedLevel(groups, uri)) })
  }
  let group = (mode >> 3) & 7
  if (owning !== undefined && levelOf(type, group) !== wantedLevel(groups, owning)) {
    group = permOf(type, wantedLevel(groups, owning))
  }
  return { acl: masked({ owner: (mode >> 6) & 7, group, other: mode & 7, mask: undefined, named }), unnumbered, also }
}

/** Groups after the owning group is changed: the old one loses what it had as such, the new one has what the bits say. */
export function regrouped(type: NodeType, groups: Groups, acl: Acl, from: number, to: number, ids: Ids): Groups {
  const named = (gid: number) => acl.named.some((entry) => entry.kind === 'group' && entry.id === gid)
  const before = ids.groupOf(from)
  const drop = before !== undefined && !named(from) ? before : undefined
  const after = ids.groupOf(to)
  const level = levelOf(type, acl.group)
  const kept = (uris: readonly string[]) => uris.filter((uri) => uri !== drop)
  const add = (when: Level) => (after !== undefined && level === when ? [after] : [])
  return {
    groupRead: [...kept(groups.groupRead), ...add(1)],
    groupWrite: [...kept(groups.groupWrite), ...add(2)],
  }
}
