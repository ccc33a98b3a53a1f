/** The main job, end to end, as a newcomer has it: `npm start`, curl with a proxy certificate, and the mount. */
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fuseSkip, needs } from '../parts.ts'
import { nodeDocument, Quickstart, run, sh } from './running.ts'

const AUTHORITY = 'vos://karst.local~karst'
const GROUP_READ = 'ivo://ivoa.net/vospace/core#groupread'
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
const noFuse = await fuseSkip()
const noCurl = needs('curl')

const karst = new Quickstart()
t.before(async () => {
  await karst.start()
})
t.teardown(() => karst.dispose())

const home = (): string => karst.report.mount?.path ?? ''
const read = async (user: string, path: string): Promise<string> =>
  (await karst.ask(user, `/files${path}`)).body.toString()

t.test('quickstart.json says all that a client needs', async (t) => {
  const report = karst.report
  t.match(report, { resourceId: 'ivo://karst.local/karst', groups: [/^ivo:\/\//], pid: Number })
  t.match(report.url, /^https:\/\/localhost:\d+\/karst$/)
  for (const { certificate, proxy } of Object.values(report.users)) {
    for (const file of [certificate, proxy]) {
      t.equal(statSync(file).mode & 0o777, 0o600)
      t.match(readFileSync(file, 'utf8'), /CERTIFICATE-----[\s\S]*BEGIN RSA PRIVATE KEY[\s\S]*BEGIN CERTIFICATE/)
    }
  }
  t.match(
    (await karst.ask(undefined, report.registry)).body.toString(),
    `${report.resourceId} = ${report.url}/capabilities`,
  )
})

t.test('every curl line it prints works when pasted', { skip: noCurl }, async (t) => {
  const lines = karst.output.split('\n').filter((line) => /^ {2}.*curl/.test(line))
  t.ok(lines.length >= 4, karst.output)
  const place = join(karst.folder, 'pasted')
  mkdirSync(place)
  for (const line of lines) {
    if (line.includes('hello.txt')) continue // after the echo into the mount, tested below
    const said = await run('sh', ['-c', line.replaceAll('curl ', 'curl -sSf ')], { cwd: place })
    t.equal(said.code, 0, `${line}\n${said.stderr}`)
  }
  t.equal(await read('alice', '/home/alice/note.txt'), 'hello from alice\n')
})

t.test(
  'a container, 100 MB with a digest, a range of it, and the same bytes through the mount',
  { skip: noCurl },
  async (t) => {
    const document = nodeDocument(`${AUTHORITY}/home/alice/data`, 'ContainerNode')
    const made = await karst.curl(
      'alice',
      '/nodes/home/alice/data',
      '-X',
      'PUT',
      '-H',
      'Content-Type: text/xml',
      '-d',
      document,
    )
    t.equal(made.status, 201, made.body.toString())
    const bytes = randomBytes(100_000_000)
    const file = join(karst.folder, 'big')
    writeFileSync(file, bytes)
    const md5 = createHash('md5').update(bytes).digest('base64')
    const put = await karst.curl('alice', '/files/home/alice/data/big.bin', '-T', file, '-H', `Digest: md5=${md5}`)
    t.equal(put.status, 201, put.body.toString())
    const part = await karst.curl('alice', '/files/home/alice/data/big.bin', '-r', '50000000-50000999')
    t.equal(part.status, 206)
    t.equal(part.headers.get('content-range'), 'bytes 50000000-50000999/100000000')
    t.ok(part.body.equals(bytes.subarray(50_000_000, 50_001_000)))
    t.test('through the mount', { skip: noFuse }, async (t) => {
      t.equal((await sh(`sha256sum < '${home()}/data/big.bin'`)).slice(0, 64), sha256(bytes))
    })
  },
)

t.test('a wrong digest stores nothing', { skip: noCurl }, async (t) => {
  const put = await karst.curl(
    'alice',
    '/files/home/alice/wrong',
    '-T',
    karst.report.ca,
    '-H',
    'Digest: md5=AAAAAAAAAAAAAAAAAAAAAA==',
  )
  t.equal(put.status, 412)
  t.equal((await karst.curl('alice', '/nodes/home/alice/wrong?limit=0')).status, 404)
})

t.test('bob may read what alice shares, as long as she shares it', { skip: noCurl }, async (t) => {
  await karst.curl('alice', '/files/home/alice/private.txt', '-T', karst.report.ca)
  const share = async (value: string | null): Promise<number> => {
    const document = nodeDocument(`${AUTHORITY}/home/alice/private.txt`, 'DataNode', { [GROUP_READ]: value })
    return (
      await karst.curl(
        'alice',
        '/nodes/home/alice/private.txt',
        '-X',
        'POST',
        '-H',
        'Content-Type: text/xml',
        '-d',
        document,
      )
    ).status
  }
  const bob = async (): Promise<number> => (await karst.curl('bob', '/files/home/alice/private.txt')).status
  t.equal(await bob(), 403)
  t.equal(await share(karst.report.groups[0] ?? ''), 200)
  t.equal(await bob(), 200)
  t.equal(await share(null), 200)
  t.equal(await bob(), 403)
  t.equal((await karst.curl(undefined, '/files/home/alice/private.txt')).status, 403, 'anonymous neither')
})

t.test('through the mount', { skip: noFuse }, async (t) => {
  t.test('what is written, appended, renamed over and truncated reads back over HTTPS', async (t) => {
    await sh(
      `cd '${home()}'; printf one > w; printf two >> w; printf other > o; mv o w2; printf base > over; mv w2 over; printf 0123456789 > cut; truncate -s 4 cut`,
    )
    t.equal(await read('alice', '/home/alice/w'), 'onetwo')
    t.equal(await read('alice', '/home/alice/over'), 'other')
    t.equal(await read('alice', '/home/alice/cut'), '0123')
    t.equal((await karst.ask('alice', '/nodes/home/alice/w2?limit=0')).status, 404)
  })

  t.test('modes and times survive', async (t) => {
    await sh(`cd '${home()}'; printf x > m; chmod 0750 m; touch -d '2001-02-03 04:05:06.789012345 UTC' m`)
    t.equal(
      (await sh(`stat -c '%a %y' '${home()}/m'`, { env: { TZ: 'UTC' } })).trim(),
      '750 2001-02-03 04:05:06.789012345 +0000',
    )
  })

  t.test('git clones, gc and fsck run', { skip: needs('git') }, async (t) => {
    const repo = join(karst.folder, 'repo')
    await sh(
      `git init -q '${repo}'; cd '${repo}'; for i in 1 2 3; do echo $i > f$i; git add .; git -c user.name=alice -c user.email=alice@karst.invalid commit -qm $i; done`,
    )
    await sh(
      `git clone -q '${repo}' '${home()}/clone'; cd '${home()}/clone'; git gc -q; git fsck --strict; git status --porcelain`,
    )
    t.equal((await sh(`git -C '${home()}/clone' log --oneline | wc -l`)).trim(), '3')
  })

  t.test('a sqlite database works', { skip: needs('python3 with sqlite3') }, async (t) => {
    const script = `import sqlite3, sys
c = sqlite3.connect(sys.argv[1]); c.execute('create table t(a int, b text)')
for i in range(200):
    c.execute('insert into t values(?, ?)', (i, 'x' * 500))
    if i % 20 == 0: c.commit()
c.commit(); c.execute('delete from t where a % 3 = 0'); c.commit(); c.execute('vacuum'); c.close()
c = sqlite3.connect(sys.argv[1]); print(c.execute('pragma integrity_check').fetchone()[0], c.execute('select count(*) from t').fetchone()[0])`
    t.equal((await sh(`python3 -c "$SCRIPT" '${home()}/db.sqlite'`, { env: { SCRIPT: script } })).trim(), 'ok 133')
  })

  t.test('tar extracts what it packed', async (t) => {
    const tree = join(karst.folder, 'totar')
    await sh(
      `mkdir -p '${tree}/a/b'; cd '${tree}'; for i in $(seq 200); do head -c $((i * 37)) /dev/urandom > a/b/f$i; done; ln -s b/f1 a/link; chmod 0755 a/b/f2; touch -d '2010-01-01 UTC' a/b/f3`,
    )
    await sh(`tar -C '${tree}' -cf - . | tar -C '${home()}' --one-top-level=untarred -xpf -`)
    await sh(`diff -r --no-dereference '${tree}' '${home()}/untarred'`)
    t.equal(
      (await sh(`cd '${home()}/untarred/a/b'; stat -c '%a %Y' f2 f3 | cut -d' ' -f1 | head -1; stat -c %Y f3`)).trim(),
      '755\n1262304000',
    )
  })

  t.test('rmdir refuses what is not empty', async (t) => {
    await sh(`mkdir '${home()}/full'; touch '${home()}/full/x'`)
    t.match((await run('rmdir', [`${home()}/full`])).stderr, /not empty/i)
    t.equal((await karst.ask('alice', '/nodes/home/alice/full/x?limit=0')).status, 200)
  })

  t.test('of many exclusive creates, through both doors, one wins', async (t) => {
    for (let round = 0; round < 5; round++) {
      const name = `race${round}`
      const local = Array.from({ length: 10 }, () =>
        run('sh', ['-c', `set -C; echo x > '${home()}/${name}'`]).then((e) => e.code === 0),
      )
      const remote = Array.from({ length: 5 }, () =>
        karst
          .ask('alice', `/files/home/alice/${name}`, { method: 'PUT', headers: { 'if-none-match': '*' }, body: 'x' })
          .then((a) => a.status === 201),
      )
      const won = (await Promise.all([...local, ...remote])).filter(Boolean).length
      t.equal(won, 1)
    }
  })
})

t.test('a repeated operation id changes nothing', { skip: noCurl }, async (t) => {
  const id = 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6'
  const post = (what: string, body: object, operation: string): ReturnType<Quickstart['curl']> =>
    karst.curl(
      'alice',
      `/fs/v1/${what}`,
      '-H',
      'Content-Type: application/json',
      '-H',
      `Operation-Id: ${operation}`,
      '-d',
      JSON.stringify(body),
    )
  const first = await post('mkdir', { path: '/home/alice/once' }, id)
  t.equal(first.status, 201, first.body.toString())
  const again = await post('mkdir', { path: '/home/alice/once' }, id)
  t.same([again.status, again.body.toString()], [first.status, first.body.toString()])
  const other = await post('mkdir', { path: '/home/alice/once' }, 'f81d4fae-7dec-11d0-a765-00a0c91e6bf7')
  t.equal(other.status, 409)
  t.match(JSON.parse(other.body.toString()), { fault: 'DuplicateNode', errno: 'EEXIST' })
})

t.test('a second quickstart with the same state is refused in one sentence', async (t) => {
  const second = await run('bin/karst', ['quickstart'], { env: { KARST_STATE: karst.state, KARST_PORT: '0' } })
  t.equal(second.code, 1)
  t.match(second.stderr, /running already/)
})

t.test('it stops on SIGTERM with nothing left mounted, and goes on with its state', async (t) => {
  const before = karst.report
  const put = await karst.ask('alice', '/files/home/alice/lasting', { method: 'PUT', body: 'from before' })
  t.equal(put.status, 201)
  t.equal(await karst.stop(), 0, karst.output)
  t.notMatch(karst.output, /Warning/, 'nor has Node warned of anything in all that was done above')
  t.notOk(existsSync(join(karst.state, 'quickstart.json')))
  t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), karst.state)
  const after = await karst.start()
  t.same({ ...after, pid: 0, url: '', registry: '' }, { ...before, pid: 0, url: '', registry: '' })
  t.equal(await read('alice', '/home/alice/lasting'), 'from before')
})
