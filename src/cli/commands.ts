/** How a command is found and run. */
import { ConfigError, version } from '../environment.ts'
import { Fault } from '../vospace/fault.ts'
import { complain, say, UsageError, type Command } from './command.ts'

/** Runs `karst WORDS`; answers the exit code. What went wrong is said in one sentence; a bug also with its stack. */
export async function run(commands: readonly Command[], words: readonly string[]): Promise<number> {
  const [name, ...rest] = words
  if (name === '--version' || name === '-V') {
    say(`karst ${version()}`)
    return 0
  }
  if (name === 'help' && rest[0] !== undefined) return await run(commands, [rest[0], '--help'])
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    say(overview(commands))
    return name === undefined ? 2 : 0
  }
  const command = commands.find((one) => one.name === name)
  if (command === undefined) {
    complain(`karst: there is no command ${name}\n\n${overview(commands)}`)
    return 2
  }
  // what stands after -- is another program's
  const own = rest.includes('--') ? rest.slice(0, rest.indexOf('--')) : rest
  if (own.includes('--help') || own.includes('-h')) {
    say(`${command.summary}\n\nusage: ${command.usage}`)
    return 0
  }
  return await attempt(command, rest)
}

async function attempt(command: Command, words: readonly string[]): Promise<number> {
  try {
    return await command.run(words)
  } catch (error) {
    if (error instanceof UsageError) {
      complain(`karst ${command.name}: ${error.message}\nusage: ${usageOf(command, words)}`)
      return 2
    }
    const known = error instanceof Fault || error instanceof ConfigError || isSystemError(error)
    complain(`karst ${command.name}: ${known ? error.message : ((error as Error).stack ?? String(error))}`)
    return command.failed ?? 1
  }
}

/** The lines about the act that was named, with those that go on with it; all where it has none. */
function usageOf({ name, usage }: Command, [act = '']: readonly string[]): string {
  const lines = usage.split('\n')
  const from = lines.findIndex((line) => line.trimStart().split(/ +/, 3).join(' ') === `karst ${name} ${act}`)
  if (from === -1) return usage
  const [first = '', ...rest] = lines.slice(from)
  const next = rest.findIndex((line) => !/^ {8}/.test(line))
  const more = rest.slice(0, next === -1 ? rest.length : next)
  return [first.trimStart(), ...more, `karst ${name} --help tells more`].join('\n')
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).code === 'string'
}

const FOOT = [
  'karst COMMAND --help tells more; karst --version. Commands that ask a gateway take from the environment what is not said:',
  '--url KARST_URL, --ca KARST_CA, --certificate X509_USER_PROXY (or /tmp/x509up_uUID, where karst proxy init puts it).',
]

function overview(commands: readonly Command[]): string {
  const width = Math.max(...commands.map((command) => command.name.length))
  const lines = commands.map((command) => `  ${command.name.padEnd(width)}  ${command.summary}`)
  return ['usage: karst COMMAND ...', '', ...lines, '', ...FOOT].join('\n')
}
