// The text of an entry is what JSON.stringify makes of it, whatever stands in it; and it reads back.
import t from 'tap'
import { entryFromJson, entryText, entryToJson, type SeenEntry } from '../../src/codec/fs-v1.ts'
import { type NodeType } from '../../src/vospace/node.ts'
import { nodePath, type NodePath } from '../../src/vospace/path.ts'
import { evilText, many, random, text, type Random } from './codec-random.ts'

const any = (r: Random): string => `${text(r)}${r.once(3) ? `"\\${evilText(r)}` : ''}`

function entry(r: Random, path: NodePath): SeenEntry {
  const ns = (): bigint => BigInt(r.below(2 ** 31)) * 1_000_000_000n * (r.once(4) ? -1n : 1n) + BigInt(r.below(1e9))
  const type = r.pick<NodeType>(['container', 'data', 'link'])
  return {
    ...{ id: any(r), path, type, size: r.below(2) * 2 ** 50 + r.below(9), mode: r.below(4096) },
    ...{ uid: r.below(2 ** 32), gid: r.below(9), nlink: 1 + r.below(3), mtime: ns(), ctime: ns() },
    ...{ contentVersion: any(r), version: any(r), readable: r.once(2), writable: r.once(2), properties: new Map() },
    access: {
      ...{ owner: any(r), isPublic: r.once(2), inherit: r.once(2), locked: r.once(2) },
      groupRead: many(r, 3, () => any(r)),
      groupWrite: many(r, 2, () => any(r)),
    },
    ...(r.once(3) && { md5: any(r) }),
    ...(r.once(3) && { text: r.once(2) ? Buffer.from([0xff, r.below(256), 0xfe]) : Buffer.from(text(r)) }),
    ...(r.once(3) && { atime: ns() }),
    ...(r.once(3) && { hasAcl: true }),
    ...(r.once(3) && { special: { format: 0o010000, device: r.below(9) } }),
  }
}

void t.test('entries of every kind', (t) => {
  const r = random(20)
  for (let i = 0; i < 2000; i++) {
    const name = text(r).replace(/[/\0]/g, '') || 'n'
    const one = entry(r, nodePath(name === '.' || name === '..' ? '/a' : `/a/${name}`))
    const written = entryText(one)
    if (written !== JSON.stringify(entryToJson(one))) t.same(written, JSON.stringify(entryToJson(one)))
    const read = entryToJson(entryFromJson(JSON.parse(written)))
    if (JSON.stringify(read) !== written) t.same(JSON.stringify(read), written)
  }
  t.pass('all alike')
  t.end()
})

void t.test('what is no entry', (t) => {
  const good = JSON.parse(entryText({ ...entry(random(3), nodePath('/a')), atime: 5n })) as Record<string, unknown>
  t.ok(entryFromJson(good))
  const bad: Record<string, unknown>[] = [
    ...['size', 'mode', 'uid', 'gid', 'nlink'].flatMap((name) => ['1', 1.5, null].map((value) => ({ [name]: value }))),
    ...['mtime', 'ctime', 'atime'].flatMap((name) => [1, '1.5', '', '12345678901234567890'].map((value) => ({ [name]: value }))),
    ...[{ type: 'file' }, { id: 1 }, { path: '/a/../b' }, { path: 'a' }, { access: {} }, { owner: undefined }],
  ] // prettier-ignore
  for (const part of bad) t.throws(() => entryFromJson({ ...good, ...part }), { name: 'Fault' }, JSON.stringify(part))
  t.end()
})
