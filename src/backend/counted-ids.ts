/** Numbers for users and groups as they come: the mapping of a store that has none of its own. */
import { type Ids } from './backend.ts'

/** Users from 1000 with a group each of the same number, groups from 100000. Nothing is kept over a restart. */
export function countedIds(): Ids {
  const users: string[] = []
  const groups: string[] = []
  const number = (names: string[], name: string, base: number) => {
    if (!names.includes(name)) names.push(name)
    return base + names.indexOf(name)
  }
  return {
    uidOf: (owner) => number(users, owner, 1000),
    ownerOf: (uid) => users[uid - 1000] ?? `uid:${uid}`,
    gidOfUser: (owner) => number(users, owner, 1000),
    gidOf: (group) => number(groups, group, 100_000),
    groupOf: (gid) => groups[gid - 100_000],
  }
}
