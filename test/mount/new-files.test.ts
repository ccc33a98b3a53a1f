// New files that are here alone until their first close: what everybody may expect of a file holds for them, and each case of doubt is the gateway's.
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { getXattr } from '../../mount/xattr.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { errnoOf, O, walk, type Walked } from './tree-harness.ts'

const HOME = '/home/alice'
const MAKE = O.O_WRONLY | O.O_CREAT | O.O_TRUNC
const QUOTA = new Fault('QuotaExceeded', 'on order')

interface Fresh {
  readonly fh: number
  /** Of each put whether it had to be durable. */
  readonly puts: (boolean | undefined)[]
}

async function fresh(t: Test, flags = MAKE): Promise<Walked & Fresh> {
  const walked = await walk(t, { ahead: true })
  const puts: (boolean | undefined)[] = []
  const put = walked.remote.put.bind(walked.remote)
  walked.remote.put = (ref, body, attributes) => (puts.push(attributes.durable), put(ref, body, attributes))
  walked.remote.makeContainer(`${HOME}/d`)
  await walked.find('/d')
  walked.remote.calls.splice(0)
  const fh = await walked.open('/d/new', flags)
  return Object.assign(walked, { fh, puts })
}
const names = ({ remote }: Walked): string[] => remote.calls.map(({ name }) => name)
const at = ({ remote }: Walked, name = 'new'): string | undefined => remote.bytes(`${HOME}/d/${name}`)?.toString()

t.test('a new file is one request, with its bytes, mode and time', async (t) => {
  const walked = await fresh(t)
  const stat = await walked.stat('/d/new')
  walked.write(walked.fh, 0, 'bytes')
  t.equal(at(walked), undefined)
  await walked.close(walked.fh)
  t.same(
    names(walked).filter((name) => name !== 'entry'),
    ['put'],
  )
  t.equal(at(walked), 'bytes')
  const after = await walked.stat('/d/new')
  t.ok(after.mtime >= stat.mtime)
  t.equal(await walked.readFile('/d/new'), 'bytes')
})

t.test('set-user-ID is set after the bytes that were written before it, which would take it away', async (t) => {
  const walked = await fresh(t)
  walked.write(walked.fh, 0, 'bytes')
  await walked.setattr('/d/new', { mode: 0o4755, open: true })
  await walked.close(walked.fh)
  t.equal(
    names(walked)
      .filter((name) => name !== 'entry')
      .at(-1),
    'setattr',
  )
  t.equal(at(walked), 'bytes')
})

t.test('one that is closed as it was made is empty, and of its time', async (t) => {
  const walked = await fresh(t)
  const before = BigInt(Date.now() - 1000) * 1_000_000n
  await walked.close(walked.fh)
  t.equal(at(walked), '')
  t.ok((await walked.stat('/d/new')).mtime > before)
})

t.test('a time that a program sets goes with the bytes; a mode is asked of the gateway', async (t) => {
  const walked = await fresh(t)
  walked.write(walked.fh, 0, 'bytes')
  await walked.setattr('/d/new', { mtime: 1_234_567_890n, atime: 5n, open: true })
  await walked.close(walked.fh)
  t.equal((await walked.stat('/d/new')).mtime, 1_234_567_890n)
  t.notOk(names(walked).includes('setattr'))
  const other = await fresh(t)
  await other.setattr('/d/new', { mode: 0o600, open: true })
  t.equal(at(other), '')
  t.equal((await other.stat('/d/new')).mode & 0o777, 0o600)
  await other.close(other.fh)
})

t.test(
  'O_EXCL, files that may be read before they are written, and names that may be reserved are made at once',
  async (t) => {
    for (const [name, flags] of [
      ['new', MAKE | O.O_EXCL],
      ['new', O.O_RDWR | O.O_CREAT],
      ['new', O.O_RDWR | O.O_CREAT | O.O_APPEND],
      ['.karst', MAKE],
      ['.snap', MAKE],
    ] as const) {
      const walked = await walk(t, { ahead: true })
      const fh = await walked.open(`/${name}`, flags)
      t.equal(walked.remote.bytes(`${HOME}/${name}`)?.toString(), '', `${name} ${flags}`)
      await walked.close(fh)
    }
  },
)

