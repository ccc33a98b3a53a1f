// Programs that read and write files as hard as they can, on mounts of a gateway over a POSIX tree.
import t from 'tap'
import { fuseSkip, needs } from '../parts.ts'
import { Homes } from './homes.ts'
import { TREE } from './works.ts'

const fuse = await fuseSkip()
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

t.test('dbench, two clients', { skip: fuse || needs('dbench', '/usr/share/dbench/client.txt') }, async (t) => {
  const output = await homes.works(t, 'dbench -D $ONE -t 4 -c /usr/share/dbench/client.txt 2; ls -A $ONE')
  t.match(output, /Throughput \d/)
  t.notMatch(output, /fail|error/i)
})

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

t.test('drivers and gateway had nothing to complain of', { skip: fuse }, async (t) => {
  t.same(await homes.stop(), [])
})
