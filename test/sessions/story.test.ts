/** The first page of README: sessions of a user see one home; others see what is shared with them and no more. */
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t from 'tap'
import { fuseSkip, needs } from '../parts.ts'
import { leftOver, nothingLeft, Place, UID, until } from './place.ts'

const skip = needs('root with CAP_SYS_ADMIN', 'setpriv', 'unshare', 'openssl') || (await fuseSkip())
const place = new Place()
// it may have to wait for its turn
t.setTimeout(10 * 60_000)
const KARST = `env -u NODE_OPTIONS ${resolve('bin/karst')}`
if (skip === false) {
  t.before(() => place.start())
  t.teardown(() => place.dispose())
}

t.test(
  'two containers of a user at once see the same home and scratch, as uid 1000 without rights',
  { skip },
  async (t) => {
    const words = ['--partition', 'home', '--partition', 'scratch', '--id', 'story']
    const first = place.running(
      t,
      [...words, '--partition', 'dataset:sample'],
      `
    id -u; grep -h -E '^Cap(Prm|Eff|Bnd|Amb):|^NoNewPrivs' /proc/self/status; pwd; env
    stat -c 'proxy %a %u' "$X509_USER_PROXY"; stat -f -c 'in %T' "$X509_USER_PROXY"; ls "$KARST_SAMPLE_PATH"
    env -u KARST_CA openssl verify -CApath "$X509_CERT_DIR" "$KARST_CA"
    touch "$KARST_SAMPLE_PATH/x" 2>&1 || true
    ${KARST} doctor --json; ls -A "$HOME" | grep doctor || true
    KARST_URL= HOME="$KARST_SAMPLE_PATH" ${KARST} doctor || echo "doctor ended with $?"
    echo 'from A' > "$HOME/note"; echo 'scratch of A' > "$SCRATCH/s"; echo ready; read -r line; cat "$HOME/reply"`,
    )
    await first.says('ready\n')
    const second = await place.session(
      words,
      `cat "$HOME/note" "$SCRATCH/s"; echo 'from B' > "$HOME/reply"; test ! -e /datasets/sample`,
    )
    t.match(
      second,
      { code: 0, stdout: 'from A\nscratch of A\n', stderr: '' },
      'and no dataset, which it did not ask for',
    )
    first.tell('go on')
    t.equal(await first.ended, 0, first.output)
    t.match(first.output, /from B\n$/)
    t.match(first.output, new RegExp(`^${UID}\\n(Cap\\w+:\\t0+\\n){4}NoNewPrivs:\\t1\\n/home/alice\\n`))
    for (const line of [
      'HOME=/home/alice',
      'SCRATCH=/scratch',
      'KARST_HOME_PATH=/home/alice',
      'KARST_SAMPLE_URI=vos://karst.local~karst/datasets/sample',
      'KARST_SESSION=story',
      `KARST_URL=${place.karst.report.url}`,
    ])
      t.ok(first.output.includes(`\n${line}\n`), line)
    t.match(
      first.output,
      /\n\{"ok":true,"findings":\[\{"name":"user".*"name":"space".*\}\]\}\nok +user/,
      'nothing is missing',
    )
    t.match(first.output, /\nwrong +KARST_URL +is not set\n +fix: .+\n[^]*\nwrong +HOME .*it is read-only\n +fix: .+\n/)
    t.match(first.output, /\n2 of \d+ are wrong\ndoctor ended with 1\n/)
    t.match(
      first.output,
      /\nX509_CERT_DIR=\/.*\nproxy 600 1000\nin tmpfs\nREADME.txt\nstars.fits\n.*Read-only file system/s,
    )
    t.same(leftOver(), [])
    t.notOk(existsSync('/datasets/sample'), 'nothing was made on this machine')
    t.equal(readFileSync(join(place.tree, 'home/alice/note'), 'utf8'), 'from A\n')
    await nothingLeft()
    await until(
      () => !existsSync(join(place.tree, 'scratch/alice~story')),
      () => 'the scratch does not go with the last container',
    )
  },
)

t.test('bob’s session sees the shared project, and not alice’s home', { skip }, async (t) => {
  const home = 'vos://karst.local~karst/home/alice'
  const script = `echo bob > /projects/demo/by-bob; ls /home; test ! -e /home/alice && id -un`
  const words = ['--partition', 'home', '--partition', 'project:demo']
  const said = await place.session(words, script, { user: 'bob' })
  t.match(said, { code: 0, stdout: /^bob\n/, stderr: '' })
  t.equal(readFileSync(join(place.tree, 'projects/demo/by-bob'), 'utf8'), 'bob\n')
  await place.karst.curl(
    'alice',
    '/share',
    '-H',
    'Content-Type: application/json',
    '-d',
    JSON.stringify({ path: '/home/alice', remove: ['collaborators'] }),
  )
  const refused = await place.session(['--partition', home], 'true', { user: 'bob' })
  t.match(refused, {
    code: 125,
    stderr: /PermissionDenied: the partition vos:\/\/karst.local~karst\/home\/alice: bob may not list \/home\/alice/,
  })
  t.same(leftOver(), [])
})

t.test('the exit code is the command’s, and signals are passed on', { skip }, async (t) => {
  t.equal((await place.session(['--partition', 'home'], 'exit 7')).code, 7)
  const waiting = place.running(
    t,
    ['--partition', 'home'],
    `trap 'echo told > "$HOME/told"; exit 9' TERM; echo ready; while :; do sleep 0.05; done`,
  )
  await waiting.says('ready\n')
  waiting.child.kill('SIGTERM')
  t.equal(await waiting.ended, 9)
  t.equal(readFileSync(join(place.tree, 'home/alice/told'), 'utf8'), 'told\n')
  t.same(leftOver(), [])
})
