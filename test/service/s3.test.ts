/** A gateway process over a server in this process; over real ones: test/s3. */
import t from 'tap'
import { FAKE } from '../conformance/s3-bucket.ts'
import { FakeS3 } from '../fixtures/fake-s3.ts'
import { s3Service } from './s3-gateway.ts'

const server = await FakeS3.start()
t.teardown(() => server.stop())
s3Service('a server of the test', { ...FAKE, endpoint: server.endpoint }, false)
