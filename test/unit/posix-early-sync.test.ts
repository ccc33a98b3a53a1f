import t from 'tap'
import { EarlySync } from '../../src/backend/posix/early-sync.ts'

const MIB = 1 << 20

t.test('it syncs a large body every 32 MiB, and a small one never', async (t) => {
  let syncs = 0
  const early = new EarlySync(async () => void syncs++)
  for (let at = MIB; at < 32 * MIB; at += MIB) early.reached(at)
  t.equal(syncs, 0)
  for (let at = 32 * MIB; at <= 256 * MIB; at += MIB) {
    early.reached(at)
    await new Promise(setImmediate)
  }
  await early.end()
  t.equal(syncs, 8)
})

t.test('it has one sync under way at a time, and ends with it', async (t) => {
  const gates: PromiseWithResolvers<void>[] = []
  const early = new EarlySync(() => {
    const gate = Promise.withResolvers<void>()
    gates.push(gate)
    return gate.promise
  })
  for (let at = MIB; at <= 200 * MIB; at += MIB) early.reached(at)
  t.equal(gates.length, 1)
  let isEnded = false
  const end = early.end().then(() => (isEnded = true))
  await new Promise(setImmediate)
  t.equal(isEnded, false)
  gates[0]?.resolve()
  await end
  early.reached(201 * MIB)
  t.equal(gates.length, 2, 'what came meanwhile is next')
  gates[1]?.resolve()
  await early.end()
})

t.test('an error is kept for the end, also when later ones find nothing wrong', async (t) => {
  let syncs = 0
  const early = new EarlySync(async () => {
    if (++syncs === 1) throw Object.assign(new Error('disk'), { code: 'EIO' })
  })
  early.reached(32 * MIB)
  await new Promise(setImmediate)
  early.reached(64 * MIB)
  await t.rejects(early.end(), { code: 'EIO' })
  t.equal(syncs, 2)
})
