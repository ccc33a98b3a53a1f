/**
 * A gateway over an S3 server beside the AWS SDK straight to the same server; the catalog beside the bare queries, an import beside the server's own listing.
 * test/services/s3-servers starts the server. KARST_BENCH_GIB: how much is moved for the memory (default 1).
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { ROOT, nodePath } from '../../src/vospace/path.ts'
import { list } from '../../src/backend/s3/children.ts'
import { openStore } from '../../src/backend/s3/opened.ts'
import { bucketOf, clientOf, optionsOf, scratch, type S3Place } from '../conformance/s3-bucket.ts'
import { plant, Site } from '../service/s3-site.ts'
import { median, type BenchRow } from './row.ts'

const MIB = 2 ** 20
const ROUNDS = 3
const SIZE = 256 * MIB
const OBJECTS = 10_000
const NODES = 1_000_000
const { KARST_S3_SERVERS = '', KARST_S3_KEY = '', KARST_S3_SECRET = '', KARST_BENCH_GIB = '1' } = process.env

export async function s3Bench(): Promise<BenchRow[]> {
  const endpoint = KARST_S3_SERVERS.split(' ')[0]?.split('=')[1]
  const listed = await listing()
  if (endpoint === undefined) {
    console.error('S3 benchmark, cases skipped: no server (test/services/s3-servers npm run bench -- s3)')
    return listed
  }
  const bucket = `bench-${process.pid}`
  const place = { endpoint, accessKeyId: KARST_S3_KEY, secretAccessKey: KARST_S3_SECRET, bucket }
  const client = clientOf(place)
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  client.destroy()
  return [...listed, ...(await imported(place)), ...(await bytes(place))]
}

/** Seconds of processor that a process has used (proc_pid_stat(5): user and system, in ticks of 10 ms). */
function processor(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

function residentOf(pid: number, name: 'VmRSS' | 'VmHWM'): number {
  return Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1024
}

interface Spent {
  readonly seconds: number
  readonly processor: number
}

async function spent(pid: number, work: () => unknown): Promise<Spent> {
  const before = processor(pid)
  const began = performance.now()
  await work()
  return { seconds: (performance.now() - began) / 1000, processor: processor(pid) - before }
}

async function bytes(place: S3Place): Promise<BenchRow[]> {
  const site = new Site(place, place.endpoint)
  const client = clientOf(place)
  const file = join(mkdtempSync(join(tmpdir(), 'karst-bench-')), 'body')
  const body = Buffer.alloc(SIZE, 'karst')
  writeFileSync(file, body)
  try {
    await site.prepare()
    await site.serve()
    const { ca, proxy } = site.credential('bob')
    const url = `${site.url}/files/objects/large`
    const curl = (...words: string[]): void =>
      void execFileSync('curl', ['-sSf', '--cacert', ca, '--cert', proxy, '-o', '/dev/null', ...words, url])
    const ways = {
      put: () => spent(site.pid, () => curl('-T', file)),
      putDirect: () =>
        spent(process.pid, () =>
          client.send(new PutObjectCommand({ Bucket: place.bucket, Key: 'large', Body: body, ContentLength: SIZE })),
        ),
      get: () => spent(site.pid, () => curl()),
      getDirect: () =>
        spent(process.pid, async () => {
          const { Body } = await client.send(new GetObjectCommand({ Bucket: place.bucket, Key: 'large' }))
          for await (const piece of Body as AsyncIterable<Buffer>) void piece.length
        }),
    }
    const took: Record<string, Spent[]> = {}
    for (let round = 0; round <= ROUNDS; round++) {
      for (const [name, way] of Object.entries(ways)) {
        const one = await way()
        // the first warms up
        if (round > 0) (took[name] ??= []).push(one)
      }
    }
    const rows = [
      ...rateRows('GET', took['get'] ?? [], took['getDirect'] ?? []),
      ...rateRows('PUT', took['put'] ?? [], took['putDirect'] ?? []),
    ]
    const total = Number(KARST_BENCH_GIB)
    const before = residentOf(site.pid, 'VmRSS')
    for (let moved = 0; moved < total * 1024 * MIB; moved += 2 * SIZE) {
      curl('-T', file)
      curl()
    }
    const growth = residentOf(site.pid, 'VmHWM') - before
    const name = `memory more of the gateway while ${total} GiB are moved (peer: allowed)`
    return [...rows, { name, ours: growth, peer: 200, unit: 'MiB', ratio: growth / 200, target: '< 1' }]
  } finally {
    client.destroy()
    rmSync(join(file, '..'), { recursive: true })
    await site.dispose()
  }
}

function rateRows(what: string, ours: readonly Spent[], peer: readonly Spent[]): BenchRow[] {
  const rate = (all: readonly Spent[]): number => SIZE / MIB / median(all.map(({ seconds }) => seconds))
  const perGib = (all: readonly Spent[]): number => (median(all.map(({ processor }) => processor)) * 1024 * MIB) / SIZE
  const name = `${what} of 256 MiB over S3 beside the AWS SDK`
  return [
    { name, ours: rate(ours), peer: rate(peer), unit: 'MiB/s', ratio: rate(ours) / rate(peer), target: '>= 0.5' },
    {
      name: `${name}: processor of the gateway, of the SDK`,
      ours: perGib(ours),
      peer: perGib(peer),
      unit: 's/GiB',
      ratio: perGib(ours) / perGib(peer),
    },
  ]
}

/** Ten thousand children among a million nodes, beside the query itself. */
async function listing(): Promise<BenchRow[]> {
  // nothing of it asks the server
  const ground = scratch({ endpoint: 'http://127.0.0.1:9', accessKeyId: '', secretAccessKey: '', bucket: 'none' })
  const { tree } = openStore(optionsOf({ endpoint: 'http://127.0.0.1:9', accessKeyId: '', secretAccessKey: '', bucket: 'none' }, ground))
  const database = new DatabaseSync(join(ground.dir, 'catalog.db'))
  database.exec(`WITH RECURSIVE count (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM count WHERE i < ${NODES - 1})
    INSERT INTO nodes (id, parent, name, type, owner, flags, mode, mtime, ctime, size, content, md5, etag, key)
    SELECT i + 2, CASE WHEN i < 100 THEN 1 ELSE i % 100 + 2 END, 'observation-' || i || '.fits',
      CASE WHEN i < 100 THEN 'container' ELSE 'data' END, 'alice', 0, 416, '1700000000000000000', '1700000000000000000', 1000,
      'version' || i, 'd41d8cd98f00b204e9800998ecf8427e', '"d41d8cd98f00b204e9800998ecf8427e"', 'karst/' || i FROM count`)
  const query = database.prepare('SELECT * FROM nodes WHERE parent = ? ORDER BY name')
  const folder = nodePath('/observation-7.fits')
  const ours: number[] = []
  const bare: number[] = []
  for (let round = 0; round <= 2 * ROUNDS; round++) {
    const began = performance.now()
    const rows = query.all(9).length
    const middle = performance.now()
    let found = 0
    for await (const entry of list(tree, folder, {})) if (entry.size === 1000) found++
    if (found !== rows || rows < 9_999) throw new Error(`${found} of ${rows} children`)
    if (round === 0) continue
    bare.push(middle - began)
    ours.push(performance.now() - middle)
  }
  database.close()
  tree.catalog.close()
  ground.dispose()
  const name = `listing of ${OBJECTS} children among ${NODES} nodes beside the bare query`
  return [{ name, ours: median(ours), peer: median(bare), unit: 'ms', ratio: median(ours) / median(bare), target: '<= 2' }]
} // prettier-ignore

async function imported(place: S3Place): Promise<BenchRow[]> {
  const ground = scratch(place)
  const prefix = 'survey/'
  await plant(place, Array.from({ length: OBJECTS }, (_, i) => `${prefix}night-${i % 20}/observation-${i}.fits`))
  const backend = ground.backend()
  await backend.start()
  const bucket = bucketOf(place)
  const ours: number[] = []
  const bare: number[] = []
  for (let round = 0; round <= ROUNDS; round++) {
    const began = performance.now()
    let found = 0
    let added = 0
    for await (const page of bucket.list(prefix)) found += page.length
    const middle = performance.now()
    const source = { container: ROOT, bucket: place.bucket, prefix, writable: false }
    for await (const { counts } of backend.imports.bring(source, `run-${round}`)) added = counts.added
    const ended = performance.now()
    if (found !== OBJECTS || added !== OBJECTS) throw new Error(`${found} objects listed, ${added} imported`)
    for await (const _ of backend.imports.forget(ROOT));
    if (round === 0) continue
    bare.push(middle - began)
    ours.push(ended - middle)
  }
  bucket.close()
  await backend.stop()
  ground.dispose()
  const name = `import of ${OBJECTS} objects beside the server's listing`
  return [{ name, ours: median(ours), peer: median(bare), unit: 'ms', ratio: median(ours) / median(bare), target: '<= 1' }]
} // prettier-ignore
