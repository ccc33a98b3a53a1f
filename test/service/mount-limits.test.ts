/** Names, depths and numbers at their limits, through a mount of a gateway over a POSIX tree; what is odd there was put there behind its back. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fuseSkip } from '../parts.ts'
import { Quickstart, run, sh } from './running.ts'

const skip = await fuseSkip()
t.setTimeout(300_000)

const karst = new Quickstart()
const tree = (): string => join(karst.state, 'tree/home/alice')
const home = (): string => karst.report.mount?.path ?? ''
if (skip === false) {
  t.before(() => karst.start())
  t.teardown(() => karst.dispose())
}

/** Runs Python with the mount as its argument: it says bytes as they are. */
async function python(script: string): Promise<string[]> {
  const head = `import os, sys
os.chdir(sys.argv[1])
def attempt(call, *args):
    try: call(*args); return 'done'
    except OSError as error: return os.strerror(error.errno)
`
  const { code, stdout, stderr } = await run('python3', ['-c', head + script, home()])
  if (code !== 0) throw new Error(stderr)
  return stdout.trim().split('\n')
}

t.test('names of 255 bytes are taken, of 256 refused, whatever their characters', { skip }, async (t) => {
  const told = await python(`
for unit, count in (('n', 255), ('é', 127), ('星', 85), ('𝛼', 63)):
    name = unit * count
    name += 'x' * (255 - len(name.encode()))
    print(attempt(os.mkdir, name), name in os.listdir('.'), attempt(os.mkdir, name + 'y'), attempt(os.rename, name, name + 'z'), attempt(os.rmdir, name))`)
  t.same(told, Array(4).fill('done True File name too long File name too long done'))
})

t.test("names that are no UTF-8 are refused; those on disk are in nobody's way", { skip }, async (t) => {
  const odd = Buffer.concat([Buffer.from(join(tree(), 'odd/')), Buffer.from([0x61, 0xff, 0xfe])])
  mkdirSync(join(tree(), 'odd'))
  writeFileSync(odd, 'x')
  writeFileSync(join(tree(), 'odd/plain'), 'y')
  // what was made behind the gateway's back is seen when what the mount knows of the folder has aged
  await sh(`until test -e '${home()}/odd'; do sleep 0.1; done`)
  const told = await python(`
for name in (b'a\\xff', b'\\xc3\\x28', b'\\xed\\xa0\\x80', b'\\xc0\\x80'):
    print(attempt(os.mkdir, name), attempt(os.symlink, b'x', name), attempt(os.stat, name))
print(os.listdir(b'odd'), attempt(os.rmdir, 'odd'))
for name in ('.karst', 'a\\x01b', 'line\\nbreak', ' ', '...', 'per%41cent', 'plus+&?#'):
    print(repr(name), attempt(os.mkdir, name), attempt(os.rmdir, name))`)
  const refusal = 'Invalid or incomplete multibyte or wide character'
  const [one, two, three, four, listed, ...rest] = told
  for (const line of [one, two, three, four]) t.equal(line, `${refusal} ${refusal} No such file or directory`)
  t.equal(listed, "[b'plain'] Directory not empty")
  t.match(rest[0], /^'.karst' (?!done)/, "what is the service's is not made")
  t.same(
    rest.slice(1).map((line) => line.split(' ').slice(-2).join(' ')),
    Array(6).fill('done done'),
  )
})

t.test('attributes are text: what is none is refused, and no part of it is kept', { skip }, async (t) => {
  const told = await python(`
open('noted', 'w').close()
for value in (b'word', b'\\xff\\x00', b'x' * 70000, 'gr\xfc\xdfe \u661f'.encode()):
    print(attempt(os.setxattr, 'noted', 'user.note', value), os.getxattr('noted', 'user.note').decode())`)
  t.same(told, ['done word', 'Invalid argument word', 'Argument list too long word', 'done gr\xfc\xdfe \u661f'])
})

t.test('a folder of 100,000 entries is listed, changed and removed from', { skip }, async (t) => {
  mkdirSync(join(tree(), 'crowd'))
  await sh(`cd '${tree()}/crowd'; seq -w 0 99999 | xargs touch`)
  const said = await sh(
    `cd '${home()}'; ls -U crowd | sort | md5sum; seq -w 0 99999 | md5sum; rm crowd/55555; touch crowd/new; test ! -e crowd/55555; ls -U crowd | wc -l`,
  )
  const [seen, wanted, count] = said.split('\n')
  t.same([seen, count], [wanted, '100000'])
})

t.test('what lies a thousand folders deep is read, written and removed', { skip }, async (t) => {
  const levels = 'd/'.repeat(999)
  mkdirSync(join(tree(), levels), { recursive: true })
  // its last folders are mounted: each call is of the whole way all the same
  const { ca, url, users } = karst.report
  const dir = join(karst.folder, 'deep')
  mkdirSync(dir)
  const env = { KARST_MOUNT_STATE: join(karst.folder, 'driver') }
  const words = ['mount', `vos://karst.local~karst/home/alice/${'d/'.repeat(995)}d`, dir, '--ca', ca, '--url', url]
  const mounted = await run('bin/karst', [...words, '--certificate', users['alice']?.proxy ?? ''], { env })
  t.equal(mounted.code, 0, mounted.stderr)
  await sh(`cd '${dir}'; find . | wc -l; echo deep > d/d/d/f; mv d/d/d/f d/g; cat d/g; mkdir d/d/d/d/; rmdir d/d/d/d`)
  t.equal(readFileSync(join(tree(), 'd/'.repeat(997), 'g'), 'utf8'), 'deep\n')
  t.equal((await run('bin/karst', ['umount', dir], { env })).code, 0)
  const removed = await karst.ask('alice', '/nodes/home/alice/d', { method: 'DELETE' })
  t.ok(removed.status < 300, `the whole of it goes at once: ${removed.status}`)
})
