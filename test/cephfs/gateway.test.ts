/** A gateway with two storages, one of them CephFS: over HTTP, by its jobs, in a mount, and when it is lost. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fuseSkip } from '../parts.ts'
import { request, run, sh, type Ended } from '../service/running.ts'
import { CephPlace } from './place.ts'
import { skip } from './tree.ts'

const place = skip === false ? new CephPlace() : undefined
t.teardown(() => place?.dispose())

t.test('a gateway over a tree and CephFS', { skip }, async (t) => {
  if (place === undefined) return
  const { ca, url, proxy, other } = await place.configure()
  const { root, karst } = place
  await place.serve()
  const ask = place.ask

  await t.test('both are listed, and bytes go where the path says', async (t) => {
    t.match((await ask('/nodes/')).body.toString(), /karst\/project"/)
    t.equal((await ask('/files/project/survey/f', { method: 'PUT', body: 'on ceph' })).status, 201)
    t.equal(readFileSync(join(root, 'project/survey/f'), 'utf8'), 'on ceph')
    t.equal((await ask('/files/project/survey/f')).body.toString(), 'on ceph')
    t.equal((await ask('/nodes/project/survey/.snap')).status, 403)
  })

  await t.test('a quota refuses with numbers, and is shown', async (t) => {
    await sh(`setfattr -n ceph.quota.max_bytes -v 5000000 '${root}/project/survey'`)
    const refused = await ask('/files/project/survey/big', { method: 'PUT', body: Buffer.alloc(6_000_000) })
    t.equal(refused.status, 413)
    t.match(refused.body.toString(), /QuotaExceeded: 6000000 bytes more do not fit .* quota, \d+ bytes/)
    t.match((await ask('/nodes/project/survey')).body.toString(), /core#quota"[^>]*>5000000</)
  })

  await t.test('a move from one to the other takes the bytes along', async (t) => {
    t.equal((await ask('/files/home/alice/m', { method: 'PUT', body: 'moves' })).status, 201)
    const moved = async (from: string, to: string): Promise<string> => {
      const [target, direction] = [from, to].map((path) => `vos://karst.local~karst${path}`)
      const body = `<vos:transfer xmlns:vos="http://www.ivoa.net/xml/VOSpace/v2.0" version="2.1"><vos:target>${target}</vos:target><vos:direction>${direction}</vos:direction><vos:keepBytes>false</vos:keepBytes></vos:transfer>`
      const made = await ask('/transfers?PHASE=RUN', { method: 'POST', headers: { 'content-type': 'text/xml' }, body })
      const job = new URL(made.headers.get('location') ?? '').pathname.replace(/^\/karst/, '')
      return /<uws:phase>(\w+)</.exec((await ask(`${job}?WAIT=20`)).body.toString())?.[1] ?? ''
    }
    t.equal(await moved('/home/alice/m', '/project/survey/moved'), 'COMPLETED')
    t.equal(readFileSync(join(root, 'project/survey/moved'), 'utf8'), 'moves')
    t.equal((await ask('/nodes/home/alice/m')).status, 404)
    // within CephFS, a directory into a quota: EXDEV as well
    await sh(`mkdir '${root}/project/open/d' && chown --reference='${root}/project/open' '${root}/project/open/d'`)
    t.equal((await ask('/files/project/open/d/f', { method: 'PUT', body: 'below' })).status, 201)
    t.equal(await moved('/project/open/d', '/project/survey/came'), 'COMPLETED')
    t.equal(readFileSync(join(root, 'project/survey/came/f'), 'utf8'), 'below')
    t.equal((await ask('/nodes/project/open/d')).status, 404)
  })

  await t.test('the owner of an allocation has snapshots, reads them, and restores from them', async (t) => {
    const cli = async (...words: string[]): Promise<Ended> =>
      run('bin/karst', ['snapshots', ...words, '--url', url, '--ca', ca, '--certificate', proxy])
    const uri = 'vos://karst.local~karst/project/open'
    const put = async (path: string, body: string): Promise<number> =>
      (await ask(`/files/project/open/${path}`, { method: 'PUT', body })).status
    await sh(`mkdir -p '${root}/project/open/d/e' && chown -R --reference='${root}/project/open' '${root}/project/open/d'`)
    for (const [path, body] of [['d/e/f', 'old'], ['d/gone', 'gone'], ['top', 'top']] as const) t.equal(await put(path, body), 201) // prettier-ignore
    t.match(await cli('create', uri, 'one'), { code: 0, stdout: /^one  20\d\d-.*Z\n$/ })
    t.match(await cli('create', `${uri}/d`, 'one'), { code: 1, stderr: /DuplicateNode/ })
    t.match(await cli('create', uri, '_one'), { code: 1, stderr: /InvalidArgument/ })
    t.equal(await put('d/e/f', 'new'), 201)
    t.equal((await ask('/nodes/project/open/d/gone', { method: 'DELETE' })).status, 200)
    t.equal(await put('d/later', 'later'), 201)
    t.equal((await ask('/files/project/open/d/e/f?snapshot=one')).body.toString(), 'old')
    const listed = (await ask('/nodes/project/open/d?snapshot=one')).body.toString()
    t.match([/open\/d\/gone"/, /open\/d\/later"/].map((name) => name.test(listed)), [true, false])
    t.notMatch((await ask('/nodes/project/open?snapshot=one')).body.toString(), /open\/\.karst/)
    for (const path of ['/nodes/project/open/.karst?snapshot=one', '/files/project/open/d/e/f?snapshot=two'])
      t.equal((await ask(path)).status, 404)
    t.equal((await ask('/files/project/open/d/e/f?snapshot=one', { method: 'PUT', body: 'x' })).status, 403)
    t.equal((await ask('/files/project/open/d/e/f')).body.toString(), 'new', 'what is now has not changed')
    t.equal((await request(`${url}/files/project/open/d/e/f?snapshot=one`, ca, other)).status, 403, 'not bob’s')

    t.match(await cli('restore', `${uri}/d`, 'one', '--to', '/project/open/back'), { code: 0, stdout: /back: 4 nodes as they were\n/ })
    t.equal(readFileSync(join(root, 'project/open/back/e/f'), 'utf8'), 'old')
    t.match(await cli('restore', `${uri}/d`, 'one'), { code: 0 })
    const d = join(root, 'project/open/d')
    t.same([readFileSync(join(d, 'e/f'), 'utf8'), readFileSync(join(d, 'gone'), 'utf8'), existsSync(join(d, 'later'))], ['old', 'gone', false])
    t.equal(statSync(d).uid, statSync(join(root, 'project/open')).uid)
    const { items } = JSON.parse((await ask('/trash?path=/project/open')).body.toString()) as { items: { id: string; path: string }[] }
    const before = items.find(({ path }) => path === '/project/open/d')
    t.ok(before, 'what stood there waits in the trash')
    t.match(await cli('restore', uri, 'one'), { code: 1, stderr: /InvalidArgument/ })
    t.match(await cli('restore', `${uri}/none`, 'one'), { code: 1, stderr: /NodeNotFound.*nothing has changed/ })
    t.match(await cli('list', `${uri}/d`), { code: 0, stdout: /^one  20/ })
    t.match(await cli('remove', uri, 'one'), { code: 0 })
    t.match(await cli('list', uri, '--json'), { code: 0, stdout: '[]\n' })
    t.match(await cli('list', 'vos://karst.local~karst/home/alice'), { code: 1, stderr: /OperationNotSupported: the storage .* no snapshots/ })
    t.same(readdirSync(join(root, 'project/open')).filter((name) => name.startsWith('.karst-copy')), [])
  }) // prettier-ignore

  await t.test('in a mount it is a file system', { skip: await fuseSkip() }, async (t) => {
    const dir = mkdtempSync('/tmp/karst-ceph-place-')
    const env = { KARST_MOUNT_STATE: join(karst.folder, 'driver') }
    const words = ['--ca', ca, '--url', url, '--certificate', proxy]
    const said = await run('bin/karst', ['mount', 'vos://karst.local~karst/project/survey', dir, ...words], { env })
    t.equal(said.code, 0, said.stderr)
    t.teardown(async () => {
      await run('bin/karst', ['umount', dir], { env })
      rmSync(dir, { recursive: true, force: true })
    })
    t.equal(await sh(`cat '${dir}/f'`), 'on ceph')
    await sh(`cd '${dir}' && mkdir d && echo mounted > d/g && mv d e && ln -s e/g l && sync e/g`)
    t.equal(readFileSync(join(root, 'project/survey/e/g'), 'utf8'), 'mounted\n')
    const full = await run('sh', ['-c', `head -c 8000000 /dev/zero > '${dir}/big'`])
    t.match(full.stderr, /quota exceeded/i)
  })

  t.match((await ask('/availability')).body.toString(), /<vosi:available>true</)
})