t.test('what was made at once is made durable by fsync, and by what is sent of it, not by a close', async (t) => {
  const walked = await fresh(t, MAKE | O.O_EXCL)
  const puts = (): (boolean | undefined)[] => walked.puts
  t.same(puts(), [false])
  const { mtime } = await walked.stat('/d/new')
  await walked.files.flush(walked.fh)
  t.same(puts(), [false])
  await walked.files.fsync(walked.fh)
  t.same(puts(), [false, undefined])
  t.equal((await walked.stat('/d/new')).mtime, mtime)
  await walked.files.fsync(walked.fh)
  await walked.close(walked.fh)
  t.same(puts(), [false, undefined], 'once')
  const written = await fresh(t, MAKE | O.O_EXCL)
  written.write(written.fh, 0, 'bytes')
  await written.close(written.fh)
  t.same(written.puts, [false, undefined])
  const settled = await fresh(t)
  await settled.list('/d')
  await settled.files.fsync(settled.fh)
  t.same(settled.puts, [false, undefined])
  await settled.close(settled.fh)
})

t.test('of two mounts that want a name for themselves one gets it, though a third is about to make it', async (t) => {
  const third = await fresh(t)
  const { remote } = third
  const [one, two] = [await walk(t, { remote }), await walk(t, { remote })]
  third.write(third.fh, 0, 'third')
  const tried = await Promise.all(
    [one, two].map((mount) => mount.open('/d/new', MAKE | O.O_EXCL).catch((error: unknown) => (error as Fault).errno)),
  )
  t.equal(tried.filter((got) => got === 'EEXIST').length, 1)
  await third.close(third.fh)
  t.equal(at(third), 'third', 'who truncates wins, as over any file')
})

t.test('a folder that lets nothing be made says so to open', async (t) => {
  const walked = await walk(t, { ahead: true, ttl: 60 })
  walked.remote.makeContainer(`${HOME}/d`)
  const folder = await walked.find('/d')
  folder.entry = { ...folder.entry, writable: false }
  walked.remote.failNext(1, new Fault('PermissionDenied', 'on order'), 'put')
  t.equal(await errnoOf(walked.open('/d/new', MAKE)), 'EACCES')
  t.equal(await errnoOf(walked.open(`/${'x'.repeat(256)}`, MAKE)), 'ENAMETOOLONG')
})

t.test('its name is seen here at once: listed, opened, read', async (t) => {
  const walked = await fresh(t)
  walked.write(walked.fh, 0, 'bytes')
  t.equal(await walked.readFile('/d/new'), 'bytes')
  t.equal(at(walked), undefined, 'who opens it here needs no gateway')
  t.same(await walked.list('/d'), ['.', '..', 'new'])
  t.equal(at(walked), '', 'listed: it is there, and its bytes are its own')
  await walked.close(walked.fh)
  t.equal(at(walked), 'bytes')
  const noted = await fresh(t)
  t.equal(await errnoOf(getXattr(noted.tree, await noted.find('/d/new'), 'user.none')), 'ENODATA')
  t.equal(at(noted), '')
})

t.test('what is removed before it was sent was never there', async (t) => {
  const walked = await fresh(t)
  walked.write(walked.fh, 0, 'bytes')
  await walked.unlink('/d/new')
  t.same(
    names(walked).filter((name) => name === 'put' || name === 'remove'),
    [],
  )
  t.equal(await errnoOf(walked.find('/d/new')), 'ENOENT')
  walked.write(walked.fh, 5, ' and more')
  await walked.close(walked.fh)
  t.equal(at(walked), undefined)
  await walked.rmdir('/d')
})

t.test('a folder with such a file is not empty, and moves with it', async (t) => {
  const walked = await fresh(t)
  t.equal(await errnoOf(walked.rmdir('/d')), 'ENOTEMPTY')
  await walked.close(walked.fh)
  const moved = await fresh(t)
  moved.write(moved.fh, 0, 'bytes')
  await moved.rename('/d', '/e')
  await moved.close(moved.fh)
  t.equal(moved.remote.bytes(`${HOME}/e/new`)?.toString(), 'bytes')
})

t.test('renamed, and renamed over, it is what any file is', async (t) => {
  const walked = await fresh(t)
  walked.write(walked.fh, 0, 'bytes')
  await walked.rename('/d/new', '/d/renamed')
  await walked.close(walked.fh)
  t.same([at(walked), at(walked, 'renamed')], [undefined, 'bytes'])
  const over = await fresh(t)
  over.remote.write(`${HOME}/d/other`, 'other')
  await over.rename('/d/other', '/d/new')
  over.write(over.fh, 0, 'lost')
  await over.close(over.fh)
  t.equal(at(over), 'other')
})

t.test('the time of its folder has it in', async (t) => {
  const walked = await fresh(t)
  const before = (await walked.stat('/d')).mtime
  t.equal(at(walked), '', 'who asks for it settles it')
  await walked.close(walked.fh)
  t.ok((await walked.stat('/d')).mtime >= before)
})

