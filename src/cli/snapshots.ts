/** `karst snapshots`: an allocation as it was, over HTTPS: lists, makes and removes snapshots, and brings nodes back from one. */
import { parseVosUri } from '../vospace/uri.ts'
import { columns, complain, readWords, say, UsageError, type Command } from './command.ts'
import { endOf, ended } from './job.ts'
import { type Ask, printable, SERVICE_OPTIONS, SERVICE_USAGE, serviceOf } from './service.ts'

const OPTIONS = { ...SERVICE_OPTIONS, to: { type: 'string' }, json: { type: 'boolean' } } as const

interface Snapshot {
  readonly name: string
  readonly created: string
}

export const snapshots: Command = {
  name: 'snapshots',
  usage:
    'karst snapshots list    vos://AUTHORITY~SERVICE/PATH [--json]\n' +
    '       karst snapshots create  vos://AUTHORITY~SERVICE/PATH NAME\n' +
    '       karst snapshots restore vos://AUTHORITY~SERVICE/PATH NAME [--to PATH]\n' +
    '       karst snapshots remove  vos://AUTHORITY~SERVICE/PATH NAME\n' +
    `       ${SERVICE_USAGE}`,
  summary: 'the allocation of a node as it was: restore brings the node back, and what is there now goes to the trash',
  run: async (words) => {
    const { values, positionals } = readWords(words, OPTIONS, { min: 0, max: 3 })
    const [what = '', uri = '', name] = positionals
    if (!['list', 'create', 'restore', 'remove'].includes(what))
      throw new UsageError('it is list, create, restore or remove')
    if (uri === '') throw new UsageError('the node is missing: vos://AUTHORITY~SERVICE/PATH')
    const { ask, path } = await serviceOf(uri, values)
    if (what === 'list') return list(ask, path, values.json === true, name)
    if (name === undefined) throw new UsageError(`${what} needs the NAME of the snapshot`)
    if (what === 'create') say(rowOf((await ask('POST', '/snapshots', { path, name })) as Snapshot).join('  '))
    if (what === 'remove') await ask('DELETE', `/snapshots?${query({ path, name })}`)
    return what === 'restore' ? restore(ask, path, name, values.to) : 0
  },
}

const query = (fields: Record<string, string>): string => new URLSearchParams(fields).toString()

const rowOf = ({ name, created }: Snapshot): [string, string] => [name, created]

async function list(ask: Ask, path: string, asJson: boolean, more: string | undefined): Promise<number> {
  if (more !== undefined) throw new UsageError(`unexpected: ${more}`)
  const found = (await ask('GET', `/snapshots?${query({ path })}`)) as { snapshots: Snapshot[] }
  if (asJson) say(JSON.stringify(found.snapshots))
  else for (const line of columns(found.snapshots.map(rowOf))) say(line)
  return 0
}

async function restore(ask: Ask, path: string, name: string, to: string | undefined): Promise<number> {
  const place = to === undefined ? {} : { to: /^vos:/i.test(to) ? parseVosUri(to).path : to }
  const { job } = (await ask('POST', '/snapshots/restore', { path, name, ...place })) as { readonly job: string }
  const row = await ended(ask, `/snapshots/restore/${job}`)
  if (row.phase === 'COMPLETED') {
    say(`${printable(place.to ?? path)}: ${row.done} nodes as they were`)
    return 0
  }
  complain(`karst snapshots: ${endOf(row)}; nothing has changed`)
  return 1
}
