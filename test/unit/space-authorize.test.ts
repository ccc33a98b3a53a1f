/** who × node × verb, each with the reason when the answer is no (wire.md section 8). */
import t from 'tap'
import { authorize, refusalOf, seen, type Verb } from '../../src/space/authorize.ts'
import { type Caller } from '../../src/vospace/caller.ts'
import { isFault } from '../../src/vospace/fault.ts'
import { type Access, type Entry, type NodeType } from '../../src/vospace/node.ts'
import { CORE } from '../../src/vospace/property.ts'
import { admin, alice, at, bob, carol, GUESTS, nobody, STAFF } from './space-world.ts'

const RULES = { allocationParents: [at('/home'), at('/projects')] }

const entry = (path: string, type: NodeType, access: Partial<Access>, properties: [string, string][] = []): Entry => ({
  id: path, path: at(path), type, size: 0, mode: 0, uid: 0, gid: 0, nlink: 1, mtime: 0n, ctime: 0n, contentVersion: '', version: '',
  access: { owner: 'root', isPublic: false, groupRead: [], groupWrite: [], inherit: false, locked: false, ...access },
  properties: new Map(properties),
}) // prettier-ignore

const root = entry('/', 'container', { isPublic: true })
const home = entry('/home', 'container', { isPublic: true })
const hers = entry('/home/alice', 'container', { owner: 'alice', isPublic: true })
const inHers = (type: NodeType, access: Partial<Access>, properties?: [string, string][]): Entry[] => [
  root, home, hers, entry('/home/alice/x', type, access, properties),
] // prettier-ignore
const shared = (access: Partial<Access>, child: Partial<Access> = {}): Entry[] => [
  root, entry('/data', 'container', { isPublic: true, ...access }), entry('/data/x', 'data', child),
] // prettier-ignore

type Row = [who: Caller, verb: Verb, chain: Entry[], expected: string]
const yes = 'yes'

