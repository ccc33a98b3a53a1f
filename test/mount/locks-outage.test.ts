// Locks while the gateway cannot be reached: a short while does no harm, a long one loses them, and nothing is written under a lost lock.
import path from 'node:path'
import t from 'tap'
import { startGateway } from '../http/gateway.ts'
import { fuseSkip, needs } from '../parts.ts'
import { mountOf } from './client-harness.ts'
import { sleep, until } from './driver-harness.ts'
import { Locker } from './locker.ts'
import { Wire } from './wire.ts'

t.setTimeout(600_000)
const skip = (await fuseSkip()) || needs('python3 with sqlite3')

void t.test('an outage of seconds loses no lock, a longer one gives it to others', { skip }, async (t) => {
  const gateway = await startGateway(t)
  const wire = new Wire(t, gateway.port)
  await wire.listening
  const away = await mountOf(t, gateway, { url: wire.url, timeLimit: 6 })
  const near = await mountOf(t, gateway)
  const [a, b] = [new Locker(t), new Locker(t)]
  await a.open(path.join(away.dir, 'file'))
  await b.open(path.join(near.dir, 'file'))
  t.equal(await a.lock('write', { start: 0, length: 10 }), null)
  wire.cut()
  await a.tell({ do: 'write', name: 'f', text: 'while away' })
  await sleep(2000)
  t.equal(await b.lock('read'), 'EAGAIN')
  wire.mend()
  t.equal(await a.tell({ do: 'fsync', name: 'f' }), null)
  t.equal((await gateway.call('/files/home/alice/file', { as: 'alice' })).text, 'while away')
  wire.cut()
  await a.tell({ do: 'write', name: 'f', text: 'never sent' })
  t.equal(await b.lock('write', { wait: true }), null, 'when its time is over')
  t.equal(await a.tell({ do: 'fsync', name: 'f' }), 'EIO', 'nobody can say whether the lock is still held')
  t.equal(await a.lock('unlock'), 'EIO')
  await b.tell({ do: 'write', name: 'f', text: 'by another' })
  t.equal(await b.lock('unlock'), null)
  wire.mend()
  t.equal(await a.tell({ do: 'fsync', name: 'f' }), 'EIO', 'though it could be sent now')
  t.equal(await a.tell({ do: 'close', name: 'f' }), 'EIO')
  t.equal((await gateway.call('/files/home/alice/file', { as: 'alice' })).text, 'by another')
  await until(() => a.open(path.join(away.dir, 'file')), (said) => said === null) // prettier-ignore
  t.equal(await a.lock('write'), null)
  t.equal(await a.tell({ do: 'read', name: 'f' }), 'by another')
})
