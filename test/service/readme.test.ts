/** Every command of README after its first two works when pasted, in one shell, from top to bottom. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fuseSkip, needs } from '../parts.ts'
import { sessionTurn } from '../sessions/turn.ts'
import { Quickstart, run } from './running.ts'

const isRoot = needs('root with CAP_SYS_ADMIN', 'setpriv') === false
const skip = needs('curl', 'awk') || (await fuseSkip())

t.setTimeout(10 * 60_000)

t.test('README, pasted into a shell beside a quickstart', { skip }, async (t) => {
  const karst = new Quickstart()
  t.teardown(() => karst.dispose())
  if (isRoot) t.teardown(await sessionTurn())
  const { url } = await karst.start()
  const readme = readFileSync('README.md', 'utf8')
  const commands = readme
    .slice(readme.indexOf('## The quickstart'))
    .split('\n')
    .filter((line) => line.startsWith('    '))
    .map((line) => line.slice(4))
    // one that README says is root's
    .filter((line) => isRoot || !line.startsWith('bin/karst session'))
    // a line for fstab is no command
    .filter((line) => !line.startsWith('vos://'))
    .join('\n')
    .replaceAll('/tmp/', `${karst.folder}/`)
    .replaceAll('.karst/', `${karst.state}/`)
    .replaceAll('https://localhost:8443/karst', url)
    .replaceAll('curl -s', 'curl -sSf')
  t.ok(commands.split('\n').length > 15, 'the commands were found')
  const env = { KARST_MOUNT_STATE: join(karst.folder, 'driver') }
  const said = await run('sh', ['-euxc', commands], { env })
  t.equal(said.code, 0, `${said.stdout}\n${said.stderr}`)
  for (const seen of [/hell\n?hello/, /core#groupread/, /stars\.fits/, /\/home\/alice\/note\.txt/])
    t.match(said.stdout, seen)
})
