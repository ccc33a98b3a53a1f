// What happens while something else is under way: flushes, closes, attributes and names of one file. No kernel.
import fs from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { setAttributes } from '../../mount/attributes.ts'
import { HiddenNames } from '../../mount/hidden-names.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { HOME, sleep } from './driver-harness.ts'
import { errnoOf, O, walk, type Walked } from './tree-harness.ts'

const at = (mount: Walked, name: string) => mount.remote.bytes(`${HOME}/${name}`)?.toString()

function recovered({ state }: Walked): string[] {
  const folder = path.join(state, 'recovered')
  if (!fs.existsSync(folder)) return []
  const kept = fs.readdirSync(folder).filter((name) => !name.endsWith('.origin'))
  return kept.map((name) => fs.readFileSync(path.join(folder, name), 'latin1'))
}

void t.test('flushes that wait for another take turns: none answers before its bytes are there', async (t) => {
  const mount = await walk(t)
  mount.remote.write(`${HOME}/log`, 'zero ')
  const fh = await mount.open('log', O.O_RDWR | O.O_APPEND)
  mount.write(fh, 0, 'one ')
  const first = mount.files.fsync(fh)
  await sleep(5)
  mount.write(fh, 0, 'two ')
  mount.remote.latency = 20
  const seen = await Promise.all(
    [1, 2, 3].map(async () => {
      await mount.files.fsync(fh)
      return at(mount, 'log')
    }),
  )
  await first
  t.same(seen, Array(3).fill('zero one two '))
  mount.write(fh, 0, 'three')
  await mount.close(fh)
  t.equal(at(mount, 'log'), 'zero one two three')
})

void t.test('what was written while the last close was being sent is not thrown away', async (t) => {
  const mount = await walk(t)
  mount.remote.write(`${HOME}/f`, '0123456789')
  const closing = await mount.open('f', O.O_RDWR)
  mount.write(closing, 0, 'A')
  const release = mount.remote.hold('amend')
  const closed = mount.files.release(closing)
  await sleep(5)
  const late = await mount.open('f', O.O_RDWR)
  mount.write(late, 9, 'Z')
  await mount.files.release(late)
  release()
  await closed
  t.equal(at(mount, 'f'), 'A12345678Z')

  const again = await mount.open('f', O.O_RDWR)
  mount.write(again, 0, 'B')
  const open = mount.remote.hold('amend')
  const ended = mount.files.release(again)
  await sleep(5)
  const refused = await mount.open('f', O.O_RDWR)
  mount.write(refused, 9, 'Y')
  mount.remote.failNext(9, new Fault('QuotaExceeded', 'on order'), 'amend', 'put')
  await mount.files.release(refused)
  open()
  await ended
  t.match(recovered(mount), [/Y$/], 'what is refused then is kept')
})

void t.test('nothing is appended twice however many replies are lost', async (t) => {
  const mount = await walk(t)
  mount.remote.write(`${HOME}/log`, 'one\n')
  const fh = await mount.open('log', O.O_WRONLY | O.O_APPEND)
  mount.write(fh, 0, 'two\n')
  mount.remote.loseReplies(1, 'amend')
  t.equal(await errnoOf(mount.files.flush(fh)), 'EIO')
  mount.write(fh, 0, 'three\n')
  mount.remote.failNext(1, new Fault('ServiceBusy', 'nobody answers', { errno: 'EIO' }), 'amend', 'put')
  t.equal(await errnoOf(mount.files.flush(fh)), 'EIO', 'this one never arrived')
  mount.write(fh, 0, 'four\n')
  await mount.close(fh)
  t.equal(at(mount, 'log'), 'one\ntwo\nthree\nfour\n')
})

void t.test('a name that was given to another file elsewhere does not take the open file along', async (t) => {
  for (const how of ['unlink', 'rename', 'exchange'] as const) {
    const mount = await walk(t, { ttl: 60 })
    mount.remote.write(`${HOME}/f`, 'old')
    mount.remote.write(`${HOME}/t`, 'replacement')
    await mount.find('t')
    const fh = await mount.open('f', O.O_RDWR)
    mount.write(fh, 0, 'MINE')
    await mount.remote.rename(`${HOME}/f` as never, `${HOME}/g` as never, 'replace')
    mount.remote.write(`${HOME}/f`, 'theirs')
    if (how === 'unlink') await mount.unlink('f')
    else await mount.rename('t', 'f', how === 'rename' ? 'replace' : how)
    await mount.close(fh)
    t.equal(at(mount, 'g'), 'MINE', `${how}: its bytes are sent to where it is`)
    t.same(recovered(mount), [])
  }
})

void t.test('a large file is hidden when it is removed, not what took its name elsewhere', async (t) => {
  const mount = await walk(t, { ttl: 60 })
  const { remote, state, tree } = mount
  tree.hiddenNames = new HiddenNames(remote, nodePath(HOME), 'vos://here', state, () => undefined)
  remote.write(`${HOME}/f`, Buffer.alloc(65 << 20, 'o'))
  const fh = await mount.open('f', O.O_RDWR)
  mount.write(fh, 0, 'MINE')
  await remote.rename(`${HOME}/f` as never, `${HOME}/g` as never, 'replace')
  remote.write(`${HOME}/f`, 'theirs')
  await mount.unlink('f')
  await mount.close(fh)
  t.same(remote.paths(), ['/home', HOME, `${HOME}/g`])
  t.equal(at(mount, 'g')?.slice(0, 6), 'MINEoo')
})

