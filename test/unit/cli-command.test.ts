/** What commands write for people. */
import t from 'tap'
import { complain } from '../../src/cli/command.ts'

t.test('a name that somebody else has chosen says nothing to the terminal', async (t) => {
  const written = t.capture(process.stderr, 'write', () => true)
  complain('alice owns /home/alice/\u001b]0;gone\u0007\u202etxt.exe\u009b2J\n\tand more')
  written.restore()
  const [text] = written().map(({ args }) => String(args[0]))
  t.equal(text, 'alice owns /home/alice/%1B]0;gone%07%E2%80%AEtxt.exe%C2%9B2J\n\tand more\n')
})