const TABLE: Record<string, Row[]> = {
  'public is read by all and written by none': [
    [nobody, 'read', inHers('data', { isPublic: true }), yes],
    [bob, 'read', inHers('data', { isPublic: true }), yes],
    [bob, 'write', inHers('data', { isPublic: true }), 'EACCES they have no write permission'],
    [nobody, 'write', inHers('data', { isPublic: true }), 'EACCES they have no write permission'],
    [nobody, 'list', inHers('container', { isPublic: true }), yes],
    [nobody, 'create', inHers('container', { isPublic: true }), 'EACCES they have no write permission'],
    [nobody, 'update', inHers('data', { isPublic: true }), 'EACCES they have no write permission on it'],
  ],
  'private is the owner and nobody else': [
    [bob, 'read', inHers('data', { owner: 'bob' }), yes],
    [bob, 'write', inHers('data', { owner: 'bob' }), yes],
    [carol, 'read', inHers('data', { owner: 'bob' }), 'EACCES it is not shared with them'],
    [nobody, 'read', inHers('data', { owner: 'bob' }), 'EACCES it is not shared with them'],
    [carol, 'list', inHers('container', { owner: 'bob' }), 'EACCES it is not shared with them'],
    [carol, 'follow', inHers('link', { owner: 'bob' }), 'EACCES it is not shared with them'],
  ],
  'an owner that is only a number is no caller, and no caller without a name owns anything': [
    [nobody, 'read', inHers('data', { owner: 'uid:65534' }), 'EACCES it is not shared with them'],
    [
      { ...nobody, groups: new Set([STAFF]) },
      'read',
      inHers('data', { groupRead: [STAFF] }),
      'EACCES it is not shared with them',
    ],
    [
      { ...nobody, groups: new Set([STAFF]) },
      'write',
      inHers('data', { groupWrite: [STAFF] }),
      'EACCES they have no write permission',
    ],
  ],
  'readers read, writers read and write': [
    [bob, 'read', inHers('data', { groupRead: [STAFF] }), yes],
    [bob, 'write', inHers('data', { groupRead: [STAFF] }), 'EACCES they have no write permission'],
    [bob, 'read', inHers('data', { groupWrite: [STAFF] }), yes],
    [bob, 'write', inHers('data', { groupWrite: [STAFF] }), yes],
    [bob, 'update', inHers('data', { groupWrite: [GUESTS, STAFF] }), yes],
    [carol, 'read', inHers('data', { groupRead: [STAFF], groupWrite: [STAFF] }), 'EACCES it is not shared with them'],
    [bob, 'create', inHers('container', { groupWrite: [STAFF] }), yes],
    [bob, 'create', inHers('container', { groupRead: [STAFF] }), 'EACCES they have no write permission'],
  ],
  'the owner of an allocation reads and writes everything below': [
    [alice, 'read', inHers('data', { owner: 'bob' }), yes],
    [alice, 'write', inHers('data', { owner: 'bob' }), yes],
    [alice, 'create', inHers('container', { owner: 'bob' }), yes],
    [alice, 'update', inHers('data', { owner: 'bob' }), yes],
    [alice, 'delete', inHers('data', { owner: 'bob' }), yes],
    [
      alice,
      'read',
      [...inHers('container', { owner: 'bob' }), entry('/home/alice/x/y', 'data', { owner: 'bob' })],
      yes,
    ],
    [alice, 'read', shared({ owner: 'alice' }), 'EACCES it is not shared with them'],
    [alice, 'create', [root, home], 'EACCES they have no write permission'],
    [alice, 'delete', [root, home, hers], 'EACCES they have no write permission on /home'],
    [bob, 'read', [root, home, entry('/home/f', 'data', { owner: 'alice' })], 'EACCES it is not shared with them'],
  ],
  'each container on the way must be readable': [
    [
      bob,
      'read',
      [...inHers('container', {}), entry('/home/alice/x/y', 'data', { isPublic: true })],
      'EACCES /home/alice/x is not readable to them',
    ],
    [
      bob,
      'read',
      [...inHers('container', {}), entry('/home/alice/x/y', 'data', { owner: 'bob' })],
      'EACCES /home/alice/x is not readable to them',
    ],
    [
      bob,
      'write',
      [...inHers('container', {}), entry('/home/alice/x/y', 'data', { owner: 'bob' })],
      'EACCES /home/alice/x is not readable to them',
    ],
    [bob, 'reach', inHers('container', {}), 'EACCES /home/alice/x is not readable to them'],
    [bob, 'reach', [root, home, hers], yes],
    [alice, 'reach', [entry('/', 'container', {}), home, hers], 'EACCES / is not readable to them'],
    [bob, 'administer', inHers('data', {}), 'EPERM only an administrator may'],
  ],
  'to delete is to write to the container': [
    [bob, 'delete', shared({ owner: 'bob' }, { owner: 'carol' }), yes],
    [carol, 'delete', shared({ owner: 'bob' }, { owner: 'carol' }), 'EACCES they have no write permission on /data'],
    [bob, 'delete', shared({ groupWrite: [STAFF] }), yes],
    [admin, 'delete', [root], 'EPERM it is the root'],
  ],
  'to upload, write permission on the node or on its container will do': [
    [bob, 'upload', shared({ owner: 'bob' }, { owner: 'carol' }), yes],
    [carol, 'upload', shared({ owner: 'bob' }, { owner: 'carol' }), yes],
    [
      alice,
      'upload',
      shared({ owner: 'bob' }, { owner: 'carol' }),
      'EACCES they have write permission neither on it nor on its container',
    ],
    [
      bob,
      'upload',
      shared({ owner: 'bob', locked: true }, { owner: 'carol' }),
      'EACCES they have write permission neither on it nor on its container',
    ],
    [carol, 'upload', shared({ owner: 'bob', locked: true }, { owner: 'carol' }), yes],
    [carol, 'upload', shared({ owner: 'bob' }, { owner: 'carol', locked: true }), 'EPERM /data/x is locked'],
    [bob, 'write', shared({ owner: 'bob' }, { owner: 'carol' }), 'EACCES they have no write permission'],
  ],
  'a lock stops everybody, but not a change of properties': [
    [bob, 'write', shared({}, { owner: 'bob', locked: true }), 'EPERM /data/x is locked'],
    [bob, 'delete', shared({ owner: 'bob' }, { locked: true }), 'EPERM /data/x is locked'],
    [bob, 'delete', shared({ owner: 'bob', locked: true }), 'EPERM /data is locked'],
    [
      bob,
      'create',
      [root, entry('/data', 'container', { owner: 'bob', isPublic: true, locked: true })],
      'EPERM /data is locked',
    ],
    [bob, 'update', shared({}, { owner: 'bob', locked: true }), yes],
    [bob, 'attributes', shared({}, { owner: 'bob', locked: true }), yes],
    [bob, 'write', shared({ locked: true }, { owner: 'bob' }), yes],
    [bob, 'read', shared({ locked: true }, { owner: 'bob', locked: true }), yes],
    [alice, 'write', inHers('data', { locked: true }), 'EPERM /home/alice/x is locked'],
  ],
  'immutable (VOSpace 2.1) stops as a lock does': [
    [alice, 'write', inHers('data', {}, [[`${CORE}immutable`, 'true']]), 'EPERM /home/alice/x is immutable'],
    [alice, 'delete', inHers('data', {}, [[`${CORE}immutable`, 'true']]), 'EPERM /home/alice/x is immutable'],
    [alice, 'create', inHers('container', {}, [[`${CORE}immutable`, 'true']]), 'EPERM /home/alice/x is immutable'],
    [alice, 'update', inHers('data', {}, [[`${CORE}immutable`, 'true']]), yes],
    [alice, 'write', inHers('data', {}, [[`${CORE}immutable`, 'false']]), yes],
  ],
  'an administrator makes allocations, sets owner and quota, and sees nothing private': [
    [admin, 'create', [root, entry('/home', 'container', { owner: 'uid:0', isPublic: true })], yes],
    [admin, 'create', [entry('/', 'container', { owner: 'uid:0' })], yes],
    [
      admin,
      'create',
      [root, entry('/data', 'container', { owner: 'bob', isPublic: true })],
      'EACCES they have no write permission',
    ],
    [admin, 'administer', [root, home, hers], yes],
    [admin, 'read', inHers('data', {}), yes],
    [admin, 'read', inHers('data', { owner: 'alice' }), 'EACCES it is not shared with them'],
    [admin, 'create', [root, home, hers], 'EACCES they have no write permission'],
    [admin, 'update', [root, home, hers], 'EACCES they have no write permission on it'],
    [alice, 'administer', [root, home, hers], 'EPERM only an administrator may'],
    [bob, 'create', [root, home], 'EACCES they have no write permission'],
    [bob, 'create', [root, entry('/home', 'container', { isPublic: true, groupWrite: [STAFF] })], yes],
  ],
  'changing attributes is refused as chmod(2) refuses': [
    [bob, 'attributes', inHers('data', { groupRead: [STAFF] }), 'EPERM they have no write permission on it'],
    [bob, 'attributes', inHers('data', { groupWrite: [STAFF] }), yes],
  ],
}

