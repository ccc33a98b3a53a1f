// Locks while the driver is killed: the next one goes on with them, and nobody else gets them meanwhile.
import path from 'node:path'
import t from 'tap'
import { fuseSkip, needs } from '../parts.ts'
import { Locker } from './locker.ts'
import { another, kill, ownerOf } from './killing.ts'
import { survivors } from './survival-harness.ts'

t.setTimeout(600_000)
const skip = (await fuseSkip()) || needs('python3 with sqlite3')

void t.test('a killed driver loses no lock, and who waits goes on waiting', { skip }, async (t) => {
  const { state, mount, umount, log } = await survivors(t)
  const [one, two] = [await mount('/home/alice'), await mount('/home/alice')]
  const [a, b, c] = [new Locker(t), new Locker(t), new Locker(t)]
  await a.open(path.join(one, 'file'))
  await b.open(path.join(two, 'file'))
  await c.open(path.join(two, 'file'))
  t.equal(await a.lock('write', { start: 0, length: 10 }), null)
  t.equal(await a.flock('write'), null)
  let owner = ownerOf(state)
  const waiting = b.lock('write', { wait: true })
  for (let kills = 0; kills < 2; kills++) {
    if (owner === undefined || !kill(owner)) t.fail('the driver had ended')
    owner = await another(state, owner)
    t.equal(await c.lock('read'), 'EAGAIN')
    t.equal(await c.flock('read'), 'EAGAIN')
    t.equal(await a.tell({ do: 'write', name: 'f', text: `after ${kills}` }), 7)
  }
  t.equal(await a.lock('unlock'), null)
  t.equal(await waiting, null)
  t.equal(await b.tell({ do: 'read', name: 'f' }), 'after 1')
  await a.tell({ do: 'close', name: 'f' })
  t.notMatch(log(), /lost/)
  for (const locker of [a, b, c]) locker.child.kill()
  for (const dir of [one, two]) t.same(await umount(dir), [])
})
