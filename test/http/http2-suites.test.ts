/** What suites say of the gateway holds over HTTP/2 as it does over HTTP/1.1: each is run again, its calls made by HTTP/2. */
import { join } from 'node:path'
import t from 'tap'

t.setTimeout(290_000)

const SUITES = ['authenticate', 'bad-input', 'files', 'fs-v1', 'hostile', 'nodes', 'stat-again', 'transfers', 'users']

for (const name of SUITES) {
  const file = join(import.meta.dirname, `${name}.test.ts`)
  await t.spawn(process.execPath, [file], { env: { ...process.env, KARST_TEST_HTTP: '2' } }, `${name} over HTTP/2`)
}
