/** vmkdir, vrmdir, vrm, vmv and vln. */
import { type Case } from './vos-client.ts'

export const TREE_CASES: readonly Case[] = [
  {
    name: 'vmkdir makes one container, and -p those above it',
    async run(t, vos) {
      const c = await vos.container()
      await vos.ok(t, 'vmkdir', vos.uri(`${c}/one`))
      t.equal((await vos.document(`${c}/one`)).class, 'ContainerNode')
      await vos.ok(t, 'vmkdir', '-p', vos.uri(`${c}/p/q/r`))
      t.ok(await vos.exists(`${c}/p/q/r`))
      await vos.ok(t, 'vmkdir', '-p', vos.uri(`${c}/p/q/r`))
    },
  },
  {
    name: 'vmkdir ends with EEXIST, ENOENT, or is not allowed',
    async run(t, vos) {
      const c = await vos.container()
      await vos.fails(t, 17, /DuplicateNode/, 'vmkdir', vos.uri(c))
      await vos.fails(t, 2, /ContainerNotFound/, 'vmkdir', vos.uri(`${c}/no/way`))
      await vos.fails(t, undefined, /PermissionDenied/, 'vmkdir', vos.uri('/home/bob/x'))
    },
  },
  {
    name: 'vrmdir removes a container and nothing else',
    async run(t, vos) {
      const c = await vos.container()
      await vos.make(`${c}/sub`)
      await vos.put(`${c}/file`)
      await vos.ok(t, 'vrmdir', vos.uri(`${c}/sub`))
      await vos.fails(t, undefined, /not a container/i, 'vrmdir', vos.uri(`${c}/file`))
      t.same(await vos.children(c), ['file'])
    },
  },
  {
    name: 'vrm removes files and links, and of a link not what it leads to',
    async run(t, vos) {
      const c = await vos.container()
      await vos.put(`${c}/file`)
      await vos.put(`${c}/kept`)
      await vos.make(`${c}/sub`)
      await vos.ok(t, 'vln', vos.uri(`${c}/kept`), vos.uri(`${c}/link`))
      await vos.ok(t, 'vrm', vos.uri(`${c}/file`))
      await vos.ok(t, 'vrm', vos.uri(`${c}/link`))
      await vos.run('vrm', vos.uri(`${c}/sub`))
      t.same(await vos.children(c), ['kept', 'sub'], 'a container stays without -R')
      await vos.fails(t, 2, /NodeNotFound/, 'vrm', vos.uri(`${c}/file`))
    },
  },
  {
    name: 'vrm -R removes a whole tree, and a single file',
    async run(t, vos) {
      const c = await vos.container()
      for (const path of [`${c}/tree`, `${c}/tree/sub`, `${c}/tree/sub/low`]) await vos.make(path)
      for (let i = 0; i < 20; i++) await vos.put(`${c}/tree/sub/f${i}`)
      await vos.put(`${c}/kept`)
      await vos.ok(t, 'vln', vos.uri(`${c}/kept`), vos.uri(`${c}/tree/link`))
      await vos.ok(t, 'vrm', '-R', vos.uri(`${c}/tree`))
      t.same(await vos.children(c), ['kept'])
      await vos.ok(t, 'vrm', '-R', vos.uri(`${c}/kept`))
      t.same(await vos.children(c), [])
    },
  },
  {
    name: 'vrm -R says what it could not remove',
    async run(t, vos) {
      const c = await vos.container()
      await vos.make(`${c}/tree`)
      await vos.put(`${c}/tree/free`)
      await vos.put(`${c}/tree/held`)
      await vos.ok(t, 'vlock', '--lock', vos.uri(`${c}/tree/held`))
      const { stdout, stderr } = await vos.run('vrm', '-R', vos.uri(`${c}/tree`))
      t.match(stdout + stderr, /1/, 'one of two')
      t.same(await vos.children(`${c}/tree`), ['held'])
    },
  },
  {
    name: 'vmv renames, moves into a container, and takes whole trees',
    async run(t, vos) {
      const c = await vos.container()
      await vos.put(`${c}/file`, 'moved')
      await vos.make(`${c}/tree`)
      await vos.put(`${c}/tree/inside`, 'inside')
      await vos.make(`${c}/dest`)
      const before = await vos.properties(`${c}/file`)
      await vos.ok(t, 'vmv', vos.uri(`${c}/file`), vos.uri(`${c}/renamed`))
      t.equal((await vos.bytes(`${c}/renamed`)).toString(), 'moved')
      t.equal((await vos.properties(`${c}/renamed`)).get('MD5'), before.get('MD5'))
      await vos.ok(t, 'vmv', vos.uri(`${c}/renamed`), vos.uri(`${c}/dest`))
      await vos.ok(t, 'vmv', vos.uri(`${c}/tree`), vos.uri(`${c}/dest`))
      t.same(await vos.children(c), ['dest'])
      t.same(await vos.children(`${c}/dest`), ['renamed', 'tree'])
      t.equal((await vos.bytes(`${c}/dest/tree/inside`)).toString(), 'inside')
    },
  },
  {
    name: 'vmv moves a link and not its target',
    async run(t, vos) {
      const c = await vos.container()
      await vos.put(`${c}/file`)
      await vos.make(`${c}/dest`)
      await vos.ok(t, 'vln', vos.uri(`${c}/file`), vos.uri(`${c}/link`))
      await vos.ok(t, 'vmv', vos.uri(`${c}/link`), vos.uri(`${c}/dest`))
      t.same(await vos.children(c), ['dest', 'file'])
      t.match(await vos.document(`${c}/dest/link`), { class: 'LinkNode' })
    },
  },
  {
    name: 'vmv fails onto a file, into itself, of nothing and of what is not theirs, and changes nothing',
    async run(t, vos) {
      const c = await vos.container()
      for (const name of ['a', 'b']) await vos.put(`${c}/${name}`, name)
      await vos.make(`${c}/tree`)
      await vos.make(`${c}/tree/sub`)
      const move = (from: string, to: string, words: RegExp) =>
        vos.fails(t, undefined, words, 'vmv', vos.uri(from), vos.uri(to))
      await move(`${c}/a`, `${c}/b`, /DuplicateNode|exists/i)
      await move(`${c}/tree`, `${c}/tree/sub`, /./)
      await move(`${c}/none`, `${c}/x`, /NotFound|No such/i)
      await move(`${c}/a`, '/home/bob/a', /PermissionDenied|Permission denied/i)
      t.same(await vos.children(c), ['a', 'b', 'tree'])
      t.equal((await vos.bytes(`${c}/b`)).toString(), 'b')
    },
  },
  {
    name: 'vln makes links to nodes, to other services and to nothing, and none twice',
    async run(t, vos) {
      const c = await vos.container()
      await vos.put(`${c}/file`)
      const link = (target: string, name: string) => vos.ok(t, 'vln', target, vos.uri(`${c}/${name}`))
      await link(vos.uri(`${c}/file`), 'here')
      await link('http://www.example.com/x?y=1&z=2', 'web')
      await link('file:///data/local', 'local')
      await link(vos.uri(`${c}/later`), 'dangling')
      const target = async (name: string) => (await vos.document(`${c}/${name}`)).target
      t.equal(await target('here'), vos.uri(`${c}/file`))
      t.equal(await target('web'), 'http://www.example.com/x?y=1&z=2')
      t.equal(await target('local'), 'file:///data/local')
      t.equal(await target('dangling'), vos.uri(`${c}/later`))
      await vos.fails(t, undefined, /DuplicateNode/, 'vln', vos.uri(`${c}/file`), vos.uri(`${c}/here`))
    },
  },
]
