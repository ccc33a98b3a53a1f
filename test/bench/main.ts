/**
 * `npm run bench`: each case beside its peer in one run, medians and ratios. `npm run bench -- fuse` runs the suite of that name, and
 * `npm run bench -- mount:list,warm` parts of one.
 */
import { deleteBench } from './delete.ts'
import { fuseBench } from './fuse.ts'
import { httpBench } from './http.ts'
import { identityBench } from './identity.ts'
import { jobsBench } from './jobs.ts'
import { listingBench } from './listing.ts'
import { MOUNT_PARTS, mountBench } from './mount.ts'
import { type BenchRow } from './row.ts'
import { sessionsBench } from './sessions.ts'
import { s3Bench } from './s3.ts'
import { statBench } from './stat.ts'
import { tableOf } from './table.ts'

/** `parts`: those that are wanted; only a suite that has an entry in PARTS gets them. */
const SUITES: Readonly<Record<string, (parts?: readonly string[]) => Promise<BenchRow[]>>> = {
  http: httpBench,
  identity: identityBench,
  stat: statBench,
  fuse: fuseBench,
  mount: mountBench,
  sessions: sessionsBench,
  jobs: jobsBench,
  delete: deleteBench,
  listing: listingBench,
  s3: s3Bench,
}

const PARTS: Readonly<Record<string, readonly string[]>> = { mount: MOUNT_PARTS }

/** Suites by name, each with the parts that are wanted of it, or none named. */
function wantedOf(args: readonly string[]): ReadonlyMap<string, readonly string[] | undefined> {
  if (args.length === 0) return new Map(Object.keys(SUITES).map((name) => [name, undefined]))
  return new Map(
    args.map((arg) => {
      const [name = '', parts] = arg.split(':')
      if (!(name in SUITES)) unknown('suite', name, Object.keys(SUITES))
      const wanted = parts?.split(',')
      for (const part of wanted ?? []) if (PARTS[name]?.includes(part) !== true) unknown('part', arg, PARTS[name] ?? [])
      return [name, wanted]
    }),
  )
}

function unknown(what: string, name: string, all: readonly string[]): never {
  console.error(`no such ${what}: ${name}; there are ${all.join(', ') || 'none'}`)
  process.exit(2)
}

const wanted = wantedOf(process.argv.slice(2))
const rows: BenchRow[] = []
for (const [name, suite] of Object.entries(SUITES)) {
  if (!wanted.has(name)) continue
  console.error(`measuring ${name} ...`)
  rows.push(...(await suite(wanted.get(name))))
}
console.log(tableOf(rows))
