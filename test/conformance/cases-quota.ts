/** The contract of quotas, for stores that have them. Some count late: then it is waited for. */
import { type Test } from 'tap'
import { type Backend } from '../../src/backend/backend.ts'
import { child, parentOf, ROOT, type NodePath } from '../../src/vospace/path.ts'
import { at, body, bytesOf, type Case, container, extents, file, type Harness, namesIn, p, refused } from './cases.ts'

const MIB = 2 ** 20
const QUOTA_BYTES = 8 * MIB

/** A container with a quota. */
async function limited(b: Backend, { quotaOn = p('/a') }: Harness): Promise<NodePath> {
  if (quotaOn !== ROOT) {
    if (parentOf(quotaOn) !== ROOT) await b.make(parentOf(quotaOn), container)
    await b.make(quotaOn, container)
  }
  await b.setQuota(quotaOn, QUOTA_BYTES)
  return quotaOn
}

/** Until what is used is within these bounds; blocks of directories count too. */
async function used(t: Test, b: Backend, path: NodePath, least: number, most = least + MIB): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    const now = (await b.usage(path)).used ?? -1
    if (now >= least && now <= most) return void t.pass(`${least} bytes are used`)
    await new Promise((done) => setTimeout(done, 100))
  }
  t.fail(`${least} to ${most} bytes are used, not ${(await b.usage(path)).used}`)
}

export const QUOTA: Record<string, Case> = {
  'are shown as they were set, of what is below too': async (t, b, h) => {
    const top = await limited(b, h)
    await b.put(child(top, 'f'), body(Buffer.alloc(MIB)), { draft: file })
    await used(t, b, top, MIB)
    const { quota, total, free } = await b.usage(child(top, 'f'))
    t.same([quota, total], [QUOTA_BYTES, QUOTA_BYTES])
    t.ok(free >= 6 * MIB && free <= 7 * MIB, `${free} bytes are free`)
    await b.setQuota(top, 123_457)
    t.equal((await b.usage(child(top, 'f'))).quota, 123_457, 'to the byte, and less than is used')
    await b.setQuota(top, null)
    t.equal((await b.usage(top)).quota, null)
  },

  'refuse what does not fit, before it streams or while it does, and nothing is half there': async (t, b, h) => {
    const top = await limited(b, h)
    await b.put(child(top, 'f'), body(Buffer.alloc(5 * MIB)), { draft: file })
    await used(t, b, top, 5 * MIB)
    let read = 0
    const counted = async function* () {
      for (; read < 4; read++) yield Buffer.alloc(MIB)
    }
    await refused(t, b.put(child(top, 'g'), counted(), { draft: file, length: 4 * MIB }), 'QuotaExceeded')
    t.equal(read, 0, 'not a byte of it was read')
    await refused(t, b.put(child(top, 'g'), counted(), { draft: file }), 'QuotaExceeded')
    const all = extents({ offset: 5 * MIB, bytes: Buffer.alloc(4 * MIB) })
    await refused(t, b.amend({ path: child(top, 'f') }, all, { length: 9 * MIB }), 'QuotaExceeded')
    await refused(t, b.copy(child(top, 'f'), child(top, 'h'), file), 'QuotaExceeded')
    t.same(await namesIn(b, top), ['f'])
    t.equal((await bytesOf(b, child(top, 'f'))).length, 5 * MIB)
    await b.put(child(top, 'g'), body(Buffer.alloc(MIB)), { draft: file, length: MIB })
    await b.amend({ path: child(top, 'g') }, extents(at(0, 'x')), { length: MIB })
    t.same(await namesIn(b, top), ['f', 'g'], 'and what fits is taken')
  },

  'give room back for what goes': async (t, b, h) => {
    const top = await limited(b, h)
    await b.put(child(top, 'f'), body(Buffer.alloc(5 * MIB)), { draft: file })
    await used(t, b, top, 5 * MIB)
    await b.remove(child(top, 'f'), 'data')
    await used(t, b, top, 0)
    await b.put(child(top, 'g'), body(Buffer.alloc(5 * MIB)), { draft: file, length: 5 * MIB })
    await b.setQuota(top, null)
    await b.put(child(top, 'h'), body(Buffer.alloc(5 * MIB)), { draft: file })
  },
}
