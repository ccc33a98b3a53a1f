/** `karst migrate`: brings a container to another storage profile, over HTTPS, as an administrator. */
import { complain, readWords, say, UsageError, type Command } from './command.ts'
import { printable, SERVICE_OPTIONS, SERVICE_USAGE, serviceOf } from './service.ts'

const OPTIONS = { ...SERVICE_OPTIONS, to: { type: 'string' } } as const

interface Row {
  readonly phase: string
  /** nodes brought over */
  readonly done: number
  readonly error?: string
}

const GOING = ['PENDING', 'QUEUED', 'EXECUTING']

export const migrate: Command = {
  name: 'migrate',
  usage:
    'karst migrate vos://AUTHORITY~SERVICE/PATH --to PROFILE\n' +
    '                   PROFILE: a name among the backends of the configuration\n' +
    `                   ${SERVICE_USAGE}`,
  summary: 'brings a container with all below to another storage; readers see the old one or the new one, whole',
  run: async (words) => {
    const { values, positionals } = readWords(words, OPTIONS, { min: 1, max: 1 })
    const { to } = values
    if (to === undefined) throw new UsageError('say --to PROFILE')
    const { ask, path } = await serviceOf(positionals[0] ?? '', values)
    const { job } = (await ask('POST', '/migrations', { path, profile: to })) as { readonly job: string }
    const { stderr } = process
    for (;;) {
      const { phase, done, error } = (await ask('GET', `/migrations/${job}?wait=1`)) as Row
      if (stderr.isTTY) stderr.write(GOING.includes(phase) ? `\r${done} nodes` : '\r\x1b[K')
      if (GOING.includes(phase)) continue
      if (phase === 'COMPLETED') {
        say(`${printable(path)} is kept by ${to}: ${done} nodes`)
        return 0
      }
      complain(`karst migrate: ${phase}${error === undefined ? '' : `: ${error}`}; everything is where it was`)
      return 1
    }
  },
}
