/** Imports from every real S3 server there is, out of a bucket beside that of the storage. */
import { CreateBucketCommand } from '@aws-sdk/client-s3'
import t from 'tap'
import { clientOf } from '../conformance/s3-bucket.ts'
import { s3Imports } from '../conformance/s3-import.ts'
import { makeBucket, NO_SERVERS, SERVERS } from './servers.ts'

if (NO_SERVERS !== false) void t.test('imports', { skip: NO_SERVERS }, () => undefined)

for (const server of SERVERS) {
  await makeBucket(server)
  const source = { ...server, bucket: `surveys-${process.pid}` }
  const client = clientOf(source)
  await client.send(new CreateBucketCommand({ Bucket: source.bucket }))
  client.destroy()
  s3Imports(server.name, server, source)
}
