/** The contract of a backend, and the random model test, on every real S3 server there is. */
import t from 'tap'
import { backendConformance } from '../conformance/backend.ts'
import { compareWithModel, OPERATIONS, SEED } from '../conformance/model.ts'
import { s3Arrivals } from '../conformance/s3-arrivals.ts'
import { harness, scratch } from '../conformance/s3-bucket.ts'
import { makeBucket, NO_SERVERS, SERVERS } from './servers.ts'

/** A third of what a file system takes: each put is some requests here. */
const operations = Math.ceil(OPERATIONS / 3)

if (NO_SERVERS !== false) void t.test('S3 keeps the backend contract', { skip: NO_SERVERS }, () => undefined)

const expected = { atomicMove: true, exchange: true, linkProperties: true, hardLinks: false, quota: true }

for (const server of SERVERS) {
  await makeBucket(server)
  backendConformance(
    server.name,
    harness(() => server),
    { ...expected, directUrl: true },
  )

  s3Arrivals(server.name, server)

  void t.test(`${server.name}, ${operations} random operations, seed ${SEED}`, async (t) => {
    const { backend, dispose } = scratch(server)
    await compareWithModel(t, backend(), { operations })
    dispose()
  })
}
