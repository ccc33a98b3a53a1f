/** A quota of nodes (`ceph.quota.max_files`) that somebody has set on a folder: what goes over it is refused over HTTP and in a mount, whole. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { debris } from '../conformance/posix-tree.ts'
import { fuseSkip } from '../parts.ts'
import { nodeDocument, run, sh, type Answer } from '../service/running.ts'
import { CephPlace } from './place.ts'
import { skip } from './tree.ts'

const place = skip === false ? new CephPlace() : undefined
t.teardown(() => place?.dispose())

t.test('a quota of nodes', { skip }, async (t) => {
  if (place === undefined) return
  const { ca, url, proxy } = await place.configure()
  await place.serve()
  const { ask } = place
  const survey = join(place.root, 'project/survey')
  const VOS = 'vos://karst.local~karst/project/survey'
  const put = async (name: string, body = 'bytes'): Promise<Answer> =>
    ask(`/files/project/survey/${name}`, { method: 'PUT', body })
  const make = async (name: string): Promise<Answer> =>
    ask(`/nodes/project/survey/${name}`, { method: 'PUT', headers: { 'content-type': 'text/xml' }, body: nodeDocument(`${VOS}/${name}`, 'ContainerNode') }) // prettier-ignore
  const setMax = async (count: number, dir = survey): Promise<string> => sh(`setfattr -n ceph.quota.max_files -v ${count} '${dir}'`) // prettier-ignore
  const names = (): string[] => readdirSync(survey).filter((name) => name !== '.karst')
  const left = (): string[] => debris(place.root, ['', 'project', 'project/survey'])

  /** Until the cluster has counted what is there, and the gateway tells of it: what is written before that may be one too many, or refused too early. */
  async function counted(): Promise<number> {
    const entries = async (): Promise<number> => Number(await sh(`getfattr --only-values -n ceph.dir.rentries '${survey}'`))
    const there = Number(await sh(`find '${survey}' | wc -l`))
    for (let tries = 0; (await entries()) !== there; tries++) {
      if (tries === 200) throw new Error(`${await entries()} are counted of ${there}`)
      await new Promise((done) => setTimeout(done, 100))
    }
    return there
  } // prettier-ignore

  /** So many more may be made. */
  async function limited(more: number): Promise<void> {
    await setMax((await counted()) + more)
  }

  t.equal((await make('d')).status, 201)
  t.equal((await put('d/f')).status, 201)

  await t.test('it is no quota of bytes', async (t) => {
    await limited(2)
    const shown = (await ask('/nodes/project/survey')).body.toString()
    t.notMatch(shown, /core#quota/)
    t.notMatch(shown, /core#availableSpace/i)
    const listed = JSON.parse((await ask('/fs/v1/statfs?path=/project/survey')).body.toString()) as Record<string, number>
    t.match(listed, { quota: null, filesFree: 2 })
    t.ok((listed['blocks'] ?? 0) * 4096 < 2 ** 50, 'as many bytes as the file system has')
  }) // prettier-ignore

  await t.test('over HTTP as many are made as are allowed; what is one too many is refused, and says why', async (t) => {
    await limited(2)
    for (const name of ['one', 'two']) {
      t.equal((await put(name)).status, 201, name)
      await counted()
    }
    const before = names()
    for (const refused of [await put('three'), await make('three'), await put('d/three')]) {
      t.equal(refused.status, 413)
      t.match(refused.body.toString(), /QuotaExceeded: \/project\/survey\/(d\/)?three: \d+ nodes are there, and 0 more are allowed/)
    }
    t.equal((await ask('/nodes/project/survey/three')).status, 404)
    t.same(names(), before)
    t.same(readdirSync(join(survey, 'd')), ['f'])
    t.same(left(), [])
    t.equal((await ask('/files/project/survey/one')).body.toString(), 'bytes', 'what is there is read')
  }) // prettier-ignore

  await t.test('for one that is deleted then, one more is made', async (t) => {
    t.equal((await ask('/nodes/project/survey/one', { method: 'DELETE' })).status, 200)
    t.notOk(names().includes('one'))
    await counted()
    t.equal((await put('three')).status, 201)
    await counted()
    t.equal((await put('four')).status, 413)
  })

  await t.test('in a mount it is EDQUOT, and statfs tells how many more', { skip: await fuseSkip() }, async (t) => {
    const dir = mkdtempSync('/tmp/karst-ceph-place-')
    const env = { KARST_MOUNT_STATE: join(place.karst.folder, 'driver') }
    const words = ['--ca', ca, '--url', url, '--certificate', proxy]
    const said = await run('bin/karst', ['mount', VOS, dir, ...words], { env })
    t.equal(said.code, 0, said.stderr)
    t.teardown(async () => {
      await run('bin/karst', ['umount', dir], { env })
      rmSync(dir, { recursive: true, force: true })
    })
    await limited(3)
    t.equal((await sh(`stat -f -c %d '${dir}'`)).trim(), '3')
    await sh(`cd '${dir}' && echo mounted > four && sync four`)
    await limited(0)
    const before = names()
    for (const step of ['mkdir five', 'ln -s four five', 'echo x > five && sync five', 'echo x > d/five && sync d/five']) {
      const ended = await run('sh', ['-c', `cd '${dir}' && ${step}`])
      t.match(ended.stderr, /quota exceeded/i, step)
    }
    t.same(names(), before)
    t.same([left(), readdirSync(join(survey, 'd'))], [[], ['f']])
    t.equal(await sh(`cat '${dir}/four'`), 'mounted\n')
    t.same((await sh(`ls '${dir}'`)).trim().split('\n'), before, 'nothing is half there for those in the mount either')
    await setMax(0)
    await sh(`cd '${dir}' && mkdir five && echo x > five/f && sync five/f`)
    t.equal(readFileSync(join(survey, 'five/f'), 'utf8'), 'x\n')
  }) // prettier-ignore

  await t.test('with a quota of bytes both are told', async (t) => {
    await sh(`setfattr -n ceph.quota.max_bytes -v 5000000 '${survey}'`)
    await limited(0)
    const refused = await put('six')
    t.equal(refused.status, 413)
    t.match(refused.body.toString(), /\d+ of 5000000 bytes are used, \d+ nodes are there, and \d+ more are allowed/)
    await setMax(0)
    await sh(`setfattr -n ceph.quota.max_bytes -v 0 '${survey}'`)
  })

  await t.test('on a folder below an allocation it is kept as well', async (t) => {
    await setMax(1, join(survey, 'd'))
    const refused = await put('d/g')
    t.equal(refused.status, 413)
    t.match(refused.body.toString(), /QuotaExceeded: \/project\/survey\/d\/g: \d+ nodes are there/)
    t.same(readdirSync(join(survey, 'd')), ['f'])
    t.same(left(), [])
  })
})
