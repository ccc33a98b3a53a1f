/** `karst migrate`: brings a container to another storage profile, over HTTPS, as an administrator. */
import { complain, readWords, say, UsageError, type Command } from './command.ts'
import { endOf, ended } from './job.ts'
import { printable, SERVICE_OPTIONS, SERVICE_USAGE, serviceOf } from './service.ts'

const OPTIONS = { ...SERVICE_OPTIONS, to: { type: 'string' }, force: { type: 'boolean' } } as const

export const migrate: Command = {
  name: 'migrate',
  usage:
    'karst migrate vos://AUTHORITY~SERVICE/PATH --to PROFILE [--force]\n' +
    '                   PROFILE: a name among the backends of the configuration\n' +
    '                   --force: even if sessions have it as a bind mount; what they write from then on is\n' +
    '                   lost, as they are told when they next renew their credentials\n' +
    `                   ${SERVICE_USAGE}`,
  summary: 'brings a container with all below to another storage; readers see the old one or the new one, whole',
  run: async (words) => {
    const { values, positionals } = readWords(words, OPTIONS, { min: 1, max: 1 })
    const { to } = values
    if (to === undefined) throw new UsageError('say --to PROFILE')
    const { ask, path } = await serviceOf(positionals[0] ?? '', values)
    const { job } = (await ask('POST', '/migrations', {
      path,
      profile: to,
      ...(values.force === true && { force: true }),
    })) as { readonly job: string }
    const row = await ended(ask, `/migrations/${job}`)
    if (row.phase === 'COMPLETED') {
      say(`${printable(path)} is kept by ${to}: ${row.done} nodes`)
      return 0
    }
    complain(`karst migrate: ${endOf(row)}; everything is where it was`)
    return 1
  },
}
