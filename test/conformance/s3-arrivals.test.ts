/** Bytes that are put to a server in this process; over real ones: test/s3. */
import t from 'tap'
import { FakeS3 } from '../fixtures/fake-s3.ts'
import { refused } from './cases.ts'
import { s3Arrivals } from './s3-arrivals.ts'
import { FAKE, pushing, scratch } from './s3-bucket.ts'

for (const unsigned of ['refused', 'as Ceph'] as const) {
  const server = await FakeS3.start()
  server.unsigned = unsigned
  t.teardown(() => server.stop())
  s3Arrivals(
    `a server where headers that are not signed are ${unsigned}`,
    { ...FAKE, endpoint: server.endpoint },
    false,
  )
}

void t.test('a server on which every URL could copy is not used so', async (t) => {
  const server = await FakeS3.start()
  server.unsigned = 'believed'
  const place = { ...FAKE, endpoint: server.endpoint }
  const ground = scratch(place)
  await refused(t, ground.backend(pushing(place)).start(), 'InternalFault')
  t.same([...server.objects.keys()], [`${ground.prefix}catalog`])
  const plain = ground.backend()
  await plain.start()
  await plain.stop()
  ground.dispose()
  await server.stop()
})
