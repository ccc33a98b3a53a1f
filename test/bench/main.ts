/** `npm run bench`: each case beside its peer in one run, medians and ratios. `npm run bench -- fuse` runs the cases whose suite has that name. */
import { deleteBench } from './delete.ts'
import { fuseBench } from './fuse.ts'
import { httpBench } from './http.ts'
import { identityBench } from './identity.ts'
import { jobsBench } from './jobs.ts'
import { listingBench } from './listing.ts'
import { mountBench } from './mount.ts'
import { type BenchRow } from './row.ts'
import { statBench } from './stat.ts'
import { tableOf } from './table.ts'

const SUITES: Readonly<Record<string, () => Promise<BenchRow[]>>> = {
  http: httpBench,
  identity: identityBench,
  stat: statBench,
  fuse: fuseBench,
  mount: mountBench,
  jobs: jobsBench,
  delete: deleteBench,
  listing: listingBench,
}

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !(name in SUITES))
if (unknown.length > 0) {
  console.error(`no such suite: ${unknown.join(', ')}; there are ${Object.keys(SUITES).join(', ')}`)
  process.exit(2)
}
const rows: BenchRow[] = []
for (const [name, suite] of Object.entries(SUITES)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  console.error(`measuring ${name} ...`)
  rows.push(...(await suite()))
}
console.log(tableOf(rows))
