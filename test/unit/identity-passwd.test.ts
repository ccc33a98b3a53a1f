/** The passwd and group files of a session: what the image has stays, names are fit for group(5), and to do it twice is to do it once. */
import t from 'tap'
import { Fault } from '../../src/vospace/fault.ts'
import { mergeAccounts, type SiteNumbers, systemGroupName } from '../../src/identity/passwd.ts'

const IMAGE = {
  passwd:
    'root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/usr/sbin/nologin\njovyan:x:1000:100::/home/jovyan:/bin/bash\n',
  group: 'root:x:0:\nstaff:x:50:jovyan\nusers:x:100:\n',
}
const uri = (name: string, service = 'ivo://karst.local/gms'): string => `${service}?${name}`
const SITE: SiteNumbers = {
  users: [
    ['alice', 20_000],
    ['bob', 20_001],
  ],
  groups: [[uri('team'), 90_000]],
  memberships: new Map([['alice', [uri('team')]]]),
}
const added = (site: Partial<SiteNumbers>, image = IMAGE): string => {
  const { extra } = mergeAccounts(image, { users: [], groups: [], ...site })
  return extra.passwd + extra.group
}

t.test('users, their own groups and groups with members stand behind what the image has', async (t) => {
  const { passwd, group, left } = mergeAccounts(IMAGE, { ...SITE, home: '/cavern/home/{user}', shell: '/bin/bash' })
  t.equal(
    passwd,
    `${IMAGE.passwd}alice:x:20000:20000:alice:/cavern/home/alice:/bin/bash\nbob:x:20001:20001:bob:/cavern/home/bob:/bin/bash\n`,
  )
  t.equal(group, `${IMAGE.group}alice:x:20000:\nbob:x:20001:\nteam:x:90000:alice\n`)
  t.same(left, [])
})

t.test('the extract has what was added alone', async (t) => {
  t.equal(
    added(SITE),
    'alice:x:20000:20000:alice:/home/alice:/bin/sh\nbob:x:20001:20001:bob:/home/bob:/bin/sh\nalice:x:20000:\nbob:x:20001:\nteam:x:90000:alice\n',
  )
})

