/** `karst access`: who may read and write a node, and why, over HTTPS. */
import { readWords, say, type Command } from './command.ts'
import { printable, SERVICE_OPTIONS, SERVICE_USAGE, serviceOf } from './service.ts'

const OPTIONS = { ...SERVICE_OPTIONS, as: { type: 'string' }, json: { type: 'boolean' } } as const

export const access: Command = {
  name: 'access',
  usage: `karst access vos://AUTHORITY~SERVICE/PATH [--as USER] [--json]\n                   ${SERVICE_USAGE}`,
  summary: 'who may read and write a node, by which rule, and what is in the way; --as: what of it one user may',
  run: async (words) => {
    const { values, positionals } = readWords(words, OPTIONS, { min: 1, max: 1 })
    const { ask, path } = await serviceOf(positionals[0] ?? '', values)
    const query = new URLSearchParams({ path, ...(values.as !== undefined && { as: values.as }) })
    const told = await ask('GET', `/access?${query.toString()}`)
    if (values.json === true) say(JSON.stringify(told))
    else for (const line of linesOf(told as Explanation)) say(line)
    return 0
  },
}

/** As space/access.ts tells it. */
interface Explanation {
  readonly path: string
  readonly type: string
  readonly owner: string
  readonly target?: string
  readonly allocation?: { readonly path: string; readonly owner: string }
  readonly inherit?: boolean
  readonly granted: readonly Granted[]
  readonly locks: readonly string[]
  readonly verdict: Readonly<Record<string, Answer | string | null>> & { readonly user: string | null }
}

interface Granted {
  readonly rule: string
  readonly user?: string
  readonly group?: string
  readonly read: boolean
  readonly write: boolean
  readonly closed: readonly string[]
}

interface Answer {
  readonly allowed: boolean
  readonly rule?: string
  readonly group?: string
  readonly way?: readonly string[]
  readonly reason?: string
}

function linesOf({ path, type, owner, allocation, target, inherit, granted, locks, verdict }: Explanation): string[] {
  const { user, ...answers } = verdict
  return [
    `${printable(path)}: a ${type} node of ${owner}${allocation === undefined ? '' : `, in the allocation of ${allocation.owner}`}`,
    ...(target === undefined ? [] : [`  it leads to ${printable(target)}, which has its own rules`]),
    ...(inherit === true ? ['  what is made in it is shared in the same way'] : []),
    ...granted.map(grantLine),
    ...locks.map((lock) => `  ${printable(lock)}`),
    `${user ?? 'anonymous callers'}:`,
    ...Object.entries(answers).map(([what, answer]) => `  ${what.padEnd(7)}  ${answerText(answer as Answer)}`),
  ]
}

function grantLine({ rule, user, group, read, write, closed }: Granted): string {
  const who = user ?? (group === undefined ? (rule === 'public' ? 'everybody' : 'administrators') : group)
  const may = [...(read ? ['read'] : []), ...(write ? ['write'] : [])].join(' and ')
  const way = closed.length === 0 ? '' : `; closed to them: ${closed.map(printable).join(', ')}`
  return `  ${printable(who)} (${rule}): ${may === '' ? 'nothing' : may}${way}`
}

function answerText({ allowed, rule, group, way, reason }: Answer): string {
  if (!allowed) return `no: ${printable(reason ?? '')}`
  const through = (way ?? []).slice(1).map((one) => `, which has ${printable(one)} in it`)
  const why = [rule ?? '', ...(group === undefined ? [] : [printable(group)])].filter((word) => word !== '').join(' ')
  return why === '' ? 'yes' : `yes: ${why}${through.join('')}`
}
