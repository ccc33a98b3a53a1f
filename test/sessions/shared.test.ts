/** Sessions of different users on one node that read the same data: its bytes come from the gateway once, and only who may read them has them. */
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fuseSkip, needs } from '../parts.ts'
import { Meter } from './meter.ts'
import { leftOver, Place, until } from './place.ts'

const skip = needs('root with CAP_SYS_ADMIN', 'setpriv', 'unshare') || (await fuseSkip())
const place = new Place()
// it may have to wait for its turn
t.setTimeout(10 * 60_000)
if (skip === false) {
  t.before(() => place.start())
  t.teardown(() => place.dispose())
}

const MIB = 1 << 20
const SIZE = 4 * MIB

async function put(name: string, bytes: Buffer): Promise<void> {
  const file = join(place.karst.folder, 'put')
  writeFileSync(file, bytes)
  const { status } = await place.karst.curl('alice', `/files/projects/demo/${name}`, '-T', file)
  if (status >= 300) throw new Error(`${name}: ${status}`)
}

const share = (change: object): Promise<unknown> =>
  place.karst.curl(
    'alice',
    ...(['/share', '-H', 'Content-Type: application/json', '-d', JSON.stringify(change)] as const),
  )

t.test('alice and bob read one dataset', { skip }, async (t) => {
  const meter = new Meter(Number(new URL(place.karst.report.url).port))
  const url = `https://localhost:${await meter.start()}/karst`
  t.teardown(() => meter.stop())
  const [data, again] = [randomBytes(SIZE), randomBytes(SIZE)]
  await put('big', data)
  await put('private', data)
  await share({ path: '/projects/demo/private', remove: ['collaborators'], inherit: false })
  const manifest = join(place.karst.folder, 'read.yaml')
  writeFileSync(manifest, 'partitions: [{partition: "project:demo", access: read, at: /data}]')
  const words = ['--manifest', manifest]
  const how = (user: 'alice' | 'bob') => ({ user, env: { KARST_URL: url } })

  // the driver lives as long as alice's session
  const alice = place.running(
    t,
    words,
    `cat /data/big /data/private | md5sum; echo ready; read -r line; md5sum < /data/big; echo seen; read -r line`,
    how('alice'),
  )
  await alice.says('ready\n')
  t.ok(meter.bytes > 2 * SIZE, 'alice has fetched both')

  meter.bytes = 0
  const bob = await place.session(words, 'cat /data/big | wc -c; cat /data/private', how('bob'))
  t.match(bob, { code: 1, stdout: `${SIZE}\n`, stderr: /private: Permission denied/ })
  t.ok(meter.bytes < SIZE / 4, `bob has fetched ${meter.bytes} bytes`)

  meter.bytes = 0
  await put('big', again)
  const anew = await place.session(words, 'head -c 16 /data/big | od -An -tx1', how('bob'))
  t.equal(anew.stdout.replace(/\s/g, ''), again.subarray(0, 16).toString('hex'), 'what was changed is seen')
  alice.tell('go on')
  await alice.says('seen\n')
  t.ok(meter.bytes > SIZE, 'and is fetched')

  meter.bytes = 0
  const open = place.running(
    t,
    words,
    `exec 3< /data/big; dd bs=64k count=1 <&3 status=none | wc -c; echo ready
     while dd bs=64k count=1 <&3 status=none of=/dev/null; do sleep 0.3; done; echo withdrawn`,
    how('bob'),
  )
  await open.says('ready\n')
  await share({ path: '/projects/demo/big', remove: ['collaborators'], inherit: false })
  await until(
    () => /Permission denied/.test(open.output) && open.output.endsWith('withdrawn\n'),
    () => `still read: ${open.output}`,
  )
  await open.ended
  t.ok(meter.bytes < SIZE / 4, `what bob had open was ${meter.bytes} bytes more`)
  alice.tell('done')
  t.equal(await alice.ended, 0, alice.output)
  t.same(leftOver(), [])
})
