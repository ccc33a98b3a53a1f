/** The command line: finds the command, reports what it throws. Each command is one small file in src/cli. */
import { run } from './cli/commands.ts'
import { commandsFor } from './cli/table.ts'

const words = process.argv.slice(2)
process.exitCode = await run(await commandsFor(words[0]), words)
