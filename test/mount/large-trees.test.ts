// Trees that are deeper than anybody should have.
import t from 'tap'
import { drive, fuseSkip, HOME, js, sh } from './driver-harness.ts'

const skip = await fuseSkip()
t.setTimeout(300_000)
const DEPTH = 1000

void t.test('a tree of a thousand levels is made, moved, listed and removed', { skip }, async (t) => {
  const { dir, remote, ask } = await drive(t)
  const told = await js(
    `process.chdir(argv[0]); fs.mkdirSync('top'); process.chdir('top')
     for (let i = 0; i < ${DEPTH}; i++) { fs.mkdirSync('d'); process.chdir('d') }
     fs.writeFileSync('bottom', 'deep'); const fd = fs.openSync('bottom', 'r+')
     fs.renameSync(argv[0] + '/top', argv[0] + '/moved')
     fs.writeSync(fd, 'DE'); fs.closeSync(fd)
     return [fs.readFileSync('bottom', 'utf8'), fs.readdirSync('.'), attempt(() => fs.mkdirSync('d'))]`,
    dir,
  )
  t.same(told, ['DEep', ['bottom'], null])
  t.equal(remote.bytes(`${HOME}/moved${'/d'.repeat(DEPTH)}/bottom`)?.toString(), 'DEep')
  t.match(await sh('find . | wc -l; rm -r moved; ls | wc -l', dir), { status: 0, output: `${DEPTH + 4}\n0\n` })
  t.same(await ask('log'), [])
})

void t.test('a path that is too long for anything is refused', { skip }, async (t) => {
  const { dir } = await drive(t)
  const told = await js(`return attempt(() => fs.mkdirSync(argv[0] + '/x'.repeat(2100)))`, dir)
  t.equal(told, 'ENAMETOOLONG')
})
