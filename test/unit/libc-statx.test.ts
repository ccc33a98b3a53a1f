// statx(2) told apart as node's own stat has it: sizes and times beyond 32 bits, before 1970, and what is no file.
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import t, { type Test } from 'tap'
import { listXattrAt } from '../../src/libc/directory.ts'
import { AT_FDCWD, statIn } from '../../src/libc/statx.ts'
import { setXattr } from '../../src/libc/xattr.ts'

const dir = t.testdir({ file: 'five5', folder: {} })
const at = (name: string): string => path.join(dir, name)

fs.symlinkSync('file', at('link'))
execFileSync('mkfifo', [at('pipe')])
execFileSync('truncate', ['-s', '5000000000', at('large')])
for (const [name, time] of [
  ['old', '1960-02-03 04:05:06.789012345 UTC'],
  ['late', '2107-02-03 04:05:06.000000001 UTC'],
] as const)
  execFileSync('touch', ['-d', time, at(name)])

function compared(t: Test, place: string, stat: ReturnType<typeof statIn>): void {
  const node = fs.lstatSync(place, { bigint: true })
  const numbers = { mode: stat?.mode, nlink: stat?.nlink, uid: stat?.uid, gid: stat?.gid, size: stat?.size, blocks: stat?.blocks } // prettier-ignore
  const { mode, nlink, uid, gid, size, blocks } = node
  t.same(numbers, { mode: Number(mode), nlink: Number(nlink), uid: Number(uid), gid: Number(gid), size: Number(size), blocks: Number(blocks) }) // prettier-ignore
  const long = [stat?.ino, stat?.atimeNs, stat?.mtimeNs, stat?.ctimeNs, stat?.birthtimeNs]
  t.same(long, [node.ino, node.atimeNs, node.mtimeNs, node.ctimeNs, node.birthtimeNs])
  t.equal(stat?.device, Number(node.rdev & 0xffffffffn))
  t.equal(stat?.dev, Number(node.dev & 0xffffffffn))
}

void t.test('of names in a directory, of paths, and of a descriptor', (t) => {
  const fd = fs.openSync(dir, fs.constants.O_RDONLY)
  t.teardown(() => fs.closeSync(fd))
  for (const name of fs.readdirSync(dir)) compared(t, at(name), statIn(fd, name))
  for (const place of [dir, '/dev/null', '/proc/self/exe']) compared(t, place, statIn(AT_FDCWD, place))
  compared(t, dir, statIn(fd, ''))
  t.end()
})

void t.test('of what is not there', (t) => {
  t.equal(statIn(AT_FDCWD, at('none')), undefined)
  t.equal(statIn(AT_FDCWD, at('file/below')), undefined)
  t.throws(() => statIn(-1, 'file'), { code: 'EBADF' })
  t.end()
})

void t.test('is not overwritten by the next', (t) => {
  const first = statIn(AT_FDCWD, at('large'))
  statIn(AT_FDCWD, at('file'))
  t.equal(first?.size, 5_000_000_000)
  t.end()
})

void t.test('names of attributes, of a name and of a path', (t) => {
  setXattr(at('file'), 'user.note', Buffer.from('x'))
  const fd = fs.openSync(dir, fs.constants.O_RDONLY)
  t.teardown(() => fs.closeSync(fd))
  t.same(listXattrAt(fd, 'file'), ['user.note'])
  t.same(listXattrAt(AT_FDCWD, at('file')), ['user.note'])
  t.same(listXattrAt(fd, 'folder'), [])
  t.equal(listXattrAt(fd, 'none'), undefined)
  t.equal(listXattrAt(AT_FDCWD, at('none')), undefined)
  t.end()
})
