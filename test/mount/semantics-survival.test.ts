// mount/SEMANTICS.md "When things break": programs on two mounts while the driver is killed again and again: none of them sees an error, and every byte is right.
import path from 'node:path'
import t from 'tap'
import { needs } from '../parts.ts'
import { fuseSkip, sh, sleep } from './driver-harness.ts'
import { another, kill, ownerOf, work } from './killing.ts'
import { survivors } from './survival-harness.ts'
import { seeded } from './tree-harness.ts'

t.setTimeout(600_000)
const skip = (await fuseSkip()) || needs('git')
const KILLS = Number(process.env['KARST_KILLS'] ?? 24)
const WRITER = path.join(import.meta.dirname, 'model-writer.ts')
const SECONDS = KILLS * 1.4

const GIT = `git="git -c user.email=a@example.org -c user.name=alice -c init.defaultBranch=main -c gc.auto=0 -c safe.directory=*"
  rm -rf origin clone; mkdir origin; cd origin; $git init -q; for i in $(seq 40); do echo $i > f$i; done; $git add .; $git commit -qm one
  cd ..; $git clone -q --no-local origin clone; cd clone; echo x >> f1; $git commit -qam two
  $git push -q origin HEAD:other; $git gc -q; $git fsck --strict; test -z "$($git status --porcelain)"; cd ..; rm -rf origin clone`

void t.test('survives-its-driver', { skip }, async (t) => {
  const { state, mount, umount, log } = await survivors(t)
  const [one, two] = [await mount('/home/alice'), await mount('/pub')]
  const pick = seeded(Number(process.env['KARST_SEED'] ?? 4711))
  t.equal((await sh('mkdir model; mkdir git; head -c 3000000 /dev/urandom > big; cksum < big', one)).status, 0)
  const seconds = String(SECONDS * 1000)
  const stop = `karst-survival-${process.pid}`
  const all = [
    work('model', process.execPath, [
      '--disable-warning=ExperimentalWarning',
      WRITER,
      path.join(one, 'model'),
      '7',
      seconds,
    ]),
    work('model on the other', process.execPath, ['--disable-warning=ExperimentalWarning', WRITER, two, '8', seconds]),
    work('git', 'sh', ['-euc', `cd "$1"; until test -e "/tmp/$2"; do ${GIT}; done`, 'sh', path.join(one, 'git'), stop]),
    work('cat', 'sh', [
      '-euc',
      'cd "$1"; sum=$(cksum < big); until test -e "/tmp/$2"; do test "$(cat big | cksum)" = "$sum"; ls -la > /dev/null; done',
      'sh',
      one,
      stop,
    ]),
  ]
  let owner = ownerOf(state)
  let kills = 0
  for (; kills < KILLS; kills++) {
    await sleep(pick(4) === 0 ? pick(400) : 400 + pick(1500))
    if (owner === undefined || !kill(owner)) t.fail('the driver had ended')
    owner = await another(state, owner)
  }
  await sh(`touch "/tmp/${stop}"`, '/')
  t.teardown(() => sh(`rm -f "/tmp/${stop}"`, '/').then(() => undefined))
  for (const { name, done } of all) {
    const { status, output } = await done
    t.equal(status, 0, `${name}: ${output.slice(-1500)}`)
  }
  t.equal(log().match(/starting another/g)?.length, KILLS)
  t.notMatch(log(), /cannot be taken over|kept in|FUSE|Error/)
  for (const dir of [one, two]) t.same(await umount(dir), [])
})
