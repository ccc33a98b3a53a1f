/** Quotas on a plain POSIX tree, from the administrator who sets one to the program in a mount that reaches it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type ConfigDocument } from '../../src/config.ts'
import { fuseSkip } from '../parts.ts'
import { Quickstart, request, run, sh, type Answer, type Asking } from './running.ts'
import { Serving } from './serving.ts'

const MIB = 2 ** 20
const karst = new Quickstart(['--no-mount'])
t.teardown(() => karst.dispose())
const { ca, url, users } = await karst.start()
await karst.stop()

/** As the quickstart has made it, with bob as administrator; answers what the gateway has told when it served. */
async function serve(): Promise<() => string> {
  const made = JSON.parse(readFileSync(join(karst.state, 'config.json'), 'utf8')) as ConfigDocument
  const file = join(karst.state, 'site.json')
  writeFileSync(file, JSON.stringify({ ...made, administrators: ['bob'] }), { mode: 0o600 })
  const serving = await Serving.start(file)
  t.teardown(() => serving.stop())
  return () => serving.output
}

const ask = async (user: string, path: string, asking: Asking = {}): Promise<Answer> =>
  request(url + path, ca, users[user]?.proxy ?? '', asking)

/** As an administrator does it: by the node's document. */
async function setQuota(bytes: string): Promise<Answer> {
  const property = `<vos:property uri="ivo://ivoa.net/vospace/core#quota">${bytes}</vos:property>`
  const body = `<vos:node xmlns:vos="http://www.ivoa.net/xml/VOSpace/v2.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" uri="vos://karst.local~karst/home/alice" xsi:type="vos:ContainerNode"><vos:properties>${property}</vos:properties></vos:node>`
  return ask('bob', '/nodes/home/alice', { method: 'POST', headers: { 'content-type': 'text/xml' }, body })
}

const told = await serve()

t.test('it is set by an administrator, shown, and refuses with numbers', async (t) => {
  t.notMatch((await ask('alice', '/nodes/home/alice?limit=0')).body.toString(), /core#quota/)
  t.equal((await setQuota(String(8 * MIB))).status, 200)
  t.match((await ask('alice', '/nodes/home/alice?limit=0')).body.toString(), /core#quota"[^>]*>8388608</)
  t.equal((await ask('alice', '/files/home/alice/half', { method: 'PUT', body: Buffer.alloc(4 * MIB) })).status, 201)
  const shown = /core#availableSpace"[^>]*>(\d+)</i.exec((await ask('alice', '/nodes/home/alice?limit=0')).body.toString())
  t.ok(Number(shown?.[1]) <= 4 * MIB, 'what is left is less by what was put')
  const refused = await ask('alice', '/files/home/alice/big', { method: 'PUT', body: Buffer.alloc(5 * MIB) })
  t.equal(refused.status, 413)
  t.match(refused.body.toString(), /QuotaExceeded: 5242880 bytes more do not fit .* quota, \d+ bytes/)
  t.equal((await ask('alice', '/nodes/home/alice/big')).status, 404)
}) // prettier-ignore

t.test('it is plain who counts, and the owner is told when it is nearly full', async (t) => {
  t.equal((await ask('alice', '/files/home/alice/more', { method: 'PUT', body: Buffer.alloc(3.5 * MIB) })).status, 201)
  const { partitions } = JSON.parse((await ask('alice', '/partitions')).body.toString()) as {
    partitions: { name: string; quota: number; quotaKeptBy: string; notices: string[] }[]
  }
  const home = partitions.find(({ name }) => name === 'home')
  t.match(home, { quota: 8 * MIB, notices: [/^\/home\/alice is 9\d % full/] })
  const byStorage = home?.quotaKeptBy === 'storage'
  t.match(told(), byStorage ? /"quotasKeptBy":"storage"/ : /quotas are kept by the gateway: what is written past it/)
})

t.test('a program in a mount sees it, and is told of it', { skip: await fuseSkip() }, async (t) => {
  const place = mkdtempSync('/tmp/karst-quota-place-')
  const env = { KARST_MOUNT_STATE: join(karst.folder, 'driver') }
  const words = ['--ca', ca, '--url', url, '--certificate', users['alice']?.proxy ?? '']
  const said = await run('bin/karst', ['mount', 'vos://karst.local~karst/home/alice', place, ...words], { env })
  t.equal(said.code, 0, said.stderr)
  t.teardown(async () => {
    await run('bin/karst', ['umount', place], { env })
    rmSync(place, { recursive: true, force: true })
  })
  t.equal(Number(await sh(`df --output=size -B1 '${place}' | tail -n 1`)), 8 * MIB)
  const full = await run('sh', ['-c', `head -c ${2 * MIB} /dev/zero > '${place}/big'`])
  t.match(full.stderr, /quota exceeded/i)
  await sh(`rm '${place}/half' && head -c ${2 * MIB} /dev/zero > '${place}/fits' && sync '${place}/fits'`)
})

t.test('it is taken off again', async (t) => {
  t.equal((await setQuota('')).status, 200)
  t.notMatch((await ask('alice', '/nodes/home/alice?limit=0')).body.toString(), /core#quota/)
  t.equal((await ask('alice', '/files/home/alice/big', { method: 'PUT', body: Buffer.alloc(9 * MIB) })).status, 201)
})
