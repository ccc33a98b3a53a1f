/** A gateway process over every real S3 server there is. */
import t from 'tap'
import { s3Service } from '../service/s3-gateway.ts'
import { makeBucket, NO_SERVERS, SERVERS } from './servers.ts'

if (NO_SERVERS !== false) void t.test('a gateway process over S3', { skip: NO_SERVERS }, () => undefined)

for (const server of SERVERS) {
  await makeBucket(server)
  s3Service(server.name, server)
}
