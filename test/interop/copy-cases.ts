/** vcp: bytes there and back. */
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Test } from 'tap'
import { type Case, type VosClient } from './vos-client.ts'

/** Above it the client sends the file before it knows its MD5 (wire.md 7.1). */
const LARGE = 6 << 20

const folderIn = (vos: VosClient): string => mkdtempSync(join(vos.folder, 'files-'))

/** Up and down again: the bytes at the gateway, and those that come back. */
async function thereAndBack(t: Test, vos: VosClient, bytes: Buffer): Promise<void> {
  const folder = folderIn(vos)
  const target = `${await vos.container()}/copied.bin`
  writeFileSync(join(folder, 'up'), bytes)
  await vos.ok(t, 'vcp', join(folder, 'up'), vos.uri(target))
  t.ok(bytes.equals(await vos.bytes(target)), 'the gateway has the bytes')
  const properties = await vos.properties(target)
  t.equal(properties.get('length'), String(bytes.length))
  t.equal(properties.get('MD5'), createHash('md5').update(bytes).digest('hex'))
  await vos.ok(t, 'vcp', vos.uri(target), join(folder, 'down'))
  t.ok(bytes.equals(readFileSync(join(folder, 'down'))), 'they come back')
  t.same(readdirSync(folder).sort(), ['down', 'up'], 'nothing else is left behind')
}

export const COPY_CASES: readonly Case[] = [
  { name: 'vcp brings a small file there and back', run: (t, vos) => thereAndBack(t, vos, Buffer.from('hello\n')) },
  { name: 'vcp brings an empty file there and back', run: (t, vos) => thereAndBack(t, vos, Buffer.alloc(0)) },
  { name: 'vcp brings 6 MiB there and back', run: (t, vos) => thereAndBack(t, vos, randomBytes(LARGE)) },
  {
    name: 'vcp overwrites, and an empty file too',
    async run(t, vos) {
      const folder = folderIn(vos)
      const target = `${await vos.container()}/file`
      const local = join(folder, 'local')
      for (const text of ['first', 'second, and longer', '', 'last']) {
        writeFileSync(local, text)
        await vos.ok(t, 'vcp', local, vos.uri(target))
        t.equal((await vos.bytes(target)).toString(), text)
      }
      writeFileSync(join(folder, 'down'), 'what was there before')
      await vos.ok(t, 'vcp', vos.uri(target), join(folder, 'down'))
      t.equal(readFileSync(join(folder, 'down'), 'utf8'), 'last')
    },
  },
  {
    name: 'vcp of the same bytes sends none, and keeps the properties',
    async run(t, vos) {
      const target = `${await vos.container()}/same`
      const local = join(folderIn(vos), 'local')
      writeFileSync(local, 'the same bytes')
      await vos.ok(t, 'vcp', local, vos.uri(target))
      await vos.ok(t, 'vtag', vos.uri(target), 'quality=good')
      const before = await vos.properties(target)
      await vos.ok(t, 'vcp', local, vos.uri(target))
      const after = await vos.properties(target)
      t.equal(after.get('content-date'), before.get('content-date'), 'no bytes were written')
      t.equal([...after].find(([uri]) => uri.endsWith('quality'))?.[1], 'good')
    },
  },
  {
    name: 'vcp copies several files into a container, and by a pattern out of it',
    async run(t, vos) {
      const folder = folderIn(vos)
      const c = await vos.container()
      const names = ['a.txt', 'b.txt', 'c.dat']
      for (const name of names) writeFileSync(join(folder, name), `of ${name}`)
      await vos.ok(t, 'vcp', ...names.map((name) => join(folder, name)), vos.uri(`${c}/`))
      t.same(await vos.children(c), names)
      const down = join(folder, 'down')
      mkdirSync(down)
      await vos.ok(t, 'vcp', vos.uri(`${c}/*.txt`), down)
      t.same(readdirSync(down).sort(), ['a.txt', 'b.txt'])
      t.equal(readFileSync(join(down, 'b.txt'), 'utf8'), 'of b.txt')
    },
  },
  {
    // up is for vsync: for that vcp asks the registry for a service of CADC's, whatever service the folder is to go to
    name: 'vcp brings a whole container down',
    async run(t, vos) {
      const folder = folderIn(vos)
      const c = await vos.container()
      for (const path of ['tree', 'tree/sub']) await vos.make(`${c}/${path}`)
      await vos.put(`${c}/tree/sub/low`, 'low')
      await vos.put(`${c}/tree/empty`, '')
      await vos.ok(t, 'vcp', vos.uri(`${c}/tree`), folder)
      t.equal(readFileSync(join(folder, 'tree', 'sub', 'low'), 'utf8'), 'low')
      t.equal(readFileSync(join(folder, 'tree', 'empty'), 'utf8'), '')
    },
  },
  {
    name: 'vcp takes names with blanks, plus, ampersand and letters of other alphabets',
    async run(t, vos) {
      const c = await vos.container()
      const local = join(folderIn(vos), 'local')
      writeFileSync(local, 'awkward')
      const name = 'sp ace é+&,;=日本.txt'
      await vos.ok(t, 'vcp', local, vos.uri(`${c}/${name}`))
      t.same(await vos.children(c), [name])
      t.same(await vos.ok(t, 'vcat', vos.uri(`${c}/${name}`)), ['awkward'])
    },
  },
  {
    name: 'vcp writes through a link, and reads through one',
    async run(t, vos) {
      const c = await vos.container()
      const folder = folderIn(vos)
      await vos.put(`${c}/file`, 'old')
      await vos.make(`${c}/sub`)
      await vos.ok(t, 'vln', vos.uri(`${c}/sub`), vos.uri(`${c}/way`))
      writeFileSync(join(folder, 'local'), 'by the way')
      await vos.ok(t, 'vcp', join(folder, 'local'), vos.uri(`${c}/way/new`))
      t.equal((await vos.bytes(`${c}/sub/new`)).toString(), 'by the way')
      await vos.ok(t, 'vcp', vos.uri(`${c}/way/new`), join(folder, 'down'))
      t.equal(readFileSync(join(folder, 'down'), 'utf8'), 'by the way')
    },
  },
  {
    name: 'vcp into what is not there or not theirs fails, and leaves nothing',
    async run(t, vos) {
      const c = await vos.container()
      const local = join(folderIn(vos), 'local')
      writeFileSync(local, 'x')
      await vos.fails(t, undefined, /NotFound/, 'vcp', local, vos.uri(`${c}/no/way`))
      await vos.fails(t, undefined, /PermissionDenied/, 'vcp', local, vos.uri('/home/bob/x'))
      await vos.fails(t, undefined, /NodeNotFound/, 'vcp', vos.uri(`${c}/none`), join(vos.folder, 'none'))
      t.same(await vos.children(c), [])
    },
  },
]