void t.test('an open by a name that belongs to another file by now makes the kernel look again', async (t) => {
  const mount = await walk(t, { ttl: 60 })
  mount.remote.write(`${HOME}/f`, 'old')
  const inode = await mount.find('f')
  await mount.remote.rename(`${HOME}/f` as never, `${HOME}/f~` as never, 'replace')
  mount.remote.write(`${HOME}/f`, 'new')
  t.equal(await errnoOf(mount.files.open(inode, O.O_RDONLY)), 'ESTALE')
  t.equal(await mount.readFile('f'), 'new')
  t.equal(await errnoOf(setAttributes(mount.tree, inode, { size: 0 })), 'ESTALE', 'truncate(2) by that name too')
  t.equal(await mount.readFile('f~'), 'old')
  t.equal(await errnoOf(mount.files.open(inode, O.O_RDONLY)), 'ESTALE', 'also when it was found again meanwhile')
})

void t.test(
  'truncate(2) by a name that belongs to another file by now does not cut the one that was moved away',
  async (t) => {
    const mount = await walk(t, { ttl: 60 })
    mount.remote.write(`${HOME}/f`, 'old')
    const inode = await mount.find('f')
    await mount.remote.rename(`${HOME}/f` as never, `${HOME}/f~` as never, 'replace')
    mount.remote.write(`${HOME}/f`, 'new')
    t.equal(await errnoOf(setAttributes(mount.tree, inode, { size: 0 })), 'ESTALE')
    await mount.setattr('f', { size: 1 })
    t.same([at(mount, 'f'), at(mount, 'f~')], ['n', 'old'])
  },
)

void t.test('an open file that was renamed elsewhere can be opened again by who has it', async (t) => {
  const mount = await walk(t, { ttl: 60 })
  mount.remote.write(`${HOME}/f`, 'old')
  const inode = await mount.find('f')
  const fh = await mount.open('f', O.O_RDONLY)
  await mount.remote.rename(`${HOME}/f` as never, `${HOME}/f~` as never, 'replace')
  t.equal(await errnoOf(mount.files.open(inode, O.O_RDONLY)), 'ESTALE', 'it may have been meant by its name')
  const again = await mount.files.open(inode, O.O_RDONLY)
  t.equal((await mount.read(again.fh)).toString(), 'old', 'the kernel has looked it up since, or it is /proc/self/fd')
  t.equal(await mount.find('f~'), inode)
  for (const handle of [fh, again.fh]) await mount.close(handle)
})

void t.test('a rename of what others had put in a place moves that, and the kernel learns of it', async (t) => {
  const mount = await walk(t, { ttl: 60 })
  mount.remote.write(`${HOME}/f`, 'old')
  mount.remote.write(`${HOME}/h`, 'h')
  const [f, h] = [await mount.find('f'), await mount.find('h')]
  await mount.remote.rename(`${HOME}/f` as never, `${HOME}/f~` as never, 'replace')
  await mount.remote.rename(`${HOME}/h` as never, `${HOME}/f` as never, 'replace')
  await mount.rename('f', 'g')
  t.equal(await mount.readFile('g'), 'h')
  t.equal(await errnoOf(mount.files.open(f, O.O_RDONLY)), 'ESTALE', 'which the kernel believes to be g')
  t.equal(await errnoOf(mount.files.open(h, O.O_RDONLY)), 'ESTALE', 'which the kernel believes to be h')
  t.equal(await mount.readFile('f~'), 'old')
})

void t.test(
  'attributes of a file that others replaced are refused once, and the name is looked up again',
  async (t) => {
    const mount = await walk(t, { ttl: 60 })
    for (const changes of [{ size: 1 }, { mode: 0o600 }]) {
      mount.remote.write(`${HOME}/f`, 'old')
      mount.remote.write(`${HOME}/t`, 'new')
      const inode = await mount.find('f')
      await mount.remote.rename(`${HOME}/t` as never, `${HOME}/f` as never, 'replace')
      t.equal(await errnoOf(setAttributes(mount.tree, inode, changes)), 'ESTALE')
      await mount.setattr('f', changes)
      t.not(await mount.find('f'), inode)
    }
  },
)

void t.test('answers about a file count in the order of its changes', async (t) => {
  for (const change of ['chmod', 'rename'] as const) {
    const mount = await walk(t, { ttl: 60 })
    mount.remote.write(`${HOME}/f`, 'old')
    const fh = await mount.open('f', O.O_RDWR)
    const inode = await mount.find('f')
    mount.write(fh, 3, '+new')
    const { remote } = mount
    const call = change === 'chmod' ? 'setattr' : 'rename'
    const original = remote[call].bind(remote) as (...args: unknown[]) => Promise<never>
    // the answer comes late, after what was done meanwhile
    remote[call] = async (...args: unknown[]) => {
      const answer = await original(...args)
      await sleep(50)
      return answer
    }
    const changed = change === 'chmod' ? mount.setattr('f', { mode: 0o600 }) : mount.rename('f', 'g')
    await sleep(10)
    await Promise.all([changed, mount.files.fsync(fh)])
    t.equal(inode.entry.size, 7, change)
    mount.write(fh, 7, '+more')
    await mount.close(fh)
    t.equal(at(mount, change === 'chmod' ? 'f' : 'g'), 'old+new+more')
  }
})

void t.test('what follows a log that was cut elsewhere reads as zeros when the file grows again', async (t) => {
  const mount = await walk(t)
  mount.remote.write(`${HOME}/log`, 'x'.repeat(100))
  const fh = await mount.open('log', O.O_RDWR | O.O_APPEND)
  mount.write(fh, 0, 'appended')
  mount.remote.write(`${HOME}/log`, 'y')
  await mount.files.fsync(fh)
  const { content } = mount.files.get(fh)
  content.truncate(120)
  const expected = `yappended${'\0'.repeat(111)}`
  t.equal((await mount.read(fh)).toString(), expected)
  await mount.close(fh)
  t.equal(at(mount, 'log'), expected)
})
