// mount/SEMANTICS.md `large-writes-stream` and `room-at-the-gateway`: over a real connection to a gateway, and what becomes of it when that breaks.
import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import { ERRNO } from '../../src/libc/errno.ts'
import { startGateway, type Gateway } from '../http/gateway.ts'
import { fuseSkip } from '../parts.ts'
import { mountOf, type MountedHere } from './client-harness.ts'
import { drive, js, until } from './driver-harness.ts'
import { Wire } from './wire.ts'

const skip = await fuseSkip()
t.setTimeout(600_000)

const MIB = 1 << 20
/** MiB, well above where streaming begins. */
const SIZE = 24

interface Streaming {
  readonly gateway: Gateway
  readonly wire: Wire
  readonly mount: MountedHere
}

async function streaming(t: Test): Promise<Streaming> {
  const gateway = await startGateway(t)
  const wire = new Wire(t, gateway.port)
  await wire.listening
  return { gateway, wire, mount: await mountOf(t, gateway, { url: wire.url }) }
}

/** Writes `SIZE` MiB, each of its own bytes, and waits before `rest` until `go` is there; answers what that returned and the MD5 of the file. */
function writer(dir: string, rest = 'fs.closeSync(fd)'): Promise<[unknown, string]> {
  return js(
    `const fd = fs.openSync(argv[0] + '/large', 'w'), size = ${SIZE}, hash = require('crypto').createHash('md5')
     const piece = (i) => Buffer.alloc(${MIB}, 'piece ' + i + ' ')
     for (let i = 0; i < size; i++) fs.writeSync(fd, piece(i))
     fs.writeFileSync(argv[0] + '/written', '')
     while (!fs.existsSync(argv[0] + '/go')) {
       fs.statSync(argv[0]) // ends it where the driver was killed
       await new Promise((done) => setTimeout(done, 20))
     }
     const outcome = attempt(() => { ${rest} })
     hash.update(fs.readFileSync(argv[0] + '/large'))
     return [outcome, hash.digest('hex')]`,
    dir,
  )
}

const md5 = (bytes: Buffer): string => createHash('md5').update(bytes).digest('hex')

/** What others see: status and bytes. */
const other = (gateway: Gateway, name = 'large') => gateway.call(`/files/home/alice/${name}`, { as: 'alice' })

const isThere = async (gateway: Gateway, name: string) => (await other(gateway, name)).status < 300

const go = (gateway: Gateway) => gateway.call('/files/home/alice/go', { method: 'PUT', as: 'alice', body: '' })

