/** `karst trash`: what was deleted and may come back, over HTTPS. */
import { parseVosUri } from '../vospace/uri.ts'
import { columns, readWords, say, UsageError, type Command } from './command.ts'
import { type Ask, printable, SERVICE_OPTIONS, SERVICE_USAGE, serviceOf } from './service.ts'

const OPTIONS = { ...SERVICE_OPTIONS, to: { type: 'string' }, json: { type: 'boolean' } } as const

interface Item {
  readonly id: string
  readonly path: string
  readonly type: string
  readonly by?: string
  readonly nodes?: number
  readonly deleted: string
  readonly expires?: string
}

export const trash: Command = {
  name: 'trash',
  usage:
    'karst trash list    vos://AUTHORITY~SERVICE/PATH [--json]\n' +
    '       karst trash restore vos://AUTHORITY~SERVICE/PATH ID [--to PATH]\n' +
    '       karst trash empty   vos://AUTHORITY~SERVICE/PATH [ID]\n' +
    `       ${SERVICE_USAGE}`,
  summary: 'what was deleted in the allocation of a node: lists it, puts it back, or removes it for good',
  run: async (words) => {
    const { values, positionals } = readWords(words, OPTIONS, { min: 0, max: 3 })
    const [what = '', uri = '', id] = positionals
    if (!['list', 'restore', 'empty'].includes(what)) throw new UsageError('it is list, restore or empty')
    if (uri === '') throw new UsageError('the node is missing: vos://AUTHORITY~SERVICE/PATH')
    if (what === 'restore' && id === undefined) throw new UsageError('restore needs the ID that list shows')
    if (what === 'list' && id !== undefined) throw new UsageError(`unexpected: ${id}`)
    const { ask, path } = await serviceOf(uri, values)
    if (what === 'list') await list(ask, path, values.json === true)
    else if (what === 'restore' && id !== undefined) await restore(ask, path, id, values.to)
    else await empty(ask, path, id)
    return 0
  },
}

async function list(ask: Ask, path: string, json: boolean): Promise<void> {
  const { items } = (await ask('GET', `/trash?path=${encodeURIComponent(path)}`)) as { items: Item[] }
  if (json) return say(JSON.stringify(items))
  const rows = items.map((one) => [one.id, one.deleted, one.by ?? '-', one.nodes ?? '-', one.type, printable(one.path)])
  for (const line of columns(rows)) say(line)
}

async function restore(ask: Ask, path: string, id: string, to: string | undefined): Promise<void> {
  const place = to === undefined ? {} : { to: /^vos:/i.test(to) ? parseVosUri(to).path : to }
  const { path: restored } = (await ask('POST', '/trash/restore', { path, id, ...place })) as { path: string }
  say(printable(restored))
}

async function empty(ask: Ask, path: string, id: string | undefined): Promise<void> {
  const { removed } = (await ask('POST', '/trash/empty', { path, ...(id !== undefined && { id }) })) as {
    removed: number
  }
  say(`${removed} removed for good`)
}