t.test('one that stays open is seen by others soon, empty', async (t) => {
  const walked = await fresh(t)
  walked.write(walked.fh, 0, 'bytes')
  for (let left = 100; at(walked) === undefined && left > 0; left--) await sleep(50)
  t.equal(at(walked), '')
  await walked.close(walked.fh)
  t.equal(at(walked), 'bytes')
  const large = await fresh(t)
  large.write(large.fh, 0, Buffer.alloc(1 << 20))
  await sleep(20)
  t.equal(at(large), '', 'so is one that grows')
  await large.close(large.fh)
})

t.test('who finds that another was first does as if that had been known', async (t) => {
  const whole = await fresh(t)
  whole.write(whole.fh, 0, 'mine')
  whole.remote.write(`${HOME}/d/new`, 'of another, and longer')
  await whole.close(whole.fh)
  t.equal(at(whole), 'mine')
  const empty = await fresh(t)
  empty.remote.write(`${HOME}/d/new`, 'of another')
  await empty.list('/d')
  await empty.close(empty.fh)
  t.equal(at(empty), '', 'it was truncated, by whoever came second')
  const appended = await fresh(t, O.O_WRONLY | O.O_CREAT | O.O_APPEND)
  appended.write(appended.fh, 0, 'line 2\n')
  appended.remote.write(`${HOME}/d/new`, 'line 1\n')
  await appended.close(appended.fh)
  t.equal(at(appended), 'line 1\nline 2\n')
  const untouched = await fresh(t, O.O_WRONLY | O.O_CREAT | O.O_APPEND)
  untouched.remote.write(`${HOME}/d/new`, 'line 1\n')
  await untouched.close(untouched.fh)
  t.equal(at(untouched), 'line 1\n')
  const folder = await fresh(t)
  folder.write(folder.fh, 0, 'mine')
  folder.remote.makeContainer(`${HOME}/d/new`)
  t.equal(await errnoOf(folder.close(folder.fh)), 'EEXIST')
  t.equal((await folder.find('/d/new')).entry.type, 'container', 'the mount shows what the gateway has')
  t.equal(keptIn(folder).length, 1)
})

const keptIn = ({ state }: Walked): string[] =>
  fs.readdirSync(path.join(state, 'recovered')).filter((name) => name.endsWith('new'))

t.test('what the gateway refuses is what close says; then nothing is there, and the bytes are kept', async (t) => {
  const walked = await fresh(t)
  walked.write(walked.fh, 0, 'precious')
  walked.remote.failNext(1, QUOTA, 'put')
  t.equal(await errnoOf(walked.files.fsync(walked.fh)), 'EDQUOT')
  walked.remote.failNext(9, QUOTA, 'put')
  t.equal(await errnoOf(walked.close(walked.fh)), 'EDQUOT')
  walked.remote.heal()
  t.equal(await errnoOf(walked.find('/d/new')), 'ENOENT')
  const [kept = ''] = keptIn(walked)
  t.equal(fs.readFileSync(path.join(walked.state, 'recovered', kept), 'utf8'), 'precious')
  await walked.rmdir('/d')
  const again = await fresh(t)
  again.write(again.fh, 0, 'second try')
  again.remote.failNext(1, QUOTA, 'put')
  await again.list('/d')
  t.equal(await errnoOf(again.files.fsync(again.fh)), undefined)
  t.equal(at(again), 'second try')
  await again.close(again.fh)
})

t.test('an answer that was lost is found again, with nothing doubled', async (t) => {
  const walked = await fresh(t, O.O_WRONLY | O.O_CREAT | O.O_APPEND)
  walked.write(walked.fh, 0, 'once\n')
  walked.remote.loseReplies(1, 'put')
  t.equal(await errnoOf(walked.files.fsync(walked.fh)), 'EIO')
  await walked.close(walked.fh)
  t.equal(at(walked), 'once\n')
  t.equal((await walked.stat('/d/new')).size, 5)
})

t.test('with holes it is made first, and then its changes are sent', async (t) => {
  const walked = await fresh(t)
  walked.write(walked.fh, 1 << 19, 'end')
  await walked.close(walked.fh)
  t.ok(names(walked).includes('amend'))
  t.equal(walked.remote.bytes(`${HOME}/d/new`)?.length, (1 << 19) + 3)
})

t.test('what unmounts sends it', async (t) => {
  const walked = await fresh(t)
  t.equal(await walked.files.drain(), 0)
  t.equal(at(walked), '')
})
