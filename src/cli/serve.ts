/** `karst serve`: the gateway of a site. */
import { checkFiles, startGateway } from '../app.ts'
import { loadConfig } from '../config.ts'
import { complain, readWords, say, UsageError, type Command } from './command.ts'
import { untilSignal } from './signals.ts'

export const serve: Command = {
  name: 'serve',
  usage:
    'karst serve --config FILE [--check]\n' +
    '       FILE: as schemas/config.schema.json describes it; --check: whether it, and the files that it names, are in order',
  summary: 'serves what a configuration says; SIGHUP reads certificates anew, SIGTERM drains and ends',
  run: async (words) => {
    const { values } = readWords(words, { config: { type: 'string' }, check: { type: 'boolean' } })
    if (values.config === undefined) throw new UsageError('--config FILE is missing')
    const config = loadConfig(values.config)
    if (values.check === true) {
      await checkFiles(config)
      say(`${values.config} is a valid configuration`)
      return 0
    }
    const stopped = untilSignal()
    const starting = startGateway(config, {})
    // from the first moment: the default of this signal is to end the process
    process.on('SIGHUP', () => {
      starting
        .then((gateway) => gateway.reload())
        .catch((error: unknown) => complain(`karst serve: not reloaded: ${(error as Error).message}`))
    })
    const gateway = await starting
    say(`karst serves ${gateway.url}`)
    await stopped
    await gateway.close()
    return 0
  },
}