t.test('large-writes-stream', { skip }, async (t) => {
  const { gateway, wire, mount } = await streaming(t)
  const whole = Buffer.concat(Array.from({ length: SIZE }, (_, i) => Buffer.alloc(MIB, `piece ${i} `)))
  /** Begins to write, and answers when all is written and nearly all has left. */
  const begin = async (rest?: string) => {
    for (const name of ['written', 'go', 'large'])
      await gateway.call(`/nodes/home/alice/${name}`, { method: 'DELETE', as: 'alice' })
    const before = wire.sent
    const writing = writer(mount.dir, rest)
    await until(() => isThere(gateway, 'written'), Boolean)
    return { writing, left: () => wire.sent - before }
  }

  await t.test('bytes leave before close, and count for nobody before it', async (t) => {
    const { writing, left } = await begin()
    const early = await until(left, (bytes) => bytes >= (SIZE - 1) * MIB)
    t.ok(early >= (SIZE - 1) * MIB, `${early} bytes have left`)
    t.equal((await other(gateway)).body.length, 0, 'the file that was created, empty')
    await go(gateway)
    t.same(await writing, [null, md5(whole)])
    t.equal(md5((await other(gateway)).body), md5(whole))
    t.ok(left() < (SIZE + 4) * MIB, 'and once only')
  })

  await t.test('a lost connection costs a repetition, and no error', async (t) => {
    const { writing, left } = await begin()
    await until(left, (bytes) => bytes >= 10 * MIB)
    wire.cut()
    wire.mend()
    await go(gateway)
    t.same(await writing, [null, md5(whole)])
    t.equal(md5((await other(gateway)).body), md5(whole))
  })

  await t.test('what is changed after it has left is sent as it is at close', async (t) => {
    const { writing, left } = await begin(`fs.writeSync(fd, 'HEADER', 0); fs.closeSync(fd)`)
    await until(left, (bytes) => bytes >= 10 * MIB)
    await go(gateway)
    const changed = Buffer.from(whole)
    changed.write('HEADER')
    t.same(await writing, [null, md5(changed)])
    t.equal(md5((await other(gateway)).body), md5(changed))
  })

  await t.test('so is what is cut off, or appended after a hole', async (t) => {
    const { writing } = await begin(`fs.ftruncateSync(fd, 3000); fs.writeSync(fd, 'END', 5000); fs.closeSync(fd)`)
    await go(gateway)
    const cut = Buffer.alloc(5003)
    whole.copy(cut, 0, 0, 3000)
    cut.write('END', 5000)
    t.same(await writing, [null, md5(cut)])
    t.equal(md5((await other(gateway)).body), md5(cut))
  })

  await t.test('a time that was set is kept', async (t) => {
    const { writing } = await begin(
      `fs.futimesSync(fd, 1e9, 1e9); fs.closeSync(fd); return fs.statSync(argv[0] + '/large').mtimeMs`,
    )
    await go(gateway)
    t.same(await writing, [1e12, md5(whole)])
    t.equal((await other(gateway)).headers['last-modified'], new Date(1e12).toUTCString())
  })

  await t.test('a killed driver leaves what was there before', async (t) => {
    await gateway.call('/files/home/alice/large', { method: 'PUT', as: 'alice', body: 'before' })
    const { gateway: own, wire: wire2, mount: doomed } = await streaming(t)
    await own.call('/files/home/alice/large', { method: 'PUT', as: 'alice', body: 'before' })
    const writing = writer(doomed.dir).catch(() => undefined)
    await until(
      () => wire2.sent,
      (bytes) => bytes >= 10 * MIB,
    )
    doomed.child.kill('SIGKILL')
    await doomed.exited
    await writing
    t.equal((await other(own)).text, 'before')
  })
})

t.test('room-at-the-gateway', { skip }, async (t) => {
  /** Writes up to 200 MiB and answers how many there were when it was refused, and how; then what close said. */
  const fill = (dir: string, flags: string): Promise<[number, number, number]> =>
    js(
      `const error = (call) => { try { call(); return 0 } catch ({ errno }) { return -errno } }
       const fd = fs.openSync(argv[0] + '/huge', argv[1]), piece = Buffer.alloc(1 << 20, 'h')
       for (let i = 0; i < 200; i++) {
         const refused = error(() => fs.writeSync(fd, piece))
         if (refused !== 0) return [i, refused, error(() => fs.closeSync(fd))]
         await new Promise((done) => setTimeout(done, 5))
       }
       return [200, 0, error(() => fs.closeSync(fd))]`,
      dir,
      flags,
    )
  await t.test('ENOSPC where the storage is full', async (t) => {
    const { dir, remote } = await drive(t)
    remote.space = { ...remote.space, blockSize: 4096, blocksFree: 1000 }
    // appended bytes wait for the close: what is there after them is not theirs to say
    const [count, refused] = await fill(dir, 'a')
    t.ok(count >= 16 && count < 150, `after ${count} MiB`)
    t.equal(refused, ERRNO.ENOSPC)
  })
  await t.test('EDQUOT where the quota is, and close says so too', async (t) => {
    const gateway = await startGateway(t, { quota: 18 << 20 })
    const { dir } = await mountOf(t, gateway)
    const [count, refused, closed] = await fill(dir, 'w')
    t.ok(count >= 16 && count < 150, `after ${count} MiB`)
    t.same([refused, closed], [ERRNO.EDQUOT, ERRNO.EDQUOT])
    t.equal((await other(gateway, 'huge')).body.length, 0)
  })
})
