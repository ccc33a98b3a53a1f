/** `karst trash`: what was deleted and may come back, over HTTPS. */
import { parseVosUri } from '../vospace/uri.ts'
import { readWords, say, UsageError, type Command } from './command.ts'
import { type Ask, printable, SERVICE_OPTIONS, SERVICE_USAGE, serviceOf } from './service.ts'

const OPTIONS = { ...SERVICE_OPTIONS, to: { type: 'string' } } as const

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
    'karst trash list    vos://AUTHORITY~SERVICE/PATH\n' +
    '       karst trash restore vos://AUTHORITY~SERVICE/PATH ID [--to PATH]\n' +
    '       karst trash empty   vos://AUTHORITY~SERVICE/PATH [ID]\n' +
    `                   ${SERVICE_USAGE}`,
  summary: 'what was deleted in the allocation of a node: lists it, puts it back, or removes it for good',
  run: async (words) => {
    const { values, positionals } = readWords(words, OPTIONS, { min: 2, max: 3 })
    const [what = '', uri = '', id] = positionals
    const { ask, path } = await serviceOf(uri, values)
    if (what === 'list' && id === undefined) await list(ask, path)
    else if (what === 'restore' && id !== undefined) await restore(ask, path, id, values.to)
    else if (what === 'empty') await empty(ask, path, id)
    else throw new UsageError('it is list, restore or empty; restore needs the ID that list shows')
    return 0
  },
}

async function list(ask: Ask, path: string): Promise<void> {
  const { items } = (await ask('GET', `/trash?path=${encodeURIComponent(path)}`)) as { items: Item[] }
  for (const { id, deleted, by, nodes, type, path } of items) {
    say([id, deleted, by ?? '-', nodes ?? '-', type, printable(path)].join('  '))
  }
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
