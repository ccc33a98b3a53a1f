// Programs that read and write files as hard as they can, on mounts of a gateway over a POSIX tree.
import t from 'tap'
import { fuseSkip, needs } from '../parts.ts'
import { programOf } from '../posix/programs.ts'
import { FSX } from '../posix/suite.ts'
import { Homes } from './homes.ts'

const fuse = await fuseSkip()
// fsx is built first in a clean checkout
t.setTimeout(20 * 60_000)

const homes = new Homes()
if (fuse === false) {
  t.before(() => homes.start())
  t.teardown(() => homes.dispose())
}

t.test('fio finds what it wrote, in both mounts', { skip: fuse || needs('fio') }, async (t) => {
  const common =
    '--size=2m --randrepeat=1 --verify_state_save=0 --verify_fatal=1 --output=$OUT/report --group_reporting'
  const files = await homes.works(
    t,
    `fio ${common} --directory=$ONE \\
       --name=random --rw=randrw --bsrange=512-64k --bs_unaligned=1 --io_size=4m --numjobs=2 --fsync=32 --verify=crc32c --ioengine=psync \\
       --name=mapped --rw=randwrite --bs=4k --verify=sha256 --ioengine=mmap \\
       --name=direct --rw=randwrite --bs=16k --direct=1 --iodepth=8 --ioengine=libaio --verify=xxhash || { cat $OUT/report; exit 1; }
     ls | tr '\\n' ' '; for name in *; do cmp $ONE/$name $TWO/$name; done
     # written through one mount, verified through the other
     fio ${common} --directory=$ONE --name=across --rw=write --bs=64k --verify=md5 --do_verify=0 --end_fsync=1
     fio ${common} --directory=$TWO --name=across --rw=read --bs=64k --verify=md5 || { cat $OUT/report; exit 1; }`,
  )
  t.equal(files, 'direct.0.0 mapped.0.0 random.0.0 random.1.0 ')
})

t.test('fsx on a mount of a home', { skip: fuse || needs('cargo') }, async (t) => {
  // removing holes is for stores that have them: here they are zeros
  await homes.works(
    t,
    `printf '${FSX.replaceAll('\n', '\\n')}' > $OUT/fsx.toml
     for seed in 5 6; do ${programOf('fsx')} -f $OUT/fsx.toml -S $seed -N 400 -P $OUT $ONE/f$seed > $OUT/said 2>&1 || { tail -40 $OUT/said; exit 1; }
     cmp $ONE/f$seed $TWO/f$seed; done`,
  )
})

t.test('dbench, two clients', { skip: fuse || needs('dbench', '/usr/share/dbench/client.txt') }, async (t) => {
  const output = await homes.works(t, 'dbench -D $ONE -t 4 -c /usr/share/dbench/client.txt 2; ls -A $ONE')
  t.match(output, /Throughput \d/)
  t.notMatch(output, /fail|error/i)
})

/** A tree of what archives have to carry: modes, times to the nanosecond, links, holes, attributes. */
const TREE = `mkdir -p $OUT/tree/a/b $OUT/tree/empty; cd $OUT/tree; for i in $(seq 40); do echo $i > a/b/f$i; done
  ln -s b/f1 a/link; ln -s nowhere/at/all a/broken; truncate -s 300000 sparse; printf end >> sparse; head -c 200000 /dev/urandom > bytes
  chmod 640 a/b/f3; chmod 755 a/b/f4; chmod 700 a/b; touch -d '2001-02-03 04:05:06.123456789' a/b/f5 a/b/f6; touch -d '1999-01-01' a/b
  printf x > "a/b/with space and 'quote"; printf y > 'a/b/über-ø'`

t.test('rsync -aX', { skip: fuse || needs('rsync', 'setfattr') }, async (t) => {
  const output = await homes.works(
    t,
    `${TREE}; setfattr -n user.note -v hello a/b/f1; setfattr -n user.of-folder -v 'more than a word' a; cd $ONE
     rsync -aX $OUT/tree/ there/; rsync -aXci --delete $OUT/tree/ there/
     rsync -aX $TWO/there/ $OUT/back/; rsync -aXci --delete $OUT/tree/ $OUT/back/
     getfattr --only-values -n user.note $TWO/there/a/b/f1; echo
     echo more >> $OUT/tree/a/b/f7; rm $OUT/tree/a/b/f8; printf z | dd of=$OUT/tree/bytes conv=notrunc bs=1 seek=777 status=none
     rsync -aX --inplace --no-whole-file --delete --stats $OUT/tree/ $TWO/there/ | sed -n 's/^Number of .*transferred: //p'
     diff -r --no-dereference $OUT/tree $ONE/there`,
  )
  t.equal(output, 'hello\n2\n', 'only what was changed goes a second time')
})

t.test('tar there and back', { skip: fuse }, async (t) => {
  await homes.works(
    t,
    `${TREE}; tar -C $OUT -cf $ONE/all.tar tree; cd $TWO; tar -df all.tar -C $OUT; mkdir out; tar -xpf all.tar -C out; diff -r --no-dereference $OUT/tree out/tree
     tar -df $ONE/all.tar -C $ONE/out; tar -C $TWO/out -czf again.tgz tree; tar -dzf $ONE/again.tgz -C $OUT
     cp -a out/tree copy; diff -r --no-dereference out/tree copy; rm -r out copy; test "$(ls $ONE)" = "$(printf 'again.tgz\\nall.tar')"`,
  )
})

t.test('drivers and gateway had nothing to complain of', { skip: fuse }, async (t) => {
  t.same(await homes.stop(), [])
})
