/** Faults between the backend and a server in this process; over real servers: test/s3. */
import t from 'tap'
import { FakeS3 } from '../fixtures/fake-s3.ts'
import { FAKE } from './s3-bucket.ts'
import { s3Faults } from './s3-faults.ts'
import { s3Kills } from './s3-kill.ts'

const server = await FakeS3.start()
t.teardown(() => server.stop())

s3Faults('a server in this process', { ...FAKE, endpoint: server.endpoint })
s3Kills('a server in this process', { ...FAKE, endpoint: server.endpoint }, 4)
