/** What is published works where it is installed: packed, installed in another folder, run there. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { run, sh } from './running.ts'

const folder = mkdtempSync(join(tmpdir(), 'karst-package-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

t.setTimeout(280_000)
const registry = await run('npm', ['view', 'saxes', 'version', '--fetch-retries=0'], { limit: 30_000 })
const skip = registry.code === 0 ? false : 'needs an npm registry that answers'

t.test('the packed tarball, installed elsewhere, runs', { skip }, async (t) => {
  await sh(`npm pack --ignore-scripts=false --silent --pack-destination '${folder}'`, { limit: 240_000 })
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? ''
  const listed = (await sh(`tar -tzf '${join(folder, tarball)}'`)).split('\n')
  t.ok(listed.includes('package/dist/src/main.js') && listed.includes('package/schemas/config.schema.json'))
  t.same(
    listed.filter((name) => /\/(test|node_modules|src\/.*\.ts)\b/.test(name) && !name.startsWith('package/dist')),
    [],
  )
  t.same(
    listed.filter((name) => name.startsWith('package/dist/test')),
    [],
  )

  const place = join(folder, 'elsewhere')
  await sh(
    `mkdir '${place}'; cd '${place}'; npm init -y >/dev/null; npm install --omit=dev --no-audit --no-fund --ignore-scripts --silent '../${tarball}'`,
    {
      limit: 300_000,
    },
  )
  const said = await run(join(place, 'node_modules/.bin/karst'), ['--version'], { cwd: '/' })
  t.match(said, { code: 0, stdout: /^karst \d+\.\d+\.\d+\n$/, stderr: '' })

  const help = await run(join(place, 'node_modules/.bin/karst'), ['serve', '--config', '/nowhere.json'])
  t.match(help, { code: 1, stderr: /nowhere\.json/ })
  await rejectsNothing(t, place)
})

/** The whole of it loads: a gateway comes up and goes down from the installed package. */
async function rejectsNothing(t: Tap, place: string): Promise<void> {
  const state = join(folder, 'state')
  const script = `KARST_STATE='${state}' KARST_PORT=0 node_modules/.bin/karst quickstart --no-mount >out 2>&1 &
pid=$!
for i in $(seq 300); do [ -f '${state}/quickstart.json' ] && break; kill -0 $pid || break; sleep 0.1; done
cat out; [ -f '${state}/quickstart.json' ]; kill -TERM $pid; wait $pid`
  const ended = await run('sh', ['-uc', script], { cwd: place })
  t.equal(ended.code, 0, ended.stdout + ended.stderr)
}

interface Tap {
  equal: typeof t.equal
}

t.test('the launcher works through a symbolic link and from another folder', async (t) => {
  await sh(`ln -s "$PWD/bin/karst" '${folder}/linked'`)
  t.match(await run(join(folder, 'linked'), ['--version'], { cwd: '/' }), { code: 0, stdout: /^karst / })
})

t.test('wrong words are answered with the usage and exit code 2', async (t) => {
  t.match(await run('bin/karst', []), { code: 2, stdout: /usage: karst/ })
  t.match(await run('bin/karst', ['dance']), { code: 2, stderr: /no command dance/ })
  t.match(await run('bin/karst', ['serve']), { code: 2, stderr: /--config FILE is missing[\s\S]*usage: karst serve/ })
  t.match(await run('bin/karst', ['serve', '--nope']), { code: 2, stderr: /usage/ })
  t.match(await run('bin/karst', ['mount', '--help']), { code: 0, stdout: /usage: karst mount/ })
})
