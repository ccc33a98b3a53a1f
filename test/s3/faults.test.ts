/** Faults between the backend and every real S3 server there is, and a bucket that is really full. */
import { execFileSync } from 'node:child_process'
import t from 'tap'
import { ROOT } from '../../src/vospace/path.ts'
import { body, bytesOf, file, namesIn, p, refused } from '../conformance/cases.ts'
import { scratch } from '../conformance/s3-bucket.ts'
import { s3Faults } from '../conformance/s3-faults.ts'
import { s3Kills } from '../conformance/s3-kill.ts'
import { makeBucket, NO_SERVERS, RADOSGW_ADMIN, SERVERS } from './servers.ts'

if (NO_SERVERS !== false) void t.test('an S3 server that fails', { skip: NO_SERVERS }, () => undefined)

for (const server of SERVERS) {
  await makeBucket(server)
  s3Faults(server.name, server)
  s3Kills(server.name, server, 4)
}

/** radosgw says what is over a quota of its own; its caches of the usage are as of this moment (test/services/s3-servers). */
void t.test('a bucket with a quota', { skip: RADOSGW_ADMIN === undefined && NO_SERVERS }, async (t) => {
  const [server] = SERVERS
  const [program = '', ...words] = RADOSGW_ADMIN ?? []
  if (server === undefined) return
  const quota = (...more: string[]) =>
    execFileSync(program, [
      ...words,
      'quota',
      ...more,
      '--quota-scope=bucket',
      '--uid=karst',
      `--bucket=${server.bucket}`,
    ])
  const { backend: make, dispose } = scratch(server)
  const backend = make()
  await backend.start()
  await backend.put(p('/kept'), body('kept'), { draft: file })
  quota('set', '--max-size=1')
  quota('enable')
  t.teardown(async () => {
    quota('disable')
    await backend.stop()
    dispose()
  })
  await refused(t, backend.put(p('/f'), body('x'.repeat(100_000)), { draft: file }), 'QuotaExceeded', 'ENOSPC')
  await refused(t, backend.put(p('/f'), body(Buffer.alloc(11 * 2 ** 20)), { draft: file }), 'QuotaExceeded', 'ENOSPC')
  t.same(await namesIn(backend, ROOT), ['kept'])
  t.equal(String(await bytesOf(backend, p('/kept'))), 'kept')
})
