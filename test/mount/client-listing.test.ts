/** How the client reads a listing: as it comes, page after page, taken up where it broke. */
import { once } from 'node:events'
import { type ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { type SeenEntry } from '../../src/codec/fs-v1.ts'
import { nameOf, nodePath } from '../../src/vospace/path.ts'
import { entryJson, GatewayDouble, json, Pki, type Handler } from './gateway-double.ts'

const D = nodePath('/home/alice/d')

const pki = await Pki.make()
const gateway = await new GatewayDouble(pki).start()
const client = await gateway.client()
t.teardown(async () => {
  await client.close()
  await gateway.stop()
  pki.remove()
})
t.beforeEach(() => {
  gateway.requests.length = 0
})

const name = (index: number): string => `n${String(index).padStart(7, '0')}`
const line = (index: number): string => `${JSON.stringify(entryJson(`${D}/${name(index)}`))}\n`
const NAMES = Array.from({ length: 10 }, (_, index) => name(index))

async function* each(listing: AsyncIterable<readonly SeenEntry[]>): AsyncGenerator<SeenEntry> {
  for await (const entries of listing) yield* entries
}

async function names(listing: AsyncIterable<readonly SeenEntry[]>): Promise<string[]> {
  const all: string[] = []
  for await (const entry of each(listing)) all.push(nameOf(entry.path))
  return all
}

function cursorOf(url: string): number {
  const cursor = new URL(url, gateway.url).searchParams.get('cursor')
  return cursor === null ? 0 : Number(cursor.slice(1))
}

/** Ten entries in pages of `size`; `inclusive`: the cursor is the first name of the next page, else the last of this. */
function paged(size: number, inclusive: boolean): Handler {
  return ({ url }, response) => {
    const start = url.includes('cursor=') && !inclusive ? cursorOf(url) + 1 : cursorOf(url)
    const end = Math.min(10, start + size)
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    for (let index = start; index < end; index++) response.write(line(index))
    response.end(`${JSON.stringify({ cursor: end === 10 ? null : name(inclusive ? end : end - 1) })}\n`)
  }
}

t.test('it puts pages together, whichever name the cursor is', async (t) => {
  for (const size of [1, 3, 10]) {
    for (const inclusive of [true, false]) {
      gateway.requests.length = 0
      gateway.handler = paged(size, inclusive)
      t.same(await names(client.list(D)), NAMES, `pages of ${size}`)
      t.equal(gateway.requests.length, Math.ceil(10 / size))
      t.equal(gateway.requests[0]?.url, `/karst/fs/v1/list?path=${D}`)
    }
  }
})

t.test('it uses one connection for page after page', async (t) => {
  gateway.handler = paged(1, true)
  const before = gateway.connections
  await names(client.list(D))
  t.ok(gateway.connections - before <= 1)
})

t.test('it takes lines in whatever pieces they come', async (t) => {
  const text = NAMES.map((_, index) => line(index)).join('') + '{"cursor":null}'
  gateway.handler = async (_, response) => {
    for (let at = 0; at < text.length; at += 61) {
      response.write(text.slice(at, at + 61))
      if (at % 10 === 0) await sleep(0)
    }
    response.end()
  }
  t.same(await names(client.list(D)), NAMES)
})

t.test('it takes up a listing that breaks where it broke', async (t) => {
  gateway.handler = ({ url }, response) => {
    const start = cursorOf(url)
    response.writeHead(200)
    for (let index = start; index < Math.min(10, start + 4); index++) response.write(line(index))
    if (start + 4 >= 10) response.end('{"cursor":null}\n')
    else response.write('{"id":', () => setTimeout(() => response.destroy(), 20))
  }
  t.same(await names(client.list(D)), NAMES)
  gateway.handler = ({ url }, response) => {
    const start = cursorOf(url)
    response.write(line(start))
    if (start < 9)
      response.end(line(start + 1)) // whole for HTTP, but no last line
    else response.end('{"cursor":null}\n')
  }
  t.same(await names(client.list(D)), NAMES)
})

t.test('it gives up a listing that breaks at the same place again and again', async (t) => {
  gateway.handler = (_, response) => void response.end(line(0))
  await t.rejects(names(client.list(D)), { name: 'Fault', fault: 'ServiceBusy', errno: 'EIO' })
  gateway.handler = (_, response) => void response.end('{"cursor":"n0000000"}\n')
  await t.rejects(names(client.list(D)), { name: 'Fault', fault: 'InternalFault' })
})

t.test('it throws a refusal in the midst, after the entries before it', async (t) => {
  gateway.handler = (_, response) => {
    response.write(line(0) + line(1))
    response.end('{"fault":"PermissionDenied","errno":"EPERM","detail":"moved"}\n')
  }
  const got: string[] = []
  const listing = async (): Promise<void> => {
    for await (const entry of each(client.list(D))) got.push(nameOf(entry.path))
  }
  await t.rejects(listing(), { name: 'Fault', fault: 'PermissionDenied', errno: 'EPERM', detail: 'moved' })
  t.same(got, NAMES.slice(0, 2))
})

t.test('it refuses before the first entry as every call does', async (t) => {
  gateway.handler = (_, response) => json(response, 404, { fault: 'NodeNotFound', errno: 'ENOENT', detail: D })
  await t.rejects(names(client.list(D)), { name: 'Fault', fault: 'NodeNotFound', errno: 'ENOENT' })
  t.equal(gateway.requests.length, 1)
})

const MALFORMED = ['nonsense\n', '{"cursor":5}\n', '{}\n', 'null\n', 'x'.repeat(3 << 20), `{"cursor":null}\n${line(0)}`]
for (const text of MALFORMED) {
  t.test(`it takes ${text.slice(0, 30).trim()} in a listing for a fault of the gateway`, async (t) => {
    gateway.handler = (_, response) => void response.end(line(0) + text)
    await t.rejects(names(client.list(D)), { name: 'Fault', fault: 'InternalFault', errno: 'EIO' })
    t.equal(gateway.requests.length, 1)
  })
}

/** Entries until the client goes away, no faster than it reads. */
async function endless(response: ServerResponse, sent: { bytes: number }): Promise<void> {
  const gone = once(response, 'close')
  for (let index = 0; !response.destroyed; index++) {
    const text = line(index)
    sent.bytes += text.length
    if (response.write(text)) continue
    await Promise.race([new Promise((resolve) => response.once('drain', resolve)), gone])
  }
}

t.test('it lets the gateway stop when the reader stops', { timeout: 20_000 }, async (t) => {
  const sent = { bytes: 0 }
  const ended = Promise.withResolvers<void>()
  gateway.handler = (_, response) => endless(response, sent).finally(ended.resolve)
  for await (const entry of each(client.list(D))) if (nameOf(entry.path) === name(100)) break
  await ended.promise
  t.pass('the connection of the abandoned listing is closed')
})

t.test('it ends at once on an abort', { timeout: 20_000 }, async (t) => {
  const abort = new AbortController()
  gateway.handler = (_, response) => void response.write(line(0))
  const listing = client.list(D, abort.signal)[Symbol.asyncIterator]()
  await listing.next()
  setTimeout(() => abort.abort(new Error('interrupted')), 20)
  await t.rejects(listing.next(), new Error('interrupted'))
})

t.test('it holds back the gateway while the reader rests, without a time-out', async (t) => {
  const sent = { bytes: 0 }
  gateway.handler = (_, response) => endless(response, sent)
  const hasty = await gateway.client({ timeLimit: 1 })
  gateway.handler = (_, response) => endless(response, sent)
  const listing = each(hasty.list(D))[Symbol.asyncIterator]()
  await listing.next()
  await sleep(2500)
  t.ok(sent.bytes < 16 << 20, `${sent.bytes} bytes sent to a reader that rests`)
  for (let index = 1; index < 5000; index++) {
    const { value } = (await listing.next()) as { value: SeenEntry }
    if (nameOf(value.path) !== name(index)) t.fail(`entry ${index} is ${value.path}`)
  }
  t.equal(gateway.requests.length, 1)
  await listing.return(undefined)
  await hasty.close()
})

t.test('it streams a listing of 100,000 entries in bounded memory', { timeout: 60_000 }, async (t) => {
  gateway.handler = async (_, response) => {
    for (let index = 0; index < 100_000; index += 100) {
      const text = Array.from({ length: 100 }, (_, more) => line(index + more)).join('')
      if (!response.write(text)) await once(response, 'drain')
    }
    response.end('{"cursor":null}\n')
  }
  const before = process.memoryUsage()
  let [count, most] = [0, 0]
  for await (const entry of each(client.list(D))) {
    if (nameOf(entry.path) !== name(count)) t.fail(`entry ${count} is ${entry.path}`)
    if (++count % 1000 === 0) {
      const { external, arrayBuffers } = process.memoryUsage()
      most = Math.max(most, external + arrayBuffers - before.external - before.arrayBuffers)
    }
  }
  t.equal(count, 100_000)
  t.ok(most < 32 << 20, `${most} bytes of buffers, of 45 MB that came`)
})
