/** Objects that a bucket has already, as nodes: over any server. */
import { randomBytes } from 'node:crypto'
import { PutObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import t, { type Test } from 'tap'
import { type ImportCounts, type ImportPage } from '../../src/backend/backend.ts'
import { type Bucket } from '../../src/backend/s3/bucket.ts'
import { type S3Backend } from '../../src/backend/s3/s3.ts'
import { isFault } from '../../src/vospace/fault.ts'
import {
  access,
  at,
  body,
  bytesOf,
  container,
  entryAt,
  extents,
  file,
  link,
  md5,
  namesIn,
  p,
  refused,
} from './cases.ts'
import { bucketOf, clientOf, scratch, type S3Place, type S3Scratch } from './s3-bucket.ts'
import { findings } from './s3-faults.ts'

const MIB = 2 ** 20
const DATA = p('/data')

export interface ImportWorld {
  readonly backend: S3Backend
  readonly ground: S3Scratch
  /** as others have it: keys below the prefix */
  readonly others: Others
  readonly bring: (options?: { writable?: boolean; run?: string }) => Promise<Brought>
}

interface Brought {
  readonly counts: ImportCounts | undefined
  readonly changes: ImportPage['changes']
}

/** Somebody who has never heard of a gateway, and works on the bucket by name. */
class Others {
  readonly prefix: string
  readonly #bucket: Bucket
  readonly #client: S3Client

  constructor(place: S3Place, prefix: string) {
    this.prefix = prefix
    this.#client = clientOf(place)
    this.#bucket = bucketOf(place, this.#client)
  }

  async put(key: string, bytes: string | Buffer): Promise<void> {
    const Body = Buffer.from(bytes)
    const input = { Bucket: this.#bucket.name, Key: this.prefix + key, Body, ContentLength: Body.length }
    await this.#client.send(new PutObjectCommand(input))
  }

  /** undefined: there is none. */
  async read(key: string): Promise<string | undefined> {
    const head = await this.#bucket.head(this.prefix + key)
    if (head === undefined) return undefined
    if (head.size === 0) return ''
    let body
    try {
      body = await this.#bucket.get(this.prefix + key, null, 0, head.size)
    } catch (error) {
      // it may have gone since the look at its head
      if (isFault(error, 'TransferFailed') && (await this.#bucket.head(this.prefix + key)) === undefined)
        return undefined
      throw error
    }
    return Buffer.concat((await body.toArray()) as Buffer[]).toString('latin1')
  }

  async keys(): Promise<string[]> {
    const found: string[] = []
    for await (const page of this.#bucket.list(this.prefix)) found.push(...page.map(({ key }) => key))
    return found
  }

  async remove(key: string): Promise<void> {
    await this.#bucket.remove(this.prefix + key)
  }

  close(): void {
    this.#bucket.close()
  }
}

let count = 0

export async function importWorld(t: Test, server: S3Place, source: S3Place = server): Promise<ImportWorld> {
  const ground = scratch(server)
  const backend = ground.backend()
  await backend.start()
  const others = new Others(source, `survey${process.pid}-${++count}/`)
  t.teardown(async () => {
    others.close()
    await backend.stop()
    ground.dispose()
  })
  const shared = { ...access, groupRead: ['ivo://karst.local/gms?survey'], inherit: true }
  await backend.make(DATA, { ...container, access: shared })
  const bring: ImportWorld['bring'] = async ({ writable = false, run = `run-${++count}` } = {}) => {
    const changes: ImportPage['changes'][number][] = []
    let counts: ImportCounts | undefined
    const { prefix } = others
    for await (const page of backend.imports.bring({ container: DATA, bucket: source.bucket, prefix, writable }, run)) {
      changes.push(...page.changes)
      counts = page.counts
    }
    return { counts, changes }
  }
  return { backend, ground, others, bring }
}

export async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 200; tries > 0; tries--) {
    if (await holds()) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error('it has not come to hold')
}

const NONE = { added: 0, changed: 0, removed: 0, leftOut: 0 }

export function s3Imports(name: string, server: S3Place, source: S3Place = server): void {
  const world = (sentence: string, run: (t: Test, world: ImportWorld) => Promise<void>): void =>
    void t.test(`${name}: ${sentence}`, async (t) => run(t, await importWorld(t, server, source)))

  world('objects become nodes under their keys, and a second run finds what others have changed', async (t, w) => {
    const { backend, others, bring } = w
    await others.put('a.fits', 'first')
    await others.put('night 1/b+c é.fits', 'second')
    await others.put('night 1/raw/empty', '')
    t.same((await bring()).counts, { ...NONE, objects: 3, added: 3 })
    t.same(await namesIn(backend, DATA), ['a.fits', 'night 1'])
    const found = await entryAt(backend, p('/data/night 1/b+c é.fits'))
    t.match(found, { type: 'data', size: 6, md5: md5('second') })
    t.match(found?.access, { owner: 'alice', groupRead: ['ivo://karst.local/gms?survey'], isPublic: false })
    t.ok(Math.abs(Number((found?.mtime ?? 0n) / 1_000_000n) - Date.now()) < 3_600_000, 'its time is that of the object')
    t.equal(String(await bytesOf(backend, p('/data/night 1/b+c é.fits'))), 'second')
    t.equal((await bytesOf(backend, p('/data/night 1/raw/empty'))).length, 0)
    t.match(await backend.usage(p('/')), { used: 11, files: 7 }, 'they count')
    t.same(await bring(), { counts: { ...NONE, objects: 3 }, changes: [] })
    await others.put('a.fits', 'first, again')
    await others.put('new', 'new')
    await others.remove('night 1/raw/empty')
    const again = await bring()
    t.same(again.counts, { objects: 3, added: 1, changed: 1, removed: 1, leftOut: 0 })
    t.same(
      again.changes.map(({ kind, path }) => `${kind} ${path}`).sort(),
      ['bytes /data/a.fits', 'made /data/new', 'removed /data/night 1/raw', 'removed /data/night 1/raw/empty'],
      'mounts are told, and a container with nothing in it any more goes',
    )
    t.equal(String(await bytesOf(backend, p('/data/a.fits'))), 'first, again')
    t.not((await entryAt(backend, p('/data/night 1/b+c é.fits')))?.contentVersion, '')
    t.match(await backend.usage(p('/')), { used: 21, files: 6 })
  })

  world('keys that no node can have are told, each with why', async (t, w) => {
    const { backend, others, bring } = w
    await backend.put(p('/data/mine'), body('not of the bucket'), { draft: file })
    const odd = {
      'x//y': 'name',
      '../up': 'name',
      'x/./y': 'name',
      [`${'n'.repeat(256)}/f`]: 'long',
      'folder/': 'marker',
      mine: 'taken',
      both: 'prefix',
    }
    await others.put('both/below', 'below')
    await others.put('good', 'good')
    // what a server does not take, or takes for another key, it does not have (versitygw keeps objects as files)
    for (const key of Object.keys(odd)) await others.put(key, key.endsWith('/') ? '' : 'x').catch(() => undefined)
    const listed = await others.keys()
    const told = Object.fromEntries(
      Object.entries(odd).flatMap(([key, why]) =>
        listed.includes(others.prefix + key) ? [[others.prefix + key, why]] : [],
      ),
    )
    for (let round = 0; round < 2; round++) {
      const { counts } = await bring()
      t.match(counts, { objects: listed.length, leftOut: Object.keys(told).length })
      const left = backend.imports.leftOut(DATA, '', 100)
      t.same(Object.fromEntries(left.map(({ key, reason }) => [key, reason])), told)
      t.same(backend.imports.leftOut(DATA, left[0]?.key ?? '', 100), left.slice(1), 'in pages')
    }
    t.ok(Object.keys(told).length >= 2, `${Object.keys(told).length} were taken by the server`)
    const folders = {
      both: true,
      folder: `${others.prefix}folder/` in told,
      good: true,
      mine: true,
      x: listed.includes(`${others.prefix}x/y`),
    }
    t.same(
      await namesIn(backend, DATA),
      Object.entries(folders).flatMap(([name, isThere]) => (isThere ? [name] : [])),
    )
    t.equal(String(await bytesOf(backend, p('/data/mine'))), 'not of the bucket')
    t.equal(String(await bytesOf(backend, p('/data/both/below'))), 'below')
  })

  world('what is imported for reading is as the bucket is, and refused as a read-only file system', async (t, w) => {
    const { backend, others, bring } = w
    await others.put('d/f', 'kept')
    await bring()
    const f = p('/data/d/f')
    const no = (promise: Promise<unknown>): Promise<void> => refused(t, promise, 'PermissionDenied', 'EROFS')
    await no(backend.put(f, body('mine'), {}))
    await no(backend.put(p('/data/d/g'), body('mine'), { draft: file }))
    await no(backend.put(p('/data/g'), body(''), { draft: file }))
    await no(backend.amend({ path: f }, extents(at(0, 'x')), { length: 4 }))
    await no(backend.make(p('/data/d/new'), container))
    await no(backend.make(p('/data/link'), link('d/f')))
    await no(backend.remove(f, 'data'))
    await no(backend.move(f, p('/out')))
    await no(backend.copy(f, p('/data/copy'), file).catch((error: unknown) => {
      // a copy never comes into an import
      if (isFault(error, 'OperationNotSupported')) return backend.remove(f, 'data')
      throw error
    })) // prettier-ignore
    for await (const page of backend.removeChildren({ path: p('/data/d') }, (all) => all)) {
      for (const { fault } of page) t.match(fault, { fault: 'PermissionDenied', errno: 'EROFS' })
    }
    t.equal(backend.trash.keeps?.(f), false)
    await backend.set({ path: f }, { properties: new Map([['ivo://x#note', 'seen']]) })
    t.same((await bring()).counts, { ...NONE, objects: 1 })
    t.equal((await entryAt(backend, f))?.properties.get('ivo://x#note'), 'seen', 'what the catalog says is its own')
    await backend.copy(f, p('/copy'), file)
    t.equal(String(await bytesOf(backend, p('/copy'))), 'kept', 'a copy of it is an object of ours')
    t.equal(await others.read('d/f'), 'kept')
    await refused(t, backend.remove(DATA, 'container'), 'ContainerNotEmpty')
    await refused(t, backend.move(DATA, p('/elsewhere')), 'PermissionDenied', 'EBUSY')
    t.ok(backend.isFixed(p('/')))
  })

  world('what is written through a gateway is in the bucket under its key, and never over what others have written', async (t, w) => {
    const { backend, others, bring } = w
    await others.put('f', 'theirs')
    await bring({ writable: true })
    await backend.put(p('/data/f'), body('mine'), {})
    t.equal(await others.read('f'), 'mine')
    await backend.make(p('/data/d'), container)
    const big = randomBytes(11 * MIB)
    await backend.put(p('/data/d/big'), body(big), { draft: file })
    t.equal(await others.read('d/big'), big.toString('latin1'))
    await backend.put(p('/data/d/empty'), body(''), { draft: file })
    t.equal(await others.read('d/empty'), '', 'an empty file is an object')
    await backend.amend({ path: p('/data/d/big') }, extents(at(5 * MIB, 'amended')), { length: big.length })
    big.write('amended', 5 * MIB)
    t.ok((await bytesOf(backend, p('/data/d/big'))).equals(big))
    await backend.amend({ path: p('/data/d/empty') }, extents(at(0, 'no more')), { length: 7 })
    t.equal(await others.read('d/empty'), 'no more')
    t.same((await bring({ writable: true })).counts, { ...NONE, objects: 3 }, 'it is known, not new')
    await others.put('f', 'theirs again')
    await refused(t, backend.put(p('/data/f'), body('over it'), {}), 'PreconditionFailed')
    t.equal(await others.read('f'), 'theirs again', 'nobody has lost anything')
    t.equal(String(await bytesOf(backend, p('/data/f'))), 'theirs again', 'and it has been looked at')
    await backend.put(p('/data/f'), body('now I know'), {})
    t.equal(await others.read('f'), 'now I know')
    await others.put('d/big', 'a large one of theirs')
    await refused(t, backend.put(p('/data/d/big'), body(big), {}), 'PreconditionFailed')
    t.equal(await others.read('d/big'), 'a large one of theirs')
    await others.put('d/new', 'theirs')
    await refused(t, backend.put(p('/data/d/new'), body('mine'), { draft: file }), 'PreconditionFailed')
    t.equal(await others.read('d/new'), 'theirs')
    await others.put('f', 'read without a run')
    t.equal(String(await bytesOf(backend, p('/data/f'))), 'read without a run')
    const ended = await Promise.allSettled(Array.from({ length: 8 }, (_, i) => backend.put(p('/data/f'), body(`writer ${i}`), {})))
    t.same(ended.filter((one) => one.status === 'rejected'), [], 'writers through one gateway are all heard')
    t.equal(String(await bytesOf(backend, p('/data/f'))), await others.read('f'))
    t.same(await findings(server, w.ground, true), [])
  }) // prettier-ignore

  world('deletes take the object away, unless others have written it; names are keys, and stay', async (t, w) => {
    const { backend, others, bring } = w
    for (const key of ['a', 'b', 'c', 'd/e']) await others.put(key, `${key} of theirs`)
    await bring({ writable: true })
    await backend.remove(p('/data/a'), 'data')
    await backend.put(p('/data/a'), body('new'), { draft: file })
    t.equal(await others.read('a'), 'new', 'written again at once')
    await backend.remove(p('/data/a'), 'data')
    await until(async () => (await others.read('a')) === undefined)
    await others.put('b', 'changed since')
    await backend.remove(p('/data/b'), 'data')
    for await (const page of backend.removeChildren({ path: p('/data/d') }, (all) => all)) t.match(page, [{ child: { name: 'e' } }])
    await until(async () => (await others.read('d/e')) === undefined)
    t.equal(await others.read('b'), 'changed since', 'what is theirs stays')
    await refused(t, backend.move(p('/data/c'), p('/data/renamed')), 'OperationNotSupported', 'EXDEV')
    await refused(t, backend.move(p('/data/c'), p('/out')), 'OperationNotSupported', 'EXDEV')
    await backend.put(p('/own'), body('own'), { draft: file })
    await refused(t, backend.move(p('/own'), p('/data/own')), 'OperationNotSupported', 'EXDEV')
    await refused(t, backend.copy(p('/own'), p('/data/own'), file), 'OperationNotSupported', 'EXDEV')
    const { id } = await backend.make(p('/data/dir'), container)
    await refused(t, backend.trash.put(p('/data/dir'), { id }, { id: 'x', path: p('/data/dir'), type: 'container', deleted: 1 }), 'OperationNotSupported')
    await bring({ writable: true })
    t.same(await namesIn(backend, DATA), ['b', 'c', 'dir'], 'a container of the gateway stays')
    t.equal(String(await bytesOf(backend, p('/data/b'))), 'changed since')
  }) // prettier-ignore

  world('a check never takes what is imported for an orphan, nor anything of it away', async (t, w) => {
    const { backend, ground, others, bring } = w
    for (const key of ['a', 'b', 'c']) await others.put(key, key)
    await others.put('never imported', 'x')
    await bring({ writable: true })
    await backend.put(p('/own'), body('own'), { draft: file })
    t.same(await findings(server, ground, true), [])
    await others.remove('a')
    await others.put('b', 'other bytes')
    const expected = [
      { kind: 'gone', what: '/data/a', repaired: false },
      { kind: 'stale', what: '/data/b', repaired: false },
    ]
    t.same(await findings(server, ground, true), expected)
    t.same(await namesIn(backend, DATA), ['a', 'b', 'c', 'never imported'])
    t.equal(await others.read('b'), 'other bytes')
    t.same((await bring()).counts, { objects: 3, added: 0, changed: 1, removed: 1, leftOut: 0 })
    t.same(await findings(server, ground, false), [])
  })

  world('an import is forgotten with every object left as it is', async (t, w) => {
    const { backend, ground, others, bring } = w
    await others.put('d/f', 'kept')
    await bring({ writable: true })
    await backend.make(p('/data/d/mine'), container)
    const gone: string[] = []
    for await (const changes of backend.imports.forget(DATA)) gone.push(...changes.map(({ path }) => path))
    t.same(gone, ['/data/d/f'])
    t.same(await namesIn(backend, p('/data/d')), ['mine'], 'what was never imported stays')
    t.equal(await others.read('d/f'), 'kept')
    t.equal(backend.imports.state(DATA), undefined)
    await backend.move(DATA, p('/elsewhere'))
    t.same(await findings(server, ground, true), [])
    await refused(t, (async () => { for await (const _ of backend.imports.forget(p('/elsewhere'))); })(), 'NodeNotFound') // prettier-ignore
  })
}
