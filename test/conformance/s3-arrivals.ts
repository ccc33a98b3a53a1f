/** Bytes that clients put to an S3 server themselves: what becomes of them, over any server. */
import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { type ArrivalEnd, type Arrivals, type Awaited, type Judge } from '../../src/backend/arrivals.ts'
import { type PutOptions } from '../../src/backend/backend.ts'
import { type S3Backend } from '../../src/backend/s3/s3.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { FaultProxy } from '../fixtures/fault-proxy.ts'
import { body, bytesOf, entryAt, file, md5, p, refused } from './cases.ts'
import { bucketOf, pushing, scratch, type S3Place, type S3Scratch } from './s3-bucket.ts'
import { findings } from './s3-faults.ts'

/** Lets everything in, and keeps what it is told. */
class Permissive implements Judge {
  readonly ends: [token: string, end: ArrivalEnd][] = []
  permit: Judge['permit'] = async (): Promise<PutOptions> => ({ draft: file })
  ended(awaited: Awaited, end: ArrivalEnd): void {
    this.ends.push([awaited.token, end])
  }
}

interface World {
  readonly backend: S3Backend
  readonly place: S3Place
  readonly ground: S3Scratch
  readonly proxy: FaultProxy
  readonly judge: Permissive
}

/** `looksAtSignatures`: as every real server. */
export function s3Arrivals(name: string, server: S3Place, looksAtSignatures = true): void {
  const world = (sentence: string, run: (t: Test, world: World) => Promise<void>, seconds = 60): void =>
    void t.test(`${name}: ${sentence}`, async (t) => {
      const proxy = await FaultProxy.start(server.endpoint)
      const place = { ...server, endpoint: proxy.endpoint }
      const ground = scratch(place)
      const backend = ground.backend(pushing(place, seconds, 0))
      await backend.start()
      t.teardown(async () => {
        await backend.stop()
        await proxy.stop()
        ground.dispose()
      })
      await run(t, { backend, place, ground, proxy, judge: new Permissive() })
    })

  world('what has come is its node, and its key is empty', async (t, { backend, place, ground, judge }) => {
    const arrivals = of(backend)
    const bytes = randomBytes(100_000)
    const url = await arrivals.expect({ path: p('/f'), job: 'j1', length: bytes.length, md5: md5(bytes).toUpperCase() }, (seconds) => `for ${seconds}`) // prettier-ignore
    t.ok(arrivals.isAwaited(p('/f')))
    await arrivals.settle(judge, { job: 'j1' })
    t.same(judge.ends, [], 'nothing has come')
    await send(t, url, bytes, { 'content-type': 'application/fits' })
    t.same(await findings(place, ground, true), [], 'what is awaited is no orphan')
    let said: string | undefined
    judge.permit = async ({ type, size }) => {
      said = `${type ?? ''} ${size}`
      return { draft: file }
    }
    await arrivals.settle(judge, { job: 'j1' })
    t.equal(said, 'application/fits 100000')
    t.match(judge.ends, [['for 60', { isNew: true, entry: { path: '/f', size: bytes.length, md5: md5(bytes) } }]])
    t.ok(bytes.equals(await bytesOf(backend, p('/f'))))
    t.same(await findings(place, ground, false), [])
    t.notOk(arrivals.isAwaited(p('/f')))
    t.equal(await here(place, url), undefined)
    await send(t, url, 'the same URL once more')
    await arrivals.settle(judge, { path: p('/f') })
    t.same(await findings(place, ground, true), [])
    t.equal(await here(place, url), undefined, 'is done away with')
    t.ok(bytes.equals(await bytesOf(backend, p('/f'))))
    t.equal(judge.ends.length, 1)
  })

  world('what is other than announced, or not permitted, is refused and goes', async (t, { backend, place, ground, judge }) => {
    const arrivals = of(backend)
    await backend.put(p('/f'), body('old'), { draft: file })
    const long = await arrivals.expect({ path: p('/f'), length: 3 }, () => 'length')
    const other = await arrivals.expect({ path: p('/f'), md5: md5('123') }, () => 'md5')
    const full = await arrivals.expect({ path: p('/f') }, () => 'quota')
    const late = await arrivals.expect({ path: p('/f') }, () => 'withdrawn')
    for (const url of [long, other, full, late]) await send(t, url, '1234')
    let looks = 0
    judge.permit = async ({ token }) => {
      if (token === 'quota') throw new Fault('QuotaExceeded', 'full')
      if (token === 'withdrawn' && ++looks === 2) throw new Fault('PermissionDenied', 'not any more')
      return { draft: file }
    }
    await arrivals.settle(judge)
    const faults = Object.fromEntries(judge.ends.map(([token, end]) => [token, 'fault' in end ? end.fault : 'taken']))
    t.same(faults, { length: 'PreconditionFailed', md5: 'PreconditionFailed', quota: 'QuotaExceeded', withdrawn: 'PermissionDenied' })
    t.equal(looks, 2, 'asked again when the bytes were copied')
    t.equal(String(await bytesOf(backend, p('/f'))), 'old')
    for (const url of [long, other, full, late]) t.equal(await here(place, url), undefined)
    await until(async () => (await findings(place, ground, false)).length === 0)
    judge.permit = async () => ({ draft: file })
    await arrivals.settle(judge)
    t.equal(judge.ends.length, 4, 'told once')
  }) // prettier-ignore

  world('of several the last to come stays; none is lost over a restart', async (t, { backend, place, ground, judge }) => {
    const arrivals = of(backend)
    const first = await arrivals.expect({ path: p('/f') }, () => 'first')
    const second = await arrivals.expect({ path: p('/f') }, () => 'second')
    await send(t, second, 'from the second')
    // servers tell when something came in whole seconds
    await new Promise((resolve) => setTimeout(resolve, 1100))
    await send(t, first, 'from the first')
    const none = await arrivals.expect({ path: p('/empty') }, () => 'empty')
    await send(t, none, '')
    await backend.stop()
    const again = ground.backend(pushing(place))
    await again.start()
    t.teardown(async () => again.stop())
    await of(again).settle(judge)
    t.same(judge.ends.map(([token]) => token).sort(), ['empty', 'first', 'second'])
    t.equal(String(await bytesOf(again, p('/f'))), 'from the first')
    t.match(await entryAt(again, p('/empty')), { size: 0, md5: md5('') })
    t.equal(again.objectOf(p('/empty')), undefined)
    await findings(place, ground, true)
    t.same(await findings(place, ground, false), [])
  }) // prettier-ignore

  world('a server that fails meanwhile is asked again later', async (t, { backend, proxy, judge }) => {
    const arrivals = of(backend)
    const url = await arrivals.expect({ path: p('/f') }, () => 'one')
    await send(t, url, 'bytes')
    proxy.fault = ({ method }) => (method === 'PUT' ? { kind: 'refused', status: 503, code: 'SlowDown' } : undefined)
    await refused(t, arrivals.settle(judge), 'ServiceBusy')
    proxy.fault = () => undefined
    t.same(judge.ends, [])
    await arrivals.settle(judge)
    t.equal(judge.ends.length, 1)
    t.equal(String(await bytesOf(backend, p('/f'))), 'bytes')
  })

  world(
    'what comes too late goes, and what was awaited is forgotten',
    async (t, { backend, place, ground, judge }) => {
      const arrivals = of(backend)
      const url = await arrivals.expect({ path: p('/f') }, () => 'one')
      await send(t, url, 'bytes')
      await new Promise((resolve) => setTimeout(resolve, 1100))
      await arrivals.settle(judge)
      t.same(judge.ends, [])
      t.notOk(arrivals.isAwaited(p('/f')))
      t.equal(await here(place, url), undefined)
      t.equal((await backend.walk(p('/f'))).length, 1)
      t.same(await findings(place, ground, false), [])
    },
    1,
  )

  world('a URL copies nothing, and no node is read with it', async (t, { backend, place, ground }) => {
    await backend.put(p('/secret'), body('secret'), { draft: file })
    const url = await of(backend).expect({ path: p('/f') }, () => 'one')
    const source = `/${place.bucket}/${backend.objectOf(p('/secret')) ?? ''}`
    for (const name of ['x-amz-copy-source', 'x_amz_copy_source']) {
      const reply = await fetch(url, { method: 'PUT', headers: { [name]: source } })
      const text = await reply.text()
      t.notOk(reply.ok && text.includes('CopyObjectResult'), name)
    }
    if (looksAtSignatures) t.equal((await fetch(url)).status, 403, 'nor is anything else')
    t.not(await here(place, url), 'secret'.length)
    t.same(await findings(place, ground, false), [])
    await refused(t, of(backend).expect({ path: p('/f'), length: 5 * 2 ** 30 + 1 }, () => 'large'), 'OperationNotSupported') // prettier-ignore
  })
}

function of({ arrivals }: S3Backend): Arrivals {
  if (arrivals === undefined) throw new Error('no arrivals')
  return arrivals
}

async function send(t: Test, url: URL, bytes: Buffer | string, headers = {}): Promise<void> {
  const reply = await fetch(url, { method: 'PUT', body: bytes, headers })
  t.equal(reply.status, 200, await reply.text())
}

/** Bytes of the object that a URL puts to. */
async function here(place: S3Place, url: URL): Promise<number | undefined> {
  const bucket = bucketOf(place)
  const found = await bucket.head(decodeURIComponent(url.pathname.split('/').slice(2).join('/')))
  bucket.close()
  return found?.size
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 100; tries > 0; tries--) {
    if (await holds()) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('it has not come to hold')
}
