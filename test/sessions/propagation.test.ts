/** Mounts as the source of containers that others start: what Docker and Singularity do with namespaces, done by unshare and bubblewrap. */
import { join } from 'node:path'
import t from 'tap'
import { fuseSkip, needs } from '../parts.ts'
import { run } from '../service/running.ts'
import { leftOver, Place, UID } from './place.ts'

const skip = needs('root with CAP_SYS_ADMIN', 'setpriv', 'unshare', 'bwrap') || (await fuseSkip())
const place = new Place()
// it may have to wait for its turn
t.setTimeout(10 * 60_000)
if (skip === false) {
  t.before(() => place.start())
  t.teardown(() => place.dispose())
}

const HOME = 'vos://karst.local~karst/home/alice'

/** A node with a shared directory, in a namespace of its own so that it is no other's; `inside PROPAGATION COMMAND`: a container of uid 1000. */
const NODE = (dir: string): string => `
  B=${dir}; mkdir $B; mount -t tmpfs none $B; mount --make-rshared $B; mkdir $B/home
  inside() {
    p=$1; shift
    unshare --mount --propagation $p setpriv --reuid ${UID} --regid ${UID} --clear-groups --bounding-set=-all --inh-caps=-all \\
      --no-new-privs sh -euc "$*"
  }
  gate() { mkfifo -m 666 $B/$1; }
  tell() { echo go > $B/$1; }`

t.test('a mount of the node, bind mounted into containers of each propagation', { skip }, async (t) => {
  const script = `${NODE(join(place.karst.folder, 'node'))}
  look() { ls -A $B/home | grep -c . || true; }
  gate slave; gate private; gate later
  inside slave "read x < $B/slave; ls $B/home; read x < $B/slave; ls $B/home; echo end" > $B/slave.out & slave=$!
  inside private "read x < $B/private; ls $B/home; echo end" > $B/private.out & private=$!
  bin/karst mount ${HOME} $B/home --allow-other --uid ${UID} --gid ${UID}
  tell slave; tell private; wait $private
  inside private "exec 3< $B/home/README.txt; echo open > $B/home/opened; read x < $B/later; ls $B/home; cat <&3; echo end" > $B/later.out & later=$!
  until [ -e $B/home/opened ]; do
    # who waits for a word would keep this from its end
    kill -0 $later || { ls -lna $B/home >&2; kill $slave; exit 1; }
    sleep 0.1
  done
  bin/karst umount $B/home || echo "umount ended with $?"
  echo "left on the node: $(look)"
  tell slave; tell later; wait $slave $later
  echo "slave: $(cat $B/slave.out | tr '\\n' ' ')"; echo "private: $(cat $B/private.out | tr '\\n' ' ')"
  echo "later: $(cat $B/later.out | tr '\\n' ' ')"
  bin/karst mount ${HOME} $B/home
  inside private "ls $B/home" 2>&1 || true
  bin/karst umount $B/home`
  await place.karst.curl('alice', '/files/home/alice/README.txt', '-X', 'PUT', '-d', 'hello')
  const said = await run('unshare', ['--mount', 'sh', '-euc', script], { env: place.env() })
  t.equal(said.code, 0, said.stderr)
  const line = (name: string): string => new RegExp(`^${name}: (.*)$`, 'm').exec(said.stdout)?.[1]?.trim() ?? ''
  t.match(line('slave'), /^(?=.*README.txt).*README.txt.* end$/, 'rslave: what is mounted later is seen')
  t.equal(line('slave').match(/README/g)?.length, 1, 'and gone when it is unmounted')
  t.equal(line('private'), 'end', 'private: what is mounted later is not seen')
  t.match(line('later'), /README.txt.*hello.*end$/, 'and what was there before stays, after it was unmounted')
  t.equal(line('left on the node'), '0')
  t.match(said.stderr + said.stdout, /was in use by .*; detached/)
  t.match(said.stdout, /Permission denied/, 'without allow_other nobody but its owner sees it')
})

t.test('a session, whose user starts a container in a user namespace', { skip }, async (t) => {
  const script = `echo from outside > "$HOME/a"
    bwrap --ro-bind / / --dev /dev --bind "$HOME" /mnt sh -euc 'cat /mnt/a; echo from inside > /mnt/b'; cat "$HOME/b"`
  t.match(await place.session(['--partition', 'home'], script), { code: 0, stdout: 'from outside\nfrom inside\n' })
  t.same(leftOver(), [])
})
