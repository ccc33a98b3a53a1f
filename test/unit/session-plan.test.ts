/** What a session is asked for, before anything is done: manifests, places, and the user it runs as. */
import t from 'tap'
import { accountFiles, sessionUser } from '../../mount/session/identity-files.ts'
import { checkPlaces, planOf } from '../../mount/session/plan.ts'
import { manifestIn } from '../../src/cli/session-manifest.ts'

t.test('a manifest is YAML or JSON, and the command line adds to it', async (t) => {
  const yaml = 'session: s-1\nuser: 1000\npartitions:\n  - partition: home\n    at: /home/me\n    optional: true\n'
  const manifest = manifestIn(yaml, 'm.yaml')
  t.same(manifest, manifestIn(JSON.stringify(manifest), 'm.json'))
  t.same(planOf(manifest, ['home', 'dataset:alma/2017.1']), [
    { partition: 'home', at: '/home/me', optional: true },
    { partition: 'dataset:alma/2017.1' },
  ])
})

t.test('what is wrong with a manifest is said whole', async (t) => {
  const cases: [string, RegExp][] = [
    ['colour: red', /must NOT have additional properties \("colour"\)/],
    ['partitions: [{at: /x}]', /partitions.0 must have required property 'partition'/],
    ['partitions: [{partition: home, at: x}]', /partitions.0.at must match pattern/],
    ['session: ../x', /session must match pattern/],
    ['- home', /the document must be object/],
    ['{', /m.yaml: /],
  ]
  for (const [text, why] of cases)
    t.throws(() => manifestIn(text, 'm.yaml'), { fault: 'InvalidArgument', message: why })
})

t.test('nothing is mounted outside, over the system, or twice at one place', async (t) => {
  const plan = (at: string) => () => planOf({ partitions: [{ partition: 'home', at }] }, [])
  for (const at of ['/', '/home/../etc', '/home/', '//x', '/proc', '/etc/x', '/usr/lib', '/dev/shm', '/run/x', '/a\nb'])
    t.throws(plan(at), { fault: 'InvalidArgument', message: /home cannot be mounted at/ }, at)
  t.doesNotThrow(plan('/usr2/me'))
  t.throws(() => planOf({}, ['everything']), /InvalidArgument/)
  t.throws(() => planOf({ partitions: [{ partition: 'home' }, { partition: 'home' }] }, []), /home is there twice/)
  const at = (a: string, b: string) => () =>
    checkPlaces([
      { partition: 'home', at: a },
      { partition: 'scratch', at: b },
    ])
  t.throws(at('/x', '/x'), /home and scratch would be both at \/x/)
  t.throws(at('/x', '/x/y'), /one at \/x and the other at \/x\/y/)
  t.doesNotThrow(at('/x', '/xy'))
})

t.test('a session runs as the user, as a number, as somebody of the image, never as root', async (t) => {
  const user = { name: 'alice', uid: 20001, gid: 20001, groups: [{ uri: 'ivo://x/gms?team', gid: 90001 }] }
  const passwd = 'root:x:0:0::/root:/bin/sh\njovyan:x:1000:100::/home/jovyan:/bin/sh\n'
  t.match(sessionUser(undefined, user, passwd), { name: 'alice', uid: 20001, groups: [90001] })
  t.same(sessionUser('jovyan', user, passwd), { name: 'jovyan', uid: 1000, gid: 100, groups: [] })
  t.same(sessionUser(1000, user, passwd), { name: 'jovyan', uid: 1000, gid: 100, groups: [] })
  t.same(sessionUser('1234', user, passwd), { name: 'alice', uid: 1234, gid: 1234, groups: [] })
  t.same(sessionUser('guest', user, passwd), { name: 'guest', uid: 1000, gid: 1000, groups: [] })
  t.throws(() => sessionUser('nobody-here', user, passwd), /NodeNotFound/)
  for (const root of ['root', '0']) t.throws(() => sessionUser(root, user, passwd), /InvalidArgument/)
  const files = accountFiles({ ...user, groups: [90001], uid: 4_000_001, gid: 4_000_001 }, '/home/alice', user.groups)
  t.match(files.passwd, /^root:.*\nalice:x:4000001:4000001:alice:\/home\/alice:\/bin\/sh\n$/s)
  t.match(files.group, /\nalice:x:4000001:\nteam:x:90001:alice\n$/)
})
