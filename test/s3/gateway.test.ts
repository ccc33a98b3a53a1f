/** A gateway over real S3 servers, through both doors: HTTP with its jobs, and a mount with programs in it. */
import { createHash, randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { nodePath } from '../../src/vospace/path.ts'
import { scratch, type S3Scratch } from '../conformance/s3-bucket.ts'
import { type Gateway, node, startGateway, VOS } from '../http/gateway.ts'
import { copyDocument, document, GET, JobCalls, moveDocument, PUT } from '../http/job-calls.ts'
import { mountOf } from '../mount/client-harness.ts'
import { sh } from '../mount/driver-harness.ts'
import { fuseSkip } from '../parts.ts'
import { findings } from '../conformance/s3-faults.ts'
import { makeBucket, NO_SERVERS, SERVERS, type S3Server } from './servers.ts'

const noFuse = await fuseSkip()
const BIG = randomBytes(13 * 2 ** 20)

if (NO_SERVERS !== false) void t.test('a gateway over S3', { skip: NO_SERVERS }, () => undefined)

for (const server of SERVERS) await makeBucket(server)
for (const server of SERVERS) {
  void t.test(`files, jobs and quotas over ${server.name}`, async (t) => files(t, server))
  void t.test(`a mount over ${server.name}`, { skip: noFuse }, async (t) => mounted(t, server))
}

/** `/home/alice` is there. */
async function gatewayOver(t: Test, server: S3Server): Promise<{ gateway: Gateway; ground: S3Scratch }> {
  const ground = scratch(server)
  const backend = ground.backend()
  await backend.start()
  t.teardown(async () => {
    await backend.stop()
    ground.dispose()
  })
  const nobody = { owner: 'root', isPublic: true, groupRead: [], groupWrite: [], inherit: false, locked: false }
  await backend.make(nodePath('/home'), { type: 'container', access: nobody, mode: 0o755 })
  const own = { ...nobody, owner: 'alice', isPublic: false }
  await backend.make(nodePath('/home/alice'), { type: 'container', access: own, mode: 0o750 })
  return { gateway: await startGateway(t, { backend: () => backend }), ground }
}

async function files(t: Test, server: S3Server): Promise<void> {
  const { gateway, ground } = await gatewayOver(t, server)
  const call = (path: string, method = 'GET', more = {}) => gateway.call(path, { as: 'alice', method, ...more })
  const jobs = new JobCalls(gateway)
  const folder = '/home/alice/data'
  t.equal((await call(`/nodes${folder}`, 'PUT', { body: node(folder) })).status, 201)
  t.equal((await call(`/files${folder}/big`, 'PUT', { body: BIG })).status, 201)
  t.equal((await call(`/files${folder}/small`, 'PUT', { body: 'hello' })).status, 201)
  t.equal((await call(`/files${folder}/empty`, 'PUT', { body: '' })).status, 201)
  const got = await call(`/files${folder}/big`)
  t.ok(BIG.equals(got.body))
  t.equal(got.headers['digest'], `md5=${createHash('md5').update(BIG).digest('base64')}`)
  const range = await call(`/files${folder}/big`, 'GET', { headers: { range: 'bytes=7000000-7000099' } })
  t.equal(range.status, 206)
  t.ok(BIG.subarray(7_000_000, 7_000_100).equals(range.body))
  t.match((await call(`/nodes${folder}`)).text, new RegExp(`core#length"[^>]*>${BIG.length + 5}<`))
  t.match(await jobs.done(copyDocument(folder, '/home/alice/copy')), { phase: 'COMPLETED', error: '' })
  t.ok(BIG.equals((await call('/files/home/alice/copy/big')).body))
  t.match(await jobs.done(moveDocument('/home/alice/copy', '/home/alice/moved')), { phase: 'COMPLETED' })
  t.equal((await call('/files/home/alice/moved/small')).text, 'hello')
  await transfers(t, gateway, call)
  const deletion = new JobCalls(gateway, 'alice', 'async-delete')
  const job =
    (await deletion.post('', `?target=${encodeURIComponent(`${VOS}/home/alice/moved`)}`)).headers.location ?? ''
  await deletion.form(`${job}/phase`, 'phase=RUN')
  await deletion.get(`${job}?WAIT=30`)
  t.equal(await deletion.phase(job), 'COMPLETED')
  t.equal((await call('/nodes/home/alice/moved')).status, 404)
  await gateway.space.backend.setQuota(nodePath('/home/alice'), BIG.length + 100)
  t.match(await call('/files/home/alice/more', 'PUT', { body: BIG }), { status: 413, text: /^QuotaExceeded/ })
  t.same(await findings(server, ground, false), [], 'catalog and bucket agree')
}

async function transfers(t: Test, gateway: Gateway, call: (path: string, method?: string, more?: object) => Promise<{ status: number; text: string; headers: Record<string, unknown> }>): Promise<void> {
  const endpoint = async (direction: string, protocol: string): Promise<string> => {
    const body = document('/home/alice/data/pushed', direction, protocol)
    const { headers } = await call('/synctrans', 'POST', { body })
    const { text } = await call(String(headers['location']))
    return /<vos:endpoint>([^<]*)</.exec(text)?.[1] ?? ''
  }
  const push = await endpoint('pushToVoSpace', PUT)
  t.equal((await gateway.call(push, { method: 'PUT', body: 'pushed' })).status, 201)
  const pull = await endpoint('pullFromVoSpace', GET)
  t.equal((await gateway.call(pull)).text, 'pushed')
} // prettier-ignore

async function mounted(t: Test, server: S3Server): Promise<void> {
  const { gateway, ground } = await gatewayOver(t, server)
  const { dir } = await mountOf(t, gateway, { ttl: 0.3 })
  const run = async (script: string): Promise<string> => {
    const { status, output } = await sh(`set -e; ${script}`, dir)
    if (status !== 0) throw new Error(output)
    return output
  }
  t.equal(await run('mkdir -p a/b; echo one > a/b/f; echo two >> a/b/f; mv a c; cat c/b/f'), 'one\ntwo\n')
  // some bytes within a large file, and some after its end
  const script = `head -c 13000000 /dev/zero > big; printf middle | dd of=big bs=1 seek=6500000 conv=notrunc 2>/dev/null
    printf end >> big; stat -c %s big; dd if=big bs=1 skip=6500000 count=6 2>/dev/null; tail -c 3 big; truncate -s 9000000 big; stat -c %s big`
  t.equal(await run(script), '13000003\nmiddleend9000000\n')
  const large = (await gateway.call('/files/home/alice/big', { as: 'alice' })).body
  t.equal(large.length, 9_000_000)
  t.equal(large.toString('latin1', 6_499_999, 6_500_007), '\0middle\0')
  t.equal(await run('ln -s c/b/f link; cat link; tar cf all.tar c; mkdir out; tar xf all.tar -C out; diff -r c out/c; ls'), 'one\ntwo\nall.tar\nbig\nc\nlink\nout\n') // prettier-ignore
  t.equal((await gateway.call('/files/home/alice/out/c/b/f', { as: 'alice' })).text, 'one\ntwo\n', 'the other door')
  await gateway.call('/files/home/alice/c/b/f', { method: 'PUT', as: 'alice', body: 'from outside' })
  t.equal(await run('sleep 0.5; cat c/b/f'), 'from outside')
  t.equal(await run('rm -r a c out all.tar link big 2>/dev/null || true; ls | wc -l'), '0\n')
  t.same(await findings(server, ground, false), [], 'catalog and bucket agree')
}
