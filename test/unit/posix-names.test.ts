import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { namesAsRead, namesInOrder } from '../../src/backend/posix/names.ts'
import { byteOrder } from '../../src/vospace/path.ts'

function planted(t: Test, names: readonly (string | Buffer)[]): { dir: number; path: string } {
  const path = mkdtempSync(join(tmpdir(), 'karst-names-'))
  for (const name of names) writeFileSync(Buffer.concat([Buffer.from(`${path}/`), Buffer.from(name)]), '')
  const dir = openSync(path, 'r')
  t.teardown(() => {
    closeSync(dir)
    rmSync(path, { recursive: true })
  })
  return { dir, path }
}

const numbered = (count: number): string[] => Array.from({ length: count }, (_, i) => `n${(i * 7919) % count}`)

t.test('byteOrder is the order of the UTF-8 bytes', async (t) => {
  const names = ['', 'a', 'ab', 'a\uffee', 'a😀', 'a\ud7ff', 'a\ue000', 'é', 'e\u0301', 'Z', '😀a', '😁', '\u{10ffff}']
  for (const a of names) {
    for (const b of names) {
      t.equal(Math.sign(byteOrder(a, b)), Buffer.compare(Buffer.from(a), Buffer.from(b)), `${a} ${b}`)
    }
  }
})

t.test('namesInOrder answers all names in order, however few it may hold', async (t) => {
  const names = [...numbered(500), '😀', '\uffee', 'é', '\ufffd', '-']
  const { dir } = planted(t, [...names, Buffer.from([0x66, 0xff, 0x66]), Buffer.from('\xff\xfe', 'latin1')])
  const sorted = names.sort(byteOrder)
  for (const most of [1, 2, 7, 252, 504, 505, 506, 10_000]) {
    const unservable = { count: 0 }
    const parts = await Array.fromAsync(namesInOrder(dir, undefined, unservable, most))
    t.same(parts.flat(), sorted, `at most ${most}`)
    t.ok(parts.every((part) => part.length <= most))
    t.equal(unservable.count, 2, 'what is no UTF-8 is counted once')
    if (most === 1) continue
    const from = 'n3'
    const later = await Array.fromAsync(namesInOrder(dir, from, { count: 0 }, most))
    t.same(
      later.flat(),
      sorted.filter((name) => byteOrder(name, from) >= 0),
    )
  }
  const none = planted(t, [])
  t.same(await Array.fromAsync(namesInOrder(none.dir, undefined, { count: 0 })), [[]])
})

t.test('namesInOrder reads the directory again for each part, when that is asked for', async (t) => {
  const { dir, path } = planted(t, numbered(100))
  const names = namesInOrder(dir, undefined, { count: 0 }, 40)
  const next = await names.next()
  const first = next.done === true ? [] : next.value
  t.same(first, numbered(100).sort(byteOrder).slice(0, 40))
  rmSync(join(path, 'n99'))
  writeFileSync(join(path, 'zzz'), '')
  const rest = (await Array.fromAsync(names)).flat()
  t.equal(rest.at(-1), 'zzz')
  t.notOk(rest.includes('n99'))
  t.equal(rest.length, 60)
})

t.test('namesAsRead answers each name once while what it has answered is removed', async (t) => {
  const { dir, path } = planted(t, numbered(3000))
  mkdirSync(join(path, 'folder'))
  const found: string[] = []
  for await (const names of namesAsRead(dir, { count: 0 })) {
    found.push(...names)
    for (const name of names) rmSync(join(path, name), { recursive: true })
  }
  t.same(found.sort(byteOrder), [...numbered(3000), 'folder'].sort(byteOrder))
})