t.test('names of the system are never taken, nor numbers', async (t) => {
  const site: SiteNumbers = {
    users: [
      ['root', 20_000],
      ['daemon', 20_001],
      ['mallory', 0],
      ['eve', 1],
      ['nobody', 65_534],
      ['carol', 1000],
    ],
    groups: [
      [uri('staff'), 90_000],
      [uri('root'), 90_001],
      [uri('wheel'), 0],
      [uri('x'), 100],
    ],
  }
  const { passwd, group, extra, left } = mergeAccounts(IMAGE, site)
  t.ok(passwd.startsWith(IMAGE.passwd) && group.startsWith(IMAGE.group), 'what was there is there')
  t.match(extra.passwd, /^root-20000:x:20000:20000:root:\/home\/root:\/bin\/sh\ndaemon-20001:x:20001:/)
  t.match(extra.group, /staff-90000:x:90000:\nroot-90001:x:90001:\n/)
  for (const line of extra.passwd.trim().split('\n')) t.ok(Number(line.split(':')[2]) >= 1000, line)
  t.match(left.join('\n'), /mallory[^]*eve[^]*carol" \(1000\): the number is jovyan's[^]*nobody/)
  t.equal(left.length, 6)
  t.match(added({ users: [['root', 20_000]] }, { passwd: '', group: '' }), /^root-20000:/, 'even in an empty image')
})

t.test('a group whose name means power is not called so, though the image has none of that name', async (t) => {
  const names = ['admin', 'sudo', 'wheel', 'Docker', 'lxd', 'disk', 'shadow']
  const groups = names.map((name, i): [string, number] => [uri(name), 90_000 + i])
  const memberships = new Map([['alice', groups.map(([one]) => one)]])
  const site = { ...SITE, groups, memberships }
  const bare = { ...IMAGE, group: 'root:x:0:\n' }
  const once = mergeAccounts(bare, site)
  for (const name of names) {
    const at = 90_000 + names.indexOf(name)
    t.match(once.extra.group, new RegExp(`^${name.toLowerCase()}-${at}:x:${at}:alice$`, 'm'))
    t.notMatch(once.group, new RegExp(`^${name.toLowerCase()}:`, 'm'))
  }
  t.same(mergeAccounts(once, site).group, once.group, 'twice is once')
  const own = mergeAccounts(bare, { users: [['video', 20_005]], groups: [] })
  t.match(own.group, /^video-20005:x:20005:$/m, 'nor the own group of somebody of that name')
})

t.test('group names are fit for group(5), unique, and stay as they are when others come', async (t) => {
  const many: [string, number][] = [
    [uri('team'), 90_000],
    [uri('Team'), 90_001],
    [uri('team', 'ivo://far.example/gms'), 90_002],
    [uri('a/b,c.d~e'), 90_003],
    [uri('9lives'), 90_004],
    [uri('-x'), 90_005],
    [uri('alice'), 90_006],
    [uri('x'.repeat(200)), 90_007],
    [uri(`${'x'.repeat(200)}y`), 90_008],
    [uri('team-90001'), 90_009],
  ]
  const namesOf = (groups: [string, number][]): Map<number, string> => {
    const { extra } = mergeAccounts(IMAGE, { users: [['alice', 20_000]], groups })
    return new Map(
      extra.group
        .trim()
        .split('\n')
        .map((line) => [Number(line.split(':')[2]), line.split(':')[0] ?? '']),
    )
  }
  const all = namesOf(many)
  t.same(
    [...all.values()],
    [
      'alice',
      'team',
      'team-90001',
      'team-90002',
      'a_b_c_d_e',
      '_9lives',
      '_-x',
      'alice-90006',
      'x'.repeat(32),
      `${'x'.repeat(26)}-90008`,
      'team-90001-90009',
    ],
  )
  for (const name of all.values()) t.match(name, /^[a-z_][a-z0-9_-]{0,31}$/)
  t.same([...namesOf(many.toReversed())], [...all], 'whatever the order')
  for (let i = 1; i < many.length; i++)
    for (const [gid, name] of namesOf(many.slice(0, i))) t.equal(all.get(gid), name, `${name} with ${i} of them`)
  t.equal(systemGroupName('not a URI:\nroot'), 'not_a_uri__root')
})

t.test('to merge the result again changes nothing, but who is in which group', async (t) => {
  const site: SiteNumbers = {
    users: [...SITE.users, ['daemon', 20_005]],
    groups: [...SITE.groups, [uri('staff'), 90_001]],
    memberships: new Map([['alice', [uri('team'), uri('staff')]]]),
  }
  const first = mergeAccounts(IMAGE, site)
  const second = mergeAccounts(first, site)
  t.same([second.passwd, second.group], [first.passwd, first.group])
  t.same([second.extra, second.left], [{ passwd: '', group: '' }, []])
  const byHand = { ...first, group: first.group.replace('team:x:90000:alice', 'team:x:90000:jovyan,alice') }
  const third = mergeAccounts(byHand, { ...site, memberships: new Map([['bob', [uri('team')]]]) })
  t.match(third.group, /^team:x:90000:jovyan,bob$/m, 'who was let out is out, and who is not ours stays')
  t.match(third.group, /^staff-90001:x:90001:$/m)
})

t.test('nothing that is told can write a line of its own', async (t) => {
  const names = ['a:b', 'x\ny:x:0:0', 'a b', '', '-x', 'é', 'a'.repeat(65), '../x', '+', 'x\r', 'x\0']
  const { extra, left } = mergeAccounts(IMAGE, {
    users: names.map((name, i) => [name, 20_000 + i]),
    groups: names.map((name, i) => [`ivo://x/y?${name}`, 90_000 + i]),
    memberships: new Map(names.map((name) => [name, [`ivo://x/y?${name}`]])),
  })
  t.equal(extra.passwd, '')
  t.equal(left.length, names.length)
  for (const line of extra.group.trim().split('\n')) t.match(line, /^[a-z_][a-z0-9_-]{0,31}:x:900\d\d:$/)
  for (const bad of ['home/x', '/a:b', '/a\nroot', ''])
    for (const key of ['home', 'shell'])
      t.throws(
        () => mergeAccounts(IMAGE, { ...SITE, [key]: bad }),
        new Fault('InvalidArgument', `not fit for passwd: ${JSON.stringify(bad)}`),
      )
  for (const number of [NaN, -1, 1.5, 2 ** 32 - 1, 2 ** 32, 2 ** 53])
    t.equal(added({ users: [['alice', number]], groups: [[uri('team'), number]] }), '', String(number))
})

t.test('long names of users are cut so that they stay apart', async (t) => {
  const long = 'a'.repeat(40)
  const names = added({ users: [[`${long}1`, 20_001], [`${long}2`, 20_002]] }).split('\n').slice(0, 2) // prettier-ignore
  t.same(
    names.map((line) => line.split(':')[0]),
    [`${'a'.repeat(26)}-20001`, `${'a'.repeat(26)}-20002`],
  )
  t.match(names[0], `:${long}1:/home/${long}1:`)
})

t.test('an image with odd lines keeps them', async (t) => {
  const odd = { passwd: '# comment\n+::::::\n\nbroken\nroot:x:0:0::/:/bin/sh', group: '' }
  const { passwd } = mergeAccounts(odd, { users: [['alice', 20_000]], groups: [] })
  t.equal(passwd, `${odd.passwd}\nalice:x:20000:20000:alice:/home/alice:/bin/sh\n`)
})
