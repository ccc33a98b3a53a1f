// mount/SEMANTICS.md `withdrawn-while-open`, without a kernel: test/service/sharing.test.ts has one.
import fs from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { PermissionWatch } from '../../mount/permission-watch.ts'
import { type SeenEntry } from '../../src/codec/fs-v1.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { HOME } from './driver-harness.ts'
import { errnoOf, O, walk } from './tree-harness.ts'

type Answer = (entry: SeenEntry) => SeenEntry

const denied = (): never => {
  throw new Fault('PermissionDenied', 'on order')
}

async function opened(test: Parameters<typeof walk>[0]) {
  const mount = await walk(test)
  const { remote } = mount
  let answer: Answer = (entry) => entry
  const ask = remote.entry.bind(remote)
  remote.entry = async (ref) => answer(await ask(ref))
  remote.write(`${HOME}/f`, '0123456789')
  const fh = await mount.open('f', O.O_RDWR)
  t.equal((await mount.read(fh)).toString(), '0123456789')
  const watch = new PermissionWatch(mount.tree, mount.files, (line) => void mount.log.push(line))
  const look = async (now: Answer): Promise<void> => {
    answer = now
    await watch.look()
  }
  return { mount, fh, look }
}

void t.test('withdrawn-while-open', async (t) => {
  const { mount, fh, look } = await opened(t)
  mount.write(fh, 0, 'AB')
  await look(denied)
  t.equal(await errnoOf(mount.read(fh)), 'EACCES', 'also what was in memory')
  t.equal(await errnoOf(Promise.resolve().then(() => mount.write(fh, 0, 'CD'))), 'EACCES')
  t.same(mount.invalidated, ['f'], 'the kernel drops its pages, once')
  await look(denied)
  t.same(mount.invalidated, ['f'])
  mount.remote.failNext(9, new Fault('PermissionDenied', 'on order'), 'put', 'amend')
  t.equal(await errnoOf(mount.close(fh)), 'EACCES', 'close says that it was not taken')
  const kept = fs.readdirSync(path.join(mount.state, 'recovered'), { recursive: true, encoding: 'utf8' })
  t.ok(
    kept.some((name) => name.endsWith('f')),
    'and it is kept',
  )
  t.equal(mount.remote.bytes(`${HOME}/f`)?.toString(), '0123456789')
})

void t.test('withdrawn-while-open', async (t) => {
  const { mount, fh, look } = await opened(t)
  await look((entry) => ({ ...entry, writable: false }))
  t.equal((await mount.read(fh)).toString(), '0123456789', 'who may read still does')
  t.equal(await errnoOf(Promise.resolve().then(() => mount.write(fh, 0, 'CD'))), 'EACCES')
  await look((entry) => ({ ...entry, writable: false, access: { ...entry.access, locked: true } }))
  t.equal(await errnoOf(Promise.resolve().then(() => mount.write(fh, 0, 'CD'))), 'EPERM', 'a lock is another refusal')
  await look((entry) => ({ ...entry, readable: false, writable: false }))
  t.equal(await errnoOf(mount.read(fh)), 'EACCES')
  await look((entry) => entry)
  t.equal((await mount.read(fh)).toString(), '0123456789', 'what is given back counts')
  mount.write(fh, 0, 'CD')
  await mount.close(fh)
  t.equal(mount.remote.bytes(`${HOME}/f`)?.toString(), 'CD23456789')
})

void t.test('withdrawn-while-open', async (t) => {
  const { mount, fh, look } = await opened(t)
  for (const fault of ['ServiceBusy', 'NotAuthenticated', 'InternalFault'] as const) {
    await look(() => {
      throw new Fault(fault, 'on order')
    })
    t.equal((await mount.read(fh)).toString(), '0123456789', `${fault} withdraws nothing`)
  }
  mount.write(fh, 0, 'CD')
  await mount.close(fh)
})

void t.test('withdrawn-while-open', async (t) => {
  const { mount, fh, look } = await opened(t)
  const expired = (): never => {
    throw new Fault('NotAuthenticated', 'on order')
  }
  await look(expired)
  await look((entry) => entry)
  await look(expired)
  t.equal((await mount.read(fh)).toString(), '0123456789', 'a credential that is renewed in time')
  await look(expired)
  t.equal(await errnoOf(mount.read(fh)), 'EACCES', 'one that has ended')
  t.equal(await errnoOf(Promise.resolve().then(() => mount.write(fh, 0, 'CD'))), 'EACCES')
  await look((entry) => entry)
  t.equal((await mount.read(fh)).toString(), '0123456789', 'and is renewed after all')
  await mount.close(fh)
})
