/** vsync: a local folder to a container. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Case, type VosClient } from './vos-client.ts'

/** A folder `D` with files of all sizes on three levels. */
function localTree(vos: VosClient): string {
  const folder = join(mkdtempSync(join(vos.folder, 'sync-')), 'D')
  mkdirSync(join(folder, 'sub', 'low'), { recursive: true })
  writeFileSync(join(folder, 'one'), 'one')
  writeFileSync(join(folder, 'empty'), '')
  writeFileSync(join(folder, 'sub', 'two'), 'two')
  writeFileSync(join(folder, 'sub', 'low', 'large'), Buffer.alloc(6 << 20, 'large'))
  for (let i = 0; i < 8; i++) writeFileSync(join(folder, 'sub', `n${i}`), `number ${i}`)
  return folder
}

export const SYNC_CASES: readonly Case[] = [
  {
    name: 'vsync -r brings a tree there, and again only what has changed',
    async run(t, vos) {
      const c = await vos.container()
      const local = localTree(vos)
      await vos.ok(t, 'vsync', '-r', '--nstreams', '4', local, vos.uri(c))
      t.same(await vos.children(`${c}/D`), ['empty', 'one', 'sub'])
      t.equal((await vos.children(`${c}/D/sub`)).length, 10)
      t.ok(Buffer.alloc(6 << 20, 'large').equals(await vos.bytes(`${c}/D/sub/low/large`)))
      const before = await vos.properties(`${c}/D/one`)
      writeFileSync(join(local, 'sub', 'two'), 'two, changed')
      await vos.ok(t, 'vsync', '-r', local, vos.uri(c))
      t.equal((await vos.bytes(`${c}/D/sub/two`)).toString(), 'two, changed')
      t.equal((await vos.properties(`${c}/D/one`)).get('content-date'), before.get('content-date'))
    },
  },
  {
    name: 'vsync of single files leaves the others out',
    async run(t, vos) {
      const c = await vos.container()
      const local = localTree(vos)
      await vos.ok(t, 'vsync', join(local, 'one'), join(local, 'empty'), vos.uri(c))
      t.same(await vos.children(c), ['empty', 'one'])
      t.equal((await vos.bytes(`${c}/one`)).toString(), 'one')
    },
  },
]
