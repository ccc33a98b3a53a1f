/** The contract on objects and a catalog, over a server in this process; over real ones: test/s3. */
import t from 'tap'
import { FakeS3 } from '../fixtures/fake-s3.ts'
import { backendConformance } from './backend.ts'
import { FAKE, harness } from './s3-bucket.ts'

const server = await FakeS3.start()
t.teardown(() => server.stop())

backendConformance(
  'S3 with a catalog',
  harness(() => ({ ...FAKE, endpoint: server.endpoint })),
  { atomicMove: true, exchange: true, linkProperties: true, hardLinks: false, quota: true, directUrl: true },
)
