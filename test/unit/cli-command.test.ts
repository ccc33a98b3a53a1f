/** What commands write for people. */
import t, { type Test as Tap } from 'tap'
import { columns, complain } from '../../src/cli/command.ts'
import { run } from '../../src/cli/commands.ts'
import { commandsFor } from '../../src/cli/table.ts'

const COMMANDS = await commandsFor(undefined)

t.test('a name that somebody else has chosen says nothing to the terminal', async (t) => {
  const written = t.capture(process.stderr, 'write', () => true)
  complain('alice owns /home/alice/\u001b]0;gone\u0007\u202etxt.exe\u009b2J\n\tand more')
  written.restore()
  const [text] = written().map(({ args }) => String(args[0]))
  t.equal(text, 'alice owns /home/alice/%1B]0;gone%07%E2%80%AEtxt.exe%C2%9B2J\n\tand more\n')
})

t.test('a list stands in columns, and its last cell may be anything', (t) => {
  t.same(columns([]), [])
  t.same(
    columns([
      ['survey', 7, '-', 'the survey team'],
      ['x', 20_000, 'admin', ''],
    ]),
    ['survey  7      -      the survey team', 'x       20000  admin'],
  )
  t.end()
})

/** What `karst WORDS` says, without a gateway. */
async function karst(t: Tap, ...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const out = t.capture(process.stdout, 'write', () => true)
  const err = t.capture(process.stderr, 'write', () => true)
  const code = await run(COMMANDS, words)
  out.restore()
  err.restore()
  const text = (calls: readonly { readonly args: readonly unknown[] }[]): string =>
    calls.map(({ args }) => String(args[0])).join('')
  return { code, stdout: text(out()), stderr: text(err()) }
}

t.test('help is there for every command, in both ways of asking', async (t) => {
  for (const { name, usage } of COMMANDS) {
    const asked = await karst(t, name, '--help')
    t.match(asked, { code: 0, stderr: '' }, name)
    t.ok(asked.stdout.includes(usage), name)
    t.same(await karst(t, 'help', name), asked)
  }
  t.match(await karst(t, 'help'), { code: 0, stdout: /^usage: karst COMMAND[^]*KARST_URL[^]*KARST_CA/ })
  t.match(await karst(t, 'help', 'burn'), { code: 2, stderr: /^karst: there is no command burn\n/ })
  t.match(await karst(t), { code: 2 })
})

t.test('who says the wrong words is shown the usage of what they meant', async (t) => {
  t.same(await karst(t, 'groups', 'show'), {
    code: 2,
    stdout: '',
    stderr:
      'karst groups: something is missing\nusage: karst groups show    NAME [--json]\nkarst groups --help tells more\n',
  })
  const init = await karst(t, 'proxy', 'init', '--hours', '0')
  t.match(init, { code: 2, stderr: /usage: karst proxy init [^\n]*\n {10,}\[--hours H\][^\n]*\nkarst proxy --help/ })
  for (const name of ['groups', 'users', 'trash', 'proxy'])
    t.match(await karst(t, name), { code: 2, stderr: /: it is (one of )?\w+, \w+[^]*usage: karst/ }, name)
  t.match(await karst(t, 'users', 'limit', 'bob', 'x=1', 'y=1', 'z=1', 'more'), { code: 2, stderr: /unexpected: more/ })
  t.match(await karst(t, 'groups', 'list', '--url', 'localhost:8443', '--certificate', 'x'), {
    code: 2,
    stderr: /not an https URL: localhost:8443/,
  })
})
