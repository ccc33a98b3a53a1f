/** `karst groups`: groups to share with, over HTTPS. */
import { actOf, columns, readWords, say, UsageError, type Command, type Wordy } from './command.ts'
import { type Ask, printable, SERVICE_OPTIONS, SERVICE_USAGE, serviceAt } from './service.ts'

const OPTIONS = {
  ...SERVICE_OPTIONS,
  all: { type: 'boolean' },
  description: { type: 'string' },
  expires: { type: 'string' },
  owner: { type: 'string' },
  json: { type: 'boolean' },
} as const

interface Options {
  readonly all?: boolean | undefined
  readonly description?: string | undefined
  readonly expires?: string | undefined
  readonly owner?: string | undefined
  readonly json?: boolean | undefined
}

interface Act extends Wordy {
  /** what stands after its name */
  readonly usage: string
  readonly run: (ask: Ask, options: Options, name: string, rest: readonly string[]) => Promise<void>
}

/** Members, administrators or groups in one go. */
const MOST = 100
const SEVERAL = [2, MOST + 1] as const

const ACTS: Readonly<Record<string, Act>> = {
  list: { usage: '[--all] [--json]', words: [0, 0], run: list },
  show: { usage: 'NAME [--json]', words: [1, 1], run: show },
  create: { usage: 'NAME [--description TEXT] [--expires WHEN] [--owner USER]', words: [1, 1], run: create },
  change: { usage: 'NAME [--description TEXT] [--expires WHEN] [--owner USER]', words: [1, 1], run: change },
  delete: { usage: 'NAME', words: [1, 1], run: remove },
  add: { usage: 'NAME USER ... [--expires WHEN]', words: SEVERAL, run: each('PUT', 'members') },
  remove: { usage: 'NAME USER ...', words: SEVERAL, run: each('DELETE', 'members') },
  admin: { usage: 'NAME USER ...', words: SEVERAL, run: each('PUT', 'admins') },
  unadmin: { usage: 'NAME USER ...', words: SEVERAL, run: each('DELETE', 'admins') },
  nest: { usage: 'NAME GROUP ... [--expires WHEN]', words: SEVERAL, run: each('PUT', 'groups') },
  unnest: { usage: 'NAME GROUP ...', words: SEVERAL, run: each('DELETE', 'groups') },
}

const lines = Object.entries(ACTS).map(([name, { usage }]) => `karst groups ${name.padEnd(7)} ${usage}`)

export const groups: Command = {
  name: 'groups',
  usage: [...lines, `WHEN: 90d, 12h, 2030-01-31 (UTC), or never`, SERVICE_USAGE].join('\n       '),
  summary: 'groups to share with: makes them, lets members, administrators and other groups in and out',
  run: async (words) => {
    const { values, positionals } = readWords(words, OPTIONS, { min: 0, max: MOST + 2 })
    const [, name = '', ...rest] = positionals
    await actOf(ACTS, positionals).run(await serviceAt(values), values, name, rest)
    return 0
  },
}

interface Membership {
  readonly name: string
  readonly expires?: string
  readonly expired?: boolean
}

interface Group extends Membership {
  readonly uri: string
  readonly role?: string
  readonly owner?: string
  readonly description?: string
  readonly admins?: readonly string[]
  readonly members?: readonly Membership[]
  readonly groups?: readonly Membership[]
}

const placeOf = (name: string): string => `/groups/${encodeURIComponent(name)}`

async function list(ask: Ask, { all, json }: Options): Promise<void> {
  const { groups: found } = (await ask('GET', `/groups${all === true ? '?all=true' : ''}`)) as { groups: Group[] }
  if (json === true) return say(JSON.stringify(found))
  const rows = found.map(({ role, owner, name, description, ...rest }) => [
    name,
    role ?? '-',
    owner ?? '-',
    endOf(rest) || '-',
    printable(description ?? ''),
  ])
  for (const line of columns(rows)) say(line)
}

async function show(ask: Ask, { json }: Options, name: string): Promise<void> {
  const group = (await ask('GET', placeOf(name))) as Group
  if (json === true) return say(JSON.stringify(group))
  say(group.uri)
  if (group.owner === undefined) return say('  what more there is of it is for its members')
  if (group.description !== undefined) say(`  ${printable(group.description)}`)
  if (group.expires !== undefined) say(`  ends     ${endOf(group)}`)
  say(`  owner    ${group.owner}`)
  for (const admin of group.admins ?? []) say(`  admin    ${admin}`)
  for (const member of group.members ?? []) say(`  member   ${member.name}  ${endOf(member)}`.trimEnd())
  for (const inner of group.groups ?? []) say(`  group    ${inner.name}  ${endOf(inner)}`.trimEnd())
}

const endOf = ({ expires, expired }: Omit<Membership, 'name'>): string =>
  expires === undefined ? '' : `${expired === true ? 'ended' : 'until'} ${expires}`

async function create(ask: Ask, options: Options, name: string): Promise<void> {
  say(((await ask('POST', '/groups', { name, ...aboutIn(options) })) as Group).uri)
}

async function change(ask: Ask, options: Options, name: string): Promise<void> {
  const about = aboutIn(options)
  if (Object.keys(about).length === 0) throw new UsageError('say --description, --expires or --owner')
  await ask('PATCH', placeOf(name), about)
}

/** An empty description takes it away. */
const aboutIn = ({ description, expires, owner }: Options): object => ({
  ...(description !== undefined && { description: description === '' ? null : description }),
  ...(expires !== undefined && { expires: timeOf(expires) }),
  ...(owner !== undefined && { owner }),
})

async function remove(ask: Ask, _options: Options, name: string): Promise<void> {
  await ask('DELETE', placeOf(name))
}

/** One request for each; what is refused ends it, and those before are done. */
function each(method: 'PUT' | 'DELETE', kind: 'members' | 'admins' | 'groups'): Act['run'] {
  return async (ask, { expires }, name, rest) => {
    if (expires !== undefined && (method === 'DELETE' || kind === 'admins')) {
      throw new UsageError('--expires is for members and groups that are let in')
    }
    const document = expires === undefined ? undefined : { expires: timeOf(expires) }
    for (const one of rest) await ask(method, `${placeOf(name)}/${kind}/${encodeURIComponent(one)}`, document)
  }
}

const UNITS: Readonly<Record<string, number>> = { h: 3_600_000, d: 86_400_000 }

/** ISO 8601; null: never. */
function timeOf(when: string): string | null {
  if (when === 'never') return null
  const [, count, unit = ''] = /^(\d{1,6})([hd])$/.exec(when) ?? []
  const isDate = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?Z)?$/.test(when)
  const time = count === undefined ? Date.parse(isDate ? when : '') : Date.now() + Number(count) * (UNITS[unit] ?? 0)
  if (Number.isNaN(time)) throw new UsageError(`--expires is as 90d, 12h, 2030-01-31 or never, not ${when}`)
  return new Date(time).toISOString()
}
