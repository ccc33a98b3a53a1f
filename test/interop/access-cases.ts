/** vchmod, vlock and vtag. */
import { type Case, type VosClient } from './vos-client.ts'

/** The client says ivo://cadc.nrc.ca/gms, which is hard-wired into it; that means the groups of the site, and they come back as such. */
const group = (name: string): string => `ivo://karst.local/gms?${name}`

/** A container with two files, and a container with one more. */
async function tree(vos: VosClient): Promise<{ top: string; all: string[] }> {
  const top = await vos.container()
  await vos.make(`${top}/sub`)
  const files = [`${top}/a`, `${top}/b`, `${top}/sub/c`]
  for (const path of files) await vos.put(path)
  return { top, all: [top, `${top}/sub`, ...files] }
}

const property = async (vos: VosClient, path: string, name: string): Promise<string | undefined> =>
  [...(await vos.properties(path))].find(([uri]) => uri === name || uri.endsWith(`#${name}`))?.[1]

export const ACCESS_CASES: readonly Case[] = [
  {
    name: 'vchmod o+r and o-r make a node public and private',
    async run(t, vos) {
      const path = `${await vos.container()}/file`
      await vos.put(path)
      await vos.ok(t, 'vchmod', 'o+r', vos.uri(path))
      t.equal(await property(vos, path, 'ispublic'), 'true')
      await vos.ok(t, 'vchmod', 'o-r', vos.uri(path))
      t.equal(await property(vos, path, 'ispublic'), 'false')
    },
  },
  {
    name: 'vchmod grants groups, several at once, and takes them away; a group that is not there is refused',
    async run(t, vos) {
      const path = `${await vos.container()}/file`
      await vos.put(path)
      for (const name of ['A', 'B', 'C']) await vos.group(name)
      await vos.fails(t, undefined, /InvalidArgument|no group/, 'vchmod', 'g+r', vos.uri(path), 'none')
      await vos.ok(t, 'vchmod', 'g+r', vos.uri(path), 'collaborators')
      t.equal(await property(vos, path, 'groupread'), group('collaborators'))
      await vos.ok(t, 'vchmod', 'g+rw', vos.uri(path), 'A B', 'C')
      t.equal(await property(vos, path, 'groupread'), `${group('A')} ${group('B')}`)
      t.equal(await property(vos, path, 'groupwrite'), group('C'))
      t.match((await vos.ok(t, 'vls', '-l', vos.uri(path)))[0], /^-rw-rw---- +alice +\S+\?A \S+\?B +\S+\?C /)
      await vos.ok(t, 'vchmod', 'g-rw', vos.uri(path))
      t.equal(await property(vos, path, 'groupread'), undefined)
      t.equal(await property(vos, path, 'groupwrite'), undefined)
    },
  },
  {
    name: 'vchmod -R changes every node of a tree',
    async run(t, vos) {
      const { top, all } = await tree(vos)
      await vos.ok(t, 'vchmod', '-R', 'o+r', vos.uri(top))
      for (const path of all) t.equal(await property(vos, path, 'ispublic'), 'true', path)
      await vos.ok(t, 'vchmod', '-R', 'g+r', vos.uri(top), 'collaborators')
      for (const path of all) t.equal(await property(vos, path, 'groupread'), group('collaborators'), path)
      await vos.ok(t, 'vchmod', '-R', 'og-r', vos.uri(top))
      for (const path of all) t.equal(await property(vos, path, 'groupread'), undefined, path)
      for (const path of all) t.equal(await property(vos, path, 'ispublic'), 'false', path)
    },
  },
  {
    name: "vchmod of another's node is not allowed",
    async run(t, vos) {
      await vos.fails(t, undefined, /PermissionDenied/, 'vchmod', 'o+r', vos.uri('/home/bob'))
    },
  },
  {
    name: 'vlock locks, tells, and unlocks; a locked file is neither overwritten nor removed',
    async run(t, vos) {
      const path = `${await vos.container()}/file`
      await vos.put(path, 'held')
      await vos.fails(t, 255, /.*/, 'vlock', vos.uri(path))
      await vos.ok(t, 'vlock', '--lock', vos.uri(path))
      t.equal(await property(vos, path, 'islocked'), 'true')
      await vos.ok(t, 'vlock', vos.uri(path))
      await vos.fails(t, undefined, /PermissionDenied|NodeLocked/, 'vrm', vos.uri(path))
      await vos.fails(t, undefined, /PermissionDenied|NodeLocked/, 'vcp', '/etc/hostname', vos.uri(path))
      t.equal((await vos.bytes(path)).toString(), 'held')
      await vos.ok(t, 'vlock', '--unlock', vos.uri(path))
      t.equal(await property(vos, path, 'islocked'), undefined)
      await vos.ok(t, 'vrm', vos.uri(path))
    },
  },
  {
    name: 'vlock of a container keeps it as it is',
    async run(t, vos) {
      const c = await vos.container()
      await vos.ok(t, 'vlock', '--lock', vos.uri(c))
      await vos.fails(t, undefined, /PermissionDenied/, 'vmkdir', vos.uri(`${c}/x`))
      await vos.fails(t, undefined, /PermissionDenied/, 'vrmdir', vos.uri(c))
      await vos.ok(t, 'vlock', '--unlock', vos.uri(c))
      await vos.ok(t, 'vmkdir', vos.uri(`${c}/x`))
    },
  },
  {
    name: 'vtag sets, reads, lists and removes properties',
    async run(t, vos) {
      const path = `${await vos.container()}/file.txt`
      await vos.put(path)
      await vos.ok(t, 'vtag', vos.uri(path), 'quality=good', 'ivo://example.org/own#colour=très <bleu> & "vert"')
      t.equal(await property(vos, path, 'quality'), 'good')
      t.equal(await property(vos, path, 'colour'), 'très <bleu> & "vert"')
      t.equal(await property(vos, path, 'type'), 'text/plain', 'guessed by the client')
      t.same(await vos.ok(t, 'vtag', vos.uri(path), 'quality'), ["'good'"])
      t.match((await vos.ok(t, 'vtag', vos.uri(path))).join('\n'), /'length': '5'/)
      await vos.ok(t, 'vtag', vos.uri(path), 'quality=better')
      t.equal(await property(vos, path, 'quality'), 'better')
      await vos.ok(t, 'vtag', '--remove', vos.uri(path), 'quality')
      t.equal(await property(vos, path, 'quality'), undefined)
      t.equal((await vos.bytes(path)).toString(), 'text\n')
    },
  },
  {
    name: 'vtag puts properties on links, which the target does not get',
    async run(t, vos) {
      const c = await vos.container()
      await vos.put(`${c}/file`)
      await vos.ok(t, 'vln', vos.uri(`${c}/file`), vos.uri(`${c}/link`))
      await vos.ok(t, 'vtag', vos.uri(`${c}/link`), 'quality=good')
      t.equal(await property(vos, `${c}/file`, 'quality'), undefined)
      if (process.getuid?.() === 0) t.equal(await property(vos, `${c}/link`, 'quality'), 'good')
    },
  },
  {
    name: 'vtag -R sets and removes on every node of a tree',
    async run(t, vos) {
      const { top, all } = await tree(vos)
      await vos.ok(t, 'vtag', '-R', vos.uri(top), 'survey=one')
      for (const path of all) t.equal(await property(vos, path, 'survey'), 'one', path)
      await vos.ok(t, 'vtag', '-R', '--remove', vos.uri(top), 'survey')
      for (const path of all) t.equal(await property(vos, path, 'survey'), undefined, path)
    },
  },
]
