/** The command line: finds the command, reports what it throws. Each command is one small file in src/cli. */
import { COMMANDS, run } from './cli/commands.ts'

process.exitCode = await run(COMMANDS, process.argv.slice(2))
