import t from 'tap'
import { MemoryBackend } from '../../src/backend/memory.ts'
import { countedIds } from '../../src/backend/counted-ids.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { at, backendConformance, body, container, extents, file, namesIn, refused } from './backend.ts'

backendConformance(
  'memory',
  async () => {
    const ids = countedIds()
    return { backend: new MemoryBackend({ ids }), ids, dispose: async () => undefined }
  },
  { atomicMove: true, exchange: true, linkProperties: true, hardLinks: false, quota: true, directUrl: false },
)

void t.test('a quota', async (t) => {
  const p = nodePath
  const ten = async () => {
    const b = new MemoryBackend()
    await b.make(p('/q'), container)
    await b.setQuota(p('/q'), 10)
    return b
  }
  const untouched = () => {
    const pulled = { pieces: 0 }
    async function* count() {
      for (;;) {
        pulled.pieces++
        yield Buffer.from('12345678')
      }
    }
    return { pulled, body: count() }
  }
  await t.test('it refuses before the first byte when the length is known, a second time too', async (t) => {
    const b = await ten()
    const { pulled, body } = untouched()
    await refused(t, b.put(p('/q/f'), body, { draft: file, length: 11 }), 'QuotaExceeded', 'EDQUOT')
    await refused(t, b.put(p('/q/f'), body, { draft: file, length: 11 }), 'QuotaExceeded', 'EDQUOT')
    t.equal(pulled.pieces, 0)
    t.same(await namesIn(b, p('/q')), [])
  })
  await t.test('it cuts a body of unknown length', async (t) => {
    const b = await ten()
    const { pulled, body: endless } = untouched()
    await refused(t, b.put(p('/q/f'), endless, { draft: file }), 'QuotaExceeded')
    t.equal(pulled.pieces, 2)
    t.same(await namesIn(b, p('/q')), [])
  })
  await t.test('it counts what a replaced node frees', async (t) => {
    const b = await ten()
    await b.put(p('/q/f'), body('12345678'), { draft: file })
    await b.put(p('/q/f'), body('1234567890'), { length: 10 })
    await refused(t, b.amend({ path: p('/q/f') }, extents(at(10, 'x')), { length: 11 }), 'QuotaExceeded')
    await refused(t, b.copy(p('/q/f'), p('/q/g'), file), 'QuotaExceeded')
    t.match(await b.usage(p('/q/f')), { used: 10, quota: 10, free: 0 })
    await b.copy(p('/q/f'), p('/f'), file)
    await refused(t, b.move(p('/f'), p('/q/g')), 'QuotaExceeded')
    await b.setQuota(p('/q'), null)
    await b.move(p('/f'), p('/q/g'))
  })
})
