/** The client against the gateway itself, over the memory backend: both ends mean the same by every call. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import t from 'tap'
import { connect, type Client } from '../../mount/client.ts'
import { ReadBudget } from '../../mount/read-budget.ts'
import { Reader } from '../../mount/reader.ts'
import { readBytes } from '../../mount/read-bytes.ts'
import { type WireExtent } from '../../src/codec/fs-v1.ts'
import { writeCredential } from '../../src/identity/pem.ts'
import { child, nameOf, nodePath } from '../../src/vospace/path.ts'
import { startGateway } from '../http/gateway.ts'
import { authority, credentials, type Name } from '../http/people.ts'

const HOME = nodePath('/home/alice')
const folder = mkdtempSync(path.join(tmpdir(), 'karst-client-'))
const ca = path.join(folder, 'ca.pem')
writeFileSync(ca, authority.certificate)
const gateway = await startGateway(t)
const alice = await clientOf('alice')
const bob = await clientOf('bob')
t.teardown(async () => {
  await Promise.all([alice.close(), bob.close()])
  rmSync(folder, { recursive: true })
})

async function clientOf(name: Name): Promise<Client> {
  const certificate = path.join(folder, `${name}.pem`)
  await writeCredential(certificate, credentials[name])
  return connect({ url: gateway.url, certificate, ca, timeLimit: 5, logger: { warn: () => undefined } })
}

async function* parts(...all: (string | Buffer)[]): AsyncGenerator<Uint8Array> {
  for (const part of all) yield Buffer.from(part as Buffer)
}

async function* extents(...all: WireExtent[]): AsyncGenerator<WireExtent> {
  yield* all
}

t.test('it knows who it is', async (t) => {
  t.equal((await alice.identity()).user, 'alice')
  t.equal((await bob.identity()).user, 'bob')
})

t.test('it puts, reads, amends and truncates a file', async (t) => {
  const ref = { path: child(HOME, 'a b%#?é+&') }
  const made = await alice.put(ref, () => parts('hello', ' ', 'world'), { ifAbsent: true, mode: 0o600, length: 11 })
  t.match(made, { path: ref.path, size: 11, mode: 0o600, type: 'data' })
  const again = alice.put(ref, () => parts('x'), { ifAbsent: true, length: 1 })
  await t.rejects(again, { name: 'Fault', fault: 'DuplicateNode', errno: 'EEXIST' })
  const { id, contentVersion: first } = made
  const tied = { ...ref, id }
  t.equal(String(await readBytes(alice, tied, { start: 4, end: 6 }, { ifContentVersion: first })), 'o w')
  t.equal(String(await readBytes(alice, tied, { start: 6, end: 600 })), 'world')
  t.equal(String(await readBytes(alice, tied, { start: 11, end: 600 })), '')
  const changes = [
    { offset: 0, bytes: Buffer.from('J') },
    { offset: 5, hole: 1 },
  ]
  const amended = await alice.amend(tied, () => extents(...changes), { length: 12, ifContentVersion: first, mtime: 5n })
  t.match(amended, { id, size: 12, mtime: 5n })
  t.equal(String(await readBytes(alice, tied, { start: 0, end: 99 })), 'Jello\0world\0')
  const stale = readBytes(alice, tied, { start: 0, end: 99 }, { ifContentVersion: first })
  await t.rejects(stale, { name: 'Fault', fault: 'PreconditionFailed', errno: 'ESTALE' })
  t.match(await alice.setattr(tied, { size: 2, mode: 0o640, mtime: 7n }), { size: 2, mode: 0o640, mtime: 7n })
  t.equal((await alice.put(ref, () => parts(), { length: 0 })).size, 0)
  t.equal((await readBytes(alice, tied, { start: 0, end: 9 })).length, 0)
})

t.test('it makes, lists, links, moves and removes', async (t) => {
  const d = child(HOME, 'd')
  await alice.mkdir(d, 0o750)
  await t.rejects(alice.mkdir(d, 0o750), { name: 'Fault', errno: 'EEXIST' })
  const text = Buffer.from([0x2e, 0x2e, 0x2f, 0xff])
  t.same((await alice.symlink(child(d, 'link'), text)).text, text)
  for (const name of ['b', 'é', 'a'])
    await alice.put({ path: child(d, name) }, () => parts(name), { length: Buffer.byteLength(name) })
  const names: string[] = []
  for await (const entries of alice.list(d)) names.push(...entries.map((entry) => nameOf(entry.path)))
  t.same(names, ['a', 'b', 'link', 'é'])
  t.equal((await alice.rename(child(d, 'a'), child(d, 'b'), 'replace')).path, child(d, 'b'))
  t.equal(String(await readBytes(alice, { path: child(d, 'b') }, { start: 0, end: 9 })), 'a')
  await t.rejects(alice.rename(child(d, 'b'), child(d, 'é'), 'noreplace'), { name: 'Fault', errno: 'EEXIST' })
  await t.rejects(alice.remove(d, 'container'), { name: 'Fault', errno: 'ENOTEMPTY' })
  await t.rejects(alice.remove(d, 'leaf'), { name: 'Fault', errno: 'EISDIR' })
  await t.rejects(alice.remove(child(d, 'b'), 'container'), { name: 'Fault', errno: 'ENOTDIR' })
  for (const name of ['b', 'é', 'link']) await alice.remove(child(d, name), 'leaf')
  await alice.remove(d, 'container')
  await t.rejects(alice.entry({ path: d }), { name: 'Fault', fault: 'NodeNotFound', errno: 'ENOENT' })
  await t.rejects(async () => alice.list(d)[Symbol.asyncIterator]().next(), { name: 'Fault', errno: 'ENOENT' })
})

t.test('it keeps extended attributes and tells the space left', async (t) => {
  const file = child(HOME, 'x')
  await alice.put({ path: file }, () => parts('x'), { length: 1 })
  await alice.setXattr(file, 'user.colour', Buffer.from('grün'), 'create')
  t.same(await alice.xattrNames(file), ['user.colour'])
  t.equal(String(await alice.xattr(file, 'user.colour')), 'grün')
  await t.rejects(alice.setXattr(file, 'user.colour', Buffer.from('x'), 'create'), { name: 'Fault', errno: 'EEXIST' })
  await alice.removeXattr(file, 'user.colour')
  await t.rejects(alice.xattr(file, 'user.colour'), { name: 'Fault', errno: 'ENODATA' })
  t.equal((await alice.statfs(HOME)).nameMax, 255)
})

t.test('it meets the refusals of somebody else', async (t) => {
  await t.rejects(bob.entry({ path: child(HOME, 'x') }), { name: 'Fault', fault: 'PermissionDenied', errno: 'EACCES' })
  const put = bob.put({ path: child(HOME, 'y') }, () => parts(Buffer.alloc(1 << 22)), { length: 1 << 22 })
  await t.rejects(put, { name: 'Fault', fault: 'PermissionDenied', errno: 'EACCES' })
})

t.test('it reads a large file through a reader, and sees that it was replaced', async (t) => {
  const ref = { path: child(HOME, 'large') }
  const content = Buffer.alloc((6 << 20) + 7, 'karst ')
  const { id, contentVersion, size } = await alice.put(ref, () => parts(content), { length: content.length })
  const budget = new ReadBudget(16 << 20)
  const reader = new Reader({ remote: alice, ref: { ...ref, id }, contentVersion, size, budget })
  const got: Buffer[] = []
  for (let at = 0; at < size; at += 1 << 17) got.push(Buffer.concat(await reader.read(at, 1 << 17)))
  t.ok(Buffer.concat(got).equals(content))
  reader.close()
  const late = new Reader({ remote: alice, ref: { ...ref, id }, contentVersion, size, budget })
  await alice.put(ref, () => parts('short'), { length: 5 })
  await t.rejects(async () => late.read(0, 10), { name: 'Fault', fault: 'PreconditionFailed' })
  late.close()
  t.equal(budget.used, 0)
})