for (const [rule, rows] of Object.entries(TABLE)) {
  t.test(rule, async (t) => {
    for (const [caller, verb, chain, expected] of rows) {
      const refusal = refusalOf(caller, verb, chain, RULES)
      const answer = refusal === undefined ? yes : `${refusal.errno} ${refusal.reason}`
      t.equal(answer, expected, `${caller.user ?? 'anonymous'} ${verb} ${chain.at(-1)?.path}`)
    }
  })
}

t.test('it takes the nearest of nested allocations', async (t) => {
  const rules = { allocationParents: [at('/projects'), at('/projects/demo')] }
  const chain = [
    root,
    entry('/projects', 'container', { isPublic: true }),
    entry('/projects/demo', 'container', { owner: 'alice', isPublic: true }),
    entry('/projects/demo/run', 'container', { owner: 'bob', isPublic: true }),
    entry('/projects/demo/run/f', 'data', { owner: 'carol' }),
  ]
  t.equal(refusalOf(bob, 'write', chain, rules), undefined)
  t.match(refusalOf(alice, 'write', chain, rules), { errno: 'EACCES' })
})

t.test('it says who was refused what, and why, in one sentence', async (t) => {
  const chain = inHers('data', { locked: true })
  try {
    authorize(alice, 'delete', chain, RULES)
    t.fail('it was not refused')
  } catch (error) {
    t.ok(isFault(error, 'PermissionDenied'))
    t.match(error, {
      errno: 'EPERM',
      detail: 'alice may not delete or move /home/alice/x: /home/alice/x is locked',
    })
  }
})

t.test(
  'it shows a caller an entry as readable and writable, for a container: whether something may be made inside',
  async (t) => {
    const rights = (caller: Caller, chain: Entry[]): string => {
      const { readable, writable } = seen(caller, chain, RULES)
      return `${readable ? 'r' : '-'}${writable ? 'w' : '-'}`
    }
    t.equal(rights(alice, inHers('data', {})), 'rw')
    t.equal(rights(alice, inHers('data', { locked: true })), 'r-')
    t.equal(rights(bob, inHers('data', { groupRead: [STAFF] })), 'r-')
    t.equal(rights(carol, inHers('data', { groupRead: [STAFF] })), '--')
    t.equal(rights(alice, inHers('container', { locked: true })), 'r-')
    t.equal(rights(admin, [root, home]), 'rw')
  },
)
