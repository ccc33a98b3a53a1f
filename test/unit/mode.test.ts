/** Access and mode are one thing in two views: the pair of functions holds its laws for every mode. */
import t from 'tap'
import { agreeing, chmodded, createdMode, shownMode } from '../../src/vospace/mode.ts'
import { type Access, type NodeType } from '../../src/vospace/node.ts'

const access = (more: Partial<Access> = {}): Access => ({
  owner: 'alice', isPublic: false, groupRead: [], groupWrite: [], inherit: false, locked: false, ...more,
}) // prettier-ignore
const R = ['ivo://karst.local/gms?readers']
const W = ['ivo://karst.local/gms?writers']
const sharings = [
  access(),
  access({ isPublic: true }),
  access({ groupRead: R }),
  access({ groupWrite: W }),
  access({ isPublic: true, groupRead: R, groupWrite: W }),
]
const types: NodeType[] = ['container', 'data']
const modes = Array.from({ length: 0o1000 }, (_, mode) => mode).concat(0o4755, 0o2770, 0o1777)

t.test('other-read is always isPublic', async (t) => {
  for (const type of types)
    for (const one of sharings)
      for (const mode of modes) {
        for (const made of [agreeing(type, mode, one), shownMode(type, mode, one), createdMode(type, mode, one)]) {
          if (((made & 4) !== 0) !== one.isPublic) t.fail(`${type} ${mode.toString(8)}`, { one })
        }
      }
  t.pass('for every mode')
})

t.test('the mask never removes a granted group', async (t) => {
  for (const mode of modes) {
    if ((shownMode('data', mode, access({ groupRead: R })) & 0o040) === 0) t.fail(mode.toString(8))
    if ((shownMode('container', mode, access({ groupWrite: W })) & 0o070) !== 0o070) t.fail(mode.toString(8))
  }
  t.pass('for every mode')
})

t.test('what chmod asked for is what stat shows, and asking again changes nothing', async (t) => {
  for (const one of sharings)
    for (const mode of modes) {
      const changed = chmodded(mode, one)
      const shown = shownMode('data', changed.mode, changed.access)
      // r and w are exact; a group that keeps what it had may show more than nothing, never more than it had
      if ((shown & 0o707) !== (mode & 0o707))
        t.fail(`owner and other of ${mode.toString(8)} became ${shown.toString(8)}`)
      if ((shown & ~mode & 0o060) !== 0) t.fail(`group bits of ${mode.toString(8)} became ${shown.toString(8)}`)
      t.same(chmodded(mode, changed.access), changed)
    }
})

t.test('chmod 600 takes access from everybody else', async (t) => {
  const { access: after } = chmodded(0o600, access({ isPublic: true, groupRead: R, groupWrite: W }))
  t.same([after.isPublic, after.groupRead, after.groupWrite], [false, [], []])
})

t.test('chmod g-w makes writers readers, and g+w grants no reader anything', async (t) => {
  t.same(chmodded(0o640, access({ groupWrite: W })).access, access({ groupRead: W }))
  t.same(chmodded(0o660, access({ groupRead: R })).access, access({ groupRead: R }))
})

t.test('a new node has its public access from the parent, whatever was asked', async (t) => {
  t.equal(createdMode('data', 0o644, access()), 0o640)
  t.equal(createdMode('data', 0o755, access()), 0o750)
  t.equal(createdMode('data', 0o600, access({ isPublic: true })), 0o604)
  t.equal(createdMode('data', 0o755, access({ isPublic: true })), 0o755)
  t.equal(createdMode('container', 0o700, access({ isPublic: true })), 0o705)
  t.equal(createdMode('container', undefined, access()), 0o750)
  t.equal(createdMode('link', 0o600, access()), 0o777)
})
