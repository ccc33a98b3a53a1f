/** What has to work on the mounts of a home wherever its bytes are kept: over a POSIX tree, and over every other storage. */
import path from 'node:path'
import { type Test } from 'tap'
import { fuseSkip, needs } from '../parts.ts'
import { programOf } from '../posix/programs.ts'
import { FSX } from '../posix/suite.ts'
import { Homes, type Storage } from './homes.ts'

interface Work {
  readonly name: string
  readonly needs: readonly string[]
  readonly run: (t: Test, homes: Homes) => Promise<void>
}

/** A tree of what archives have to carry: modes, times to the nanosecond, links, holes, attributes. */
export const TREE = `mkdir -p $OUT/tree/a/b $OUT/tree/empty; cd $OUT/tree; for i in $(seq 40); do echo $i > a/b/f$i; done
  ln -s b/f1 a/link; ln -s nowhere/at/all a/broken; truncate -s 300000 sparse; printf end >> sparse; head -c 200000 /dev/urandom > bytes
  chmod 640 a/b/f3; chmod 755 a/b/f4; chmod 700 a/b; touch -d '2001-02-03 04:05:06.123456789' a/b/f5 a/b/f6; touch -d '1999-01-01' a/b
  printf x > "a/b/with space and 'quote"; printf y > 'a/b/über-ø'`

const SQL = `pragma journal_mode = delete; create table rows (who, pad); create table total (value); insert into total values (0);`

const WORKS: readonly Work[] = [
  {
    name: 'git clones, commits, merges, packs and checks over two mounts',
    needs: ['git'],
    run: async (t, homes) => {
      const output = await homes.works(
        t,
        `git() { command git -c user.email=a@example.org -c user.name=alice -c init.defaultBranch=main -c gc.auto=0 -c safe.directory='*' "$@"; }
       git init -q origin; cd origin; for i in $(seq 10); do echo $i > f$i; done; git add .; git commit -qm one
       cd $TWO; git clone -q --no-local origin clone; cd clone; echo x >> f1; git commit -qam two; git push -q origin HEAD:other
       cd $ONE/clone; test -z "$(git status --porcelain)"; git gc -q --prune=now; git fsck --strict --no-dangling
       cd $TWO/origin; git merge -q other; git gc -q; git fsck --strict; test -z "$(git status --porcelain)"; git -C $ONE/origin log --format=%s`,
      )
      t.equal(output, 'two\none\n')
    },
  },
  {
    name: 'sqlite3, two writers on two mounts',
    needs: ['sqlite3'],
    run: async (t, homes) => {
      const output = await homes.works(
        t,
        `sqlite3 base "${SQL}" > /dev/null
       writes() { for i in $(seq 15); do echo "begin immediate; insert into rows values ('$2', hex(randomblob(1500))); update total set value = value + 1; commit;"; done |
         sqlite3 -bail -cmd '.timeout 60000' $1/base; }
       writes $ONE a & writes $TWO b; wait $!
       for home in $ONE $TWO; do sqlite3 $home/base 'pragma integrity_check; select value from total; select who, count(*) from rows group by who'; done; ls`,
      )
      t.equal(output, `${'ok\n30\na|15\nb|15\n'.repeat(2)}base\n`)
    },
  },
  {
    name: 'tables with locks and partial rewrites, over two mounts',
    needs: ['python3'],
    run: async (t, homes) => {
      const script = path.join(import.meta.dirname, 'tables.py')
      const output = await homes.works(
        t,
        `tables() { python3 ${script} "$@"; }; tables $ONE/x.ms make; pids=
       tables $ONE/x.ms write a 12 > $OUT/a & pids="$pids $!"; tables $TWO/x.ms write b 12 > $OUT/b & pids="$pids $!"
       tables $TWO/x.ms write c 6 > $OUT/c & pids="$pids $!"; tables $ONE/x.ms watch d 10 > $OUT/d & pids="$pids $!"
       for pid in $pids; do wait $pid; done; tables $ONE/x.ms check; tables $TWO/x.ms check`,
      )
      t.equal(output, 'a=12 b=12 c=6\n'.repeat(2))
    },
  },
  {
    name: 'tar there and back',
    needs: [],
    run: async (t, homes) => {
      await homes.works(
        t,
        `${TREE}; tar -C $OUT -cf $ONE/all.tar tree; cd $TWO; tar -df all.tar -C $OUT; mkdir out; tar -xpf all.tar -C out; diff -r --no-dereference $OUT/tree out/tree
       tar -df $ONE/all.tar -C $ONE/out; tar -C $TWO/out -czf again.tgz tree; tar -dzf $ONE/again.tgz -C $OUT
       cp -a out/tree copy; diff -r --no-dereference out/tree copy; rm -r out copy; test "$(ls $ONE)" = "$(printf 'again.tgz\\nall.tar')"`,
      )
    },
  },
  {
    name: 'fsx on a mount of a home',
    needs: ['cargo'],
    run: async (t, homes) => {
      // removing holes is for stores that have them: here they are zeros
      const [seeds, operations] = homes.isFar ? ['5', 150] : ['5 6', 400]
      await homes.works(
        t,
        `printf '${FSX.replaceAll('\n', '\\n')}' > $OUT/fsx.toml
       for seed in ${seeds}; do ${programOf('fsx')} -f $OUT/fsx.toml -S $seed -N ${operations} -P $OUT $ONE/f$seed > $OUT/said 2>&1 || { tail -40 $OUT/said; exit 1; }
       cmp $ONE/f$seed $TWO/f$seed; done`,
      )
    },
  },
]

/** Two mounts of a home at a storage (absent: the tree of a quickstart), and every work on them, each a test. */
export async function worksOver(t: Test, storage?: Storage): Promise<void> {
  const fuse = await fuseSkip()
  if (fuse !== false) return void t.test('a home that is mounted twice', { skip: fuse }, () => undefined)
  // fsx is built first in a clean checkout
  t.setTimeout(20 * 60_000)
  const homes = new Homes(storage)
  t.teardown(() => homes.dispose())
  await homes.start()
  for (const { name, needs: parts, run } of WORKS) await t.test(name, { skip: needs(...parts) }, (t) => run(t, homes))
  t.same(await homes.stop(), [], 'drivers and gateway had nothing to complain of')
}
