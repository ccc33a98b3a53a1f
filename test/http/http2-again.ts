/** Runs suites of this folder again, their calls made by HTTP/2. */
import { join } from 'node:path'
import t from 'tap'

/** Milliseconds: CI has two busy cores. */
const LONGEST = 280_000

export async function againByHttp2(...names: readonly string[]): Promise<void> {
  t.setTimeout(LONGEST)
  const env = { ...process.env, KARST_TEST_HTTP: '2', TAP_TIMEOUT: String(LONGEST / 1000) }
  for (const name of names) {
    const file = join(import.meta.dirname, `${name}.test.ts`)
    await t.spawn(process.execPath, [file], { env, timeout: LONGEST }, `${name} over HTTP/2`)
  }
}
