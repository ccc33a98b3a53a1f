/** What leaves for the gateway out of memory that is used again: a slow gateway gets every byte as it was. */
import { createHash, randomFillSync } from 'node:crypto'
import { type IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { SpoolFolder, type Spool } from '../../mount/spool.ts'
import { Streaming, UploadSlots } from '../../mount/streaming.ts'
import { extents, pieces } from '../../mount/upload.ts'
import { readExtents } from '../../src/codec/fs-v1.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { entryJson, GatewayDouble, json, Pki } from './gateway-double.ts'

const MIB = 1 << 20
const SIZE = 21 * MIB + 12_345
const A = nodePath('/home/alice/a')

const pki = await Pki.make()
const gateway = await new GatewayDouble(pki).start()
const client = await gateway.client()
t.teardown(async () => {
  await client.close()
  await gateway.stop()
  pki.remove()
})

const content = randomFillSync(Buffer.alloc(SIZE))
const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

function spoolOf(t: Test): Spool {
  const folder = new SpoolFolder(t.testdir(), 'm', () => undefined)
  const spool = folder.open({ path: A, id: 'n1' })
  spool.write(content, 0)
  t.teardown(() => spool.discard())
  return spool
}

/** Takes bodies with rests in between, longer than the connection holds. */
function slowly(t: Test, take: (parts: AsyncIterable<Uint8Array>) => Promise<void>): void {
  gateway.early = (raw, response) => {
    void take(restful(raw)).then(() => json(response, 200, entryJson(A, { size: SIZE })))
    return true
  }
  t.teardown(() => (gateway.early = () => false))
}

async function* restful(raw: IncomingMessage): AsyncGenerator<Uint8Array> {
  let since = 0
  for await (const part of raw as AsyncIterable<Buffer>) {
    if ((since += part.length) > 3 * MIB) {
      await sleep(40)
      since = 0
    }
    yield part
  }
}

/** The digest of the whole body. */
function received(t: Test): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  slowly(t, async (parts) => {
    const hash = createHash('sha256')
    for await (const part of parts) hash.update(part)
    resolve(hash.digest('hex'))
  })
  return promise
}

t.test('a file of known length', async (t) => {
  const spool = spoolOf(t)
  const got = received(t)
  await client.put({ path: A }, () => pieces(spool, 0, SIZE), { length: SIZE })
  t.equal(await got, digest(content))
})

t.test('a file that is still written while it leaves', async (t) => {
  const spool = spoolOf(t)
  const got = received(t)
  const slots = new UploadSlots(1)
  const streaming = new Streaming({ remote: client, slots, ref: () => ({ path: A, id: 'n1' }) })
  for (let length = 9 * MIB; length < SIZE; length += 700_001) {
    streaming.grown(spool, length, 'c0')
    await sleep(1)
  }
  t.match(await streaming.finish(SIZE), { size: SIZE })
  t.equal(await got, digest(content))
})

t.test('what was changed of a file, in spans of every size', async (t) => {
  const spool = spoolOf(t)
  const spans = [[5, 9], [100, MIB + 100], [2 * MIB, 9 * MIB + 1], [10 * MIB, 10 * MIB + 3], [11 * MIB, SIZE]] as const
  const seen = Buffer.alloc(SIZE)
  slowly(t, async (parts) => {
    for await (const extent of readExtents(parts)) if ('bytes' in extent) seen.set(extent.bytes, extent.offset)
  })
  const changed = spans.map(([start, end]) => ({ start, end }))
  await client.amend({ path: A }, () => extents(spool, changed, []), { length: SIZE })
  const wanted = Buffer.alloc(SIZE)
  for (const { start, end } of changed) wanted.set(content.subarray(start, end), start)
  t.equal(digest(seen), digest(wanted))
}) // prettier-ignore
