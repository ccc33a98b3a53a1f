/** `npm start -- --tree DIR`: an existing tree served as it is, and left as it was. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { debris, notRoot, tmpfs, unavailable } from '../conformance/posix-tree.ts'
import { nodeDocument, Quickstart, removeUnmounted, run, sh } from './running.ts'

t.test('an existing tree is served, and stopping leaves it as it was', async (t) => {
  const karst = new Quickstart()
  t.teardown(() => karst.dispose())
  const tree = join(karst.folder, 'tree')
  mkdirSync(join(tree, 'sub dir/déep'), { recursive: true })
  writeFileSync(join(tree, 'sub dir/plain.txt'), 'as it is\n', { mode: 0o644 })
  writeFileSync(join(tree, 'sub dir/secret.txt'), 'mine\n', { mode: 0o600 })
  writeFileSync(Buffer.concat([Buffer.from(`${tree}/bad-`), Buffer.from([0xff, 0xfe])]), 'x')
  symlinkSync('sub dir/plain.txt', join(tree, 'inside'))
  symlinkSync('/etc/passwd', join(tree, 'outside'))
  await sh(`mkfifo '${tree}/fifo'`)
  utimesSync(join(tree, 'sub dir/plain.txt'), 1e9, 1e9)
  const look = (): Promise<string> =>
    sh(
      `cd '${tree}'; find . -printf '%p %y %m %s %T@ %U %l\\n' | LC_ALL=C sort; find . -type f -exec md5sum {} + | LC_ALL=C sort`,
    )
  const before = await look()

  const report = await karst.start(['--tree', tree])
  const listing = (await karst.ask('alice', '/nodes/')).body.toString()
  t.match(listing, /uri="vos:\/\/karst.local~karst\/sub%20dir"/)
  t.match(listing, /<vos:target>vos:\/\/karst.local~karst\/sub%20dir\/plain.txt<\/vos:target>/)
  t.match(listing, /<vos:target>file:\/\/\/etc\/passwd<\/vos:target>/)
  t.notMatch(listing, /fifo|bad-|\.karst/)
  t.equal((await karst.ask('alice', '/files/sub%20dir/plain.txt')).body.toString(), 'as it is\n')
  t.equal((await karst.ask('alice', '/files/inside')).body.toString(), 'as it is\n')
  t.equal((await karst.ask('alice', '/files/outside')).status, 400, 'a link out of the space is never followed')
  t.equal(
    (await karst.ask('alice', '/files/sub%20dir/secret.txt')).body.toString(),
    'mine\n',
    'the tree’s owner is alice here',
  )
  t.equal((await karst.ask('bob', '/files/sub%20dir/secret.txt')).status, 403)
  t.equal((await karst.ask(undefined, '/files/sub%20dir/plain.txt')).status, 200, 'public as its mode says')
  if (report.mount !== null) t.equal(await sh(`cat '${report.mount.path}/inside'`), 'as it is\n')

  t.equal(
    (await karst.ask('alice', '/files/sub%20dir/new', { method: 'PUT', body: readFileSync(report.ca) })).status,
    201,
  )
  t.equal(readFileSync(join(tree, 'sub dir/new'), 'utf8'), readFileSync(report.ca, 'utf8'), 'a plain file on disk')
  t.equal((await karst.ask('alice', '/nodes/sub%20dir/new', { method: 'DELETE' })).status, 200)
  utimesSync(join(tree, 'sub dir'), 1e9, 1e9)
  t.equal(await karst.stop(), 0)
  const drop = (text: string): string => text.replace(/^(\.|\.\/sub dir) d .*$/gm, '$1')
  t.equal(drop(await look()), drop(before))
})

t.test('a tree with the state in it, or in the state, is refused, and nothing is made', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'karst-apart-'))
  t.teardown(() => removeUnmounted(folder))
  mkdirSync(join(folder, 'a/b'), { recursive: true })
  const pairs = [
    ['a', 'a/state'],
    ['a', 'a'],
    ['a/b', 'a'],
  ]
  for (const [tree = '', state = ''] of pairs) {
    const said = await run(join(process.cwd(), 'bin/karst'), ['quickstart', '--tree', tree], {
      cwd: folder,
      env: { KARST_STATE: state, KARST_PORT: '0' },
    })
    t.match(said, { code: 1, stderr: /must stand apart; set KARST_STATE/ }, `${tree} and ${state}`)
  }
  t.same(readdirSync(folder, { recursive: true }).sort(), ['a', 'a/b'])
})

t.test('what cannot be used is said in one sentence, with what to do', async (t) => {
  const table: [args: string[], env: Record<string, string>, says: RegExp][] = [
    [['--tree', '/nowhere'], {}, /--tree: there is no folder \/nowhere/],
    [['--tree', ''], {}, /--tree: there is no folder ''/],
    [
      [],
      { KARST_STATE: '/etc/hostname' },
      /the state folder \/etc\/hostname cannot be used: it is no folder; set KARST_STATE/,
    ],
    [[], { KARST_PORT: 'x' }, /KARST_PORT is a port number/],
    [['--bogus'], {}, /Unknown option '--bogus'\nusage/],
  ]
  for (const [args, env, says] of table) {
    const said = await run('bin/karst', ['quickstart', ...args], { env })
    t.match(said.stderr, says)
    t.notMatch(said.stderr, /\n\s+at /, 'no stack')
    t.ok(said.code === 1 || said.code === 2)
  }
})

t.test(
  'a disk that is full is said to be so, keeps what it has, and is served',
  { skip: notRoot || unavailable(() => tmpfs('8m')) },
  async (t) => {
    const { dir, dispose } = tmpfs('8m')
    const karst = new Quickstart(['--no-mount', '--tree', dir])
    t.teardown(async () => {
      await karst.dispose()
      dispose()
    })
    await karst.start()
    const put = (name: string, body: string | Buffer, headers = {}) =>
      karst.ask('alice', `/files/${name}`, { method: 'PUT', body, headers })
    const said = async (asked: ReturnType<typeof put>): Promise<string> => {
      const { status, body } = await asked
      return `${status} ${body.toString().split(':')[0]}`
    }
    t.equal((await put('old', 'old')).status, 201)
    const large = Buffer.alloc(12 << 20, 'x')
    for (const name of ['old', 'new', 'old', 'new']) {
      t.equal(await said(put(name, large)), '413 QuotaExceeded', name)
      t.equal(
        await said(put(name, large, { 'transfer-encoding': 'chunked' })),
        '413 QuotaExceeded',
        `${name}, of no known length`,
      )
    }
    t.same(debris(dir), [])
    t.equal((await karst.ask('alice', '/files/old')).body.toString(), 'old')
    t.equal((await karst.ask('alice', '/nodes/new')).status, 404)

    const free = Number(await sh(`df --output=avail -B1 '${dir}' | tail -n 1`))
    t.equal((await put('filler', Buffer.alloc(free, 'x'))).status, 201, 'to the last byte')
    const body = nodeDocument('vos://karst.local~karst/old', 'DataNode', { 'urn:x:y': 'z'.repeat(60_000) })
    t.equal(await said(karst.ask('alice', '/nodes/old', { method: 'POST', body })), '413 QuotaExceeded')
    t.notMatch((await karst.ask('alice', '/nodes/old')).body.toString(), 'urn:x:y', 'nothing of it is kept')
    t.equal((await karst.ask('alice', '/nodes/filler', { method: 'DELETE' })).status, 200)
    t.same(
      debris(dir, ['', '.karst']).filter((path) => path.includes('staging')),
      [],
    )
  },
)
