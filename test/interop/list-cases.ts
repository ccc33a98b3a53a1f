/** vls, vcat and what anonymous callers may. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Case, SPACE } from './vos-client.ts'

/** Fields of a line of `vls -l`: mode, owner, group read, group write, size, and last the name. */
const fields = (line = ''): string[] => line.split(/\s+/)

export const LIST_CASES: readonly Case[] = [
  {
    name: 'vls lists names in order, of the root, of a container, of a file, of an empty one',
    async run(t, vos) {
      const c = await vos.container()
      for (const name of ['b', 'a', 'é'].map((one) => `${c}/${one}`)) await vos.put(name)
      t.same(await vos.ok(t, 'vls', vos.uri(c)), ['a', 'b', '%C3%A9'], 'the client shows names as they stand in URIs')
      t.same(await vos.ok(t, 'vls', vos.uri(`${c}/`)), ['a', 'b', '%C3%A9'])
      t.same(await vos.ok(t, 'vls', vos.uri(`${c}/a`)), ['a'])
      t.same(await vos.ok(t, 'vls', SPACE), ['datasets', 'home', 'projects'])
      t.same(await vos.ok(t, 'vls', vos.uri(await vos.container())), [])
    },
  },
  {
    name: 'vls -l shows mode, owner, groups, size and name, and where a link leads',
    async run(t, vos) {
      const c = await vos.container()
      await vos.put(`${c}/file`, 'twelve bytes')
      await vos.make(`${c}/sub`, { 'ivo://ivoa.net/vospace/core#ispublic': 'true' })
      await vos.ok(t, 'vln', vos.uri(`${c}/file`), vos.uri(`${c}/link`))
      const lines = await vos.ok(t, 'vls', '-l', vos.uri(c))
      t.same(fields(lines[0]).slice(0, 5), ['-rw-------', 'alice', 'NONE', 'NONE', '12'])
      t.match(lines[1], /^lrw-+ .* link -> vos:\/\/karst\.local~karst.*\/file$/)
      t.match(lines[2], /^drw----r-- .* sub$/)
      t.equal(lines.length, 3)
    },
  },
  {
    name: 'vls -S, -t and -r sort by size and time, either way',
    async run(t, vos) {
      const c = await vos.container()
      for (const [name, size] of [
        ['first', 20],
        ['second', 30],
        ['third', 10],
      ] as const)
        // prettier-ignore
        await vos.put(`${c}/${name}`, 'x'.repeat(size))
      const listed = (...words: string[]) => vos.ok(t, 'vls', ...words, vos.uri(c))
      t.same(await listed('-S'), ['second', 'first', 'third'])
      t.same(await listed('-S', '-r'), ['third', 'first', 'second'])
      t.same(await listed('-t'), ['third', 'second', 'first'])
      t.same(await listed('-t', '-r'), ['first', 'second', 'third'])
      t.same(await listed('-r'), ['third', 'second', 'first'])
      t.same(
        (await listed('-l', '-S')).map((line) => fields(line)[4]),
        ['30', '20', '10'],
      )
    },
  },
  {
    name: 'vls takes patterns',
    async run(t, vos) {
      const c = await vos.container()
      for (const name of ['a.txt', 'b.txt', 'c.fits']) await vos.put(`${c}/${name}`)
      t.same(await vos.ok(t, 'vls', vos.uri(`${c}/*.txt`)), ['a.txt', 'b.txt'])
      t.same(await vos.ok(t, 'vls', vos.uri(`${c}/?.f*`)), ['c.fits'])
      await vos.make(`${c}/sub`)
      await vos.put(`${c}/sub/inside`)
      t.same(await vos.ok(t, 'vls', vos.uri(`${c}/s*`)), ['inside'])
    },
  },
  {
    name: 'vls of what is not there ends with ENOENT',
    async run(t, vos) {
      await vos.fails(t, 2, /NodeNotFound/, 'vls', vos.uri(`${vos.home}/nowhere`))
    },
  },
  {
    name: 'vls takes both separators in a URI',
    async run(t, vos) {
      const c = await vos.container()
      await vos.put(`${c}/a`)
      t.same(await vos.ok(t, 'vls', vos.uri(c).replace('~', '!')), ['a'])
    },
  },
  {
    name: 'short names of a service work by the configuration file',
    async run(t, vos) {
      const c = await vos.container()
      const file = join(vos.folder, 'vos-config')
      writeFileSync(file, '[vos]\nresourceID = ivo://cadc.nrc.ca/vault vos\n    ivo://karst.local/karst karst\n')
      const made = await vos.runByName(file, 'vmkdir', `karst:${c.slice(1)}/short`)
      t.equal(made.code, 0, made.stderr)
      t.same(await vos.children(c), ['short'])
      const listed = await vos.runByName(file, 'vls', `karst:${c.slice(1)}`)
      t.match(listed, { code: 0, stdout: /^short\n/ })
    },
  },
  {
    name: 'vcat writes the bytes, through links too, and fails for what is not there',
    async run(t, vos) {
      const c = await vos.container()
      await vos.put(`${c}/file`, 'one\ntwo\n')
      await vos.ok(t, 'vln', vos.uri(`${c}/file`), vos.uri(`${c}/link`))
      t.same(await vos.ok(t, 'vcat', vos.uri(`${c}/file`)), ['one', 'two'])
      t.same(await vos.ok(t, 'vcat', vos.uri(`${c}/link`)), ['one', 'two'])
      await vos.fails(t, 2, /NodeNotFound/, 'vcat', vos.uri(`${c}/nothing`))
    },
  },
  {
    name: 'without a certificate what is public is listed and read, and nothing else done',
    async run(t, vos) {
      const sample = vos.uri('/datasets/sample')
      const listed = await vos.runAs('', 'vls', sample)
      t.match(listed, { code: 0, stdout: 'README.txt\nstars.fits\n' })
      const local = join(vos.folder, 'anonymous.fits')
      t.equal((await vos.runAs('', 'vcp', `${sample}/stars.fits`, local)).code, 0)
      t.match(await vos.runAs('', 'vmkdir', `${sample}/x`), { code: 255, stderr: /PermissionDenied/ })
      t.not((await vos.runAs('', 'vcat', vos.uri(`${await vos.container()}/x`))).code, 0)
    },
  },
]
