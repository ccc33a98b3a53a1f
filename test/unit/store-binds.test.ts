/** Who has which partition as a bind mount, and until when. */
import t from 'tap'
import { openStore } from '../../src/store/store.ts'
import { nodePath } from '../../src/vospace/path.ts'

const { binds, close } = openStore(':memory:')
t.teardown(close)
const hold = (path: string, session: string, expires: number, now = 0): void =>
  binds.hold({ path: nodePath(path), user: 'alice', session, expires }, `member of ${session}`, now)
const over = (path: string, now = 0): string[] =>
  binds.over(nodePath(path), now).map((bind) => `${bind.session} ${bind.path} ${bind.expires}`)

t.test('of a container, what it is in and what is in it', async (t) => {
  hold('/home/alice', 'a', 100)
  hold('/projects/demo/deep', 'b', 200)
  hold('/projects/demos', 'c', 300)
  t.same(over('/home/alice'), ['a /home/alice 100'])
  t.same(over('/home/alice/below'), ['a /home/alice 100'])
  t.same(over('/projects/demo'), ['b /projects/demo/deep 200'])
  t.same(over('/home/bob'), [])
  t.equal(over('/').length, 3)
})

t.test('until it has expired, or its container has left', async (t) => {
  t.same(over('/', 200), ['c /projects/demos 300'])
  hold('/home/alice', 'a', 150)
  t.same(over('/home/alice', 100), ['a /home/alice 150'], 'asked for again')
  binds.leave('bob', 'a', 'member of a')
  binds.leave('alice', 'a', 'another')
  t.equal(over('/home/alice').length, 1)
  binds.leave('alice', 'a', 'member of a')
  t.same(over('/home/alice'), [])
  hold('/home/alice', 'd', 400, 250)
  t.same(over('/'), ['d /home/alice 400', 'c /projects/demos 300'], 'what has ended is forgotten')
})
