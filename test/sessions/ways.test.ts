/** Sessions of who is not root: in a user namespace, and by fusermount3. */
import { chmodSync, chownSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fuseSkip, needs } from '../parts.ts'
import { run, type Ended } from '../service/running.ts'
import { leftOver, Place, UID } from './place.ts'

const skip = needs('root with CAP_SYS_ADMIN', 'setpriv', 'unshare', 'mknod', 'fusermount3') || (await fuseSkip())
const place = new Place()
// it may have to wait for its turn
t.setTimeout(10 * 60_000)
if (skip === false) {
  t.before(() => place.start())
  t.teardown(() => place.dispose())
}

/** As uid 1000 where /dev/fuse is everybody's, in a namespace of its own so that it is nobody's elsewhere. */
async function asUser(words: readonly string[], script: string, before = 'true'): Promise<Ended> {
  const device = join(place.karst.folder, 'fuse')
  const inside = `[ -e ${device} ] || mknod -m 666 ${device} c 10 229; mount --bind ${device} /dev/fuse; ${before}
    exec env -u NODE_OPTIONS setpriv --reuid ${UID} --regid ${UID} --clear-groups bin/karst session ${words.join(' ')} -- sh -euc "$1"`
  return run('unshare', ['--mount', 'sh', '-euc', inside, 'sh', script], { env: place.env({ as: UID }) })
}

const noUserns = async (): Promise<string | false> => {
  const { code, stderr } = await run('setpriv', ['--reuid', `${UID}`, '--clear-groups', 'unshare', '-Ur', 'true'])
  return code === 0 ? false : `no user namespaces here: ${stderr.trim()}`
}

t.test('in a user namespace, for which nothing is installed', { skip: skip || (await noUserns()) }, async (t) => {
  const script = `id -u; pwd; stat -c %u "$X509_USER_PROXY"; grep CapEff /proc/self/status; echo x > "$HOME/by-userns"`
  const said = await asUser(['--partition', 'home', '--partition', 'scratch'], script)
  t.match(said, { code: 0, stdout: /^1000\n\/home\/alice\n1000\nCapEff:\t0+\n$/ })
  t.same(leftOver(), [])
})

t.test('by fusermount3, at places of their own', { skip }, async (t) => {
  const mine = join(place.karst.folder, 'mine')
  mkdirSync(mine)
  chownSync(mine, UID, UID)
  const manifest = join(place.karst.folder, 'manifest.yaml')
  writeFileSync(
    manifest,
    `partitions:\n  - partition: home\n    at: ${mine}/home\n  - partition: dataset:none\n    optional: true\n`,
  )
  chmodSync(manifest, 0o644)
  const said = await asUser(
    ['--way', 'fusermount', '--manifest', manifest],
    `id -u; cd "$HOME"; pwd; echo x > by-fusermount; cat by-fusermount`,
  )
  t.match(said, {
    code: 0,
    stdout: `1000\n${mine}/home\nx\n`,
    stderr: /left out: NodeNotFound: the partition dataset:none/,
  })
  t.same(leftOver(), [])
  t.notOk(existsSync(join(mine, 'home')), 'what was made to mount on is gone')
  const taken = await asUser(
    ['--way', 'fusermount', '--manifest', manifest],
    'true',
    `mkdir ${mine}/home; mount -t tmpfs none ${mine}/home`,
  )
  t.match(taken, { code: 125, stderr: /home cannot be mounted at .*: something is already/ }, 'it is another session’s')
  const refused = await asUser(['--way', 'fusermount', '--partition', 'home'], 'true')
  t.match(refused, { code: 125, stderr: /home cannot be mounted at \/home\/alice \(EACCES\).*name one in a manifest/ })
})
