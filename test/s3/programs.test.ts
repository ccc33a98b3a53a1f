// Programs on the mounts of a home that is kept at every real S3 server there is.
import t from 'tap'
import { worksOver } from '../programs/works.ts'
import { makeBucket, NO_SERVERS, SERVERS } from './servers.ts'

if (NO_SERVERS !== false) void t.test('programs on mounts over S3', { skip: NO_SERVERS }, () => undefined)
t.setTimeout(20 * 60_000)

for (const server of SERVERS) {
  await makeBucket(server)
  const { name, endpoint, bucket, accessKeyId, secretAccessKey } = server
  const backend = { type: 's3', endpoint, bucket, prefix: 'programs/', credentials: 's3.json' }
  const files = { 's3.json': JSON.stringify({ accessKeyId, secretAccessKey }) }
  await t.test(`over ${name}`, (t) => worksOver(t, { name, backend, files }))
}
