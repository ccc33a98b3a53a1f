/** `karst share`: lets groups at a node or a whole tree, and takes them out again, over HTTPS. */
import { complain, readWords, say, UsageError, type Command } from './command.ts'
import { endOf, ended, type JobRow } from './job.ts'
import { type Ask, printable, SERVICE_OPTIONS, SERVICE_USAGE, serviceOf } from './service.ts'

const OPTIONS = {
  ...SERVICE_OPTIONS,
  read: { type: 'string', multiple: true },
  write: { type: 'string', multiple: true },
  remove: { type: 'string', multiple: true },
  public: { type: 'boolean' },
  private: { type: 'boolean' },
  recursive: { type: 'boolean' },
  reach: { type: 'boolean' },
} as const

export const share: Command = {
  name: 'share',
  usage:
    'karst share vos://AUTHORITY~SERVICE/PATH [--read GROUP] ... [--write GROUP] ... [--remove GROUP] ... [--public | --private]\n' +
    '                   [--recursive] [--reach]\n' +
    '                   GROUP: a name here, or a whole URI; other groups stay as they are\n' +
    '                   --recursive: all that is there, and what will be made there\n' +
    '                   --reach: containers on the way too, so that the groups get there; they can then be listed\n' +
    `                   ${SERVICE_USAGE}`,
  summary: 'shares a node, or a whole tree, with groups; --remove takes them out again',
  run: async (words) => {
    const { values, positionals } = readWords(words, OPTIONS, { min: 1, max: 1 })
    const { read = [], write = [], remove = [] } = values
    if (values.public === true && values.private === true) throw new UsageError('--public or --private, not both')
    const isPublic = values.public === true ? true : values.private === true ? false : undefined
    if (read.length + write.length + remove.length === 0 && isPublic === undefined)
      throw new UsageError('say --read GROUP, --write GROUP, --remove GROUP, --public or --private')
    const { ask, path } = await serviceOf(positionals[0] ?? '', values)
    const wanted = { read, write, remove, ...(isPublic !== undefined && { public: isPublic }) }
    const { closed, isDone } =
      values.recursive === true ? await shareTree(ask, path, wanted) : await shareOne(ask, path, wanted)
    const isReached = await tellWay(ask, path, closed, values.reach === true)
    return isDone && isReached ? 0 : 1
  },
}

interface Wanted {
  readonly read: readonly string[]
  readonly write: readonly string[]
  readonly remove: readonly string[]
  readonly public?: boolean
}

/** Whom the containers do not let pass; null: everybody. */
interface Closed {
  readonly group: string | null
  readonly paths: readonly string[]
}

interface Answer {
  readonly path: string
  readonly type: string
  readonly isPublic: boolean
  readonly groupRead: readonly string[]
  readonly groupWrite: readonly string[]
  readonly inherit?: boolean
  readonly changed: boolean
  readonly closed: readonly Closed[]
}

interface Outcome {
  readonly closed: readonly Closed[]
  readonly isDone: boolean
}

async function shareOne(ask: Ask, path: string, wanted: Wanted): Promise<Outcome> {
  const now = (await ask('POST', '/share', { path, ...wanted })) as Answer
  say(`${printable(now.path)}${now.changed ? '' : ' (as it was)'}`)
  say(`  read by     ${now.isPublic ? 'everybody' : names([...now.groupRead, ...now.groupWrite])}`)
  say(`  written by  ${names(now.groupWrite)}`)
  if (now.type === 'link') say('  it is a link: what stands where it leads has its own sharing')
  if (now.type === 'container')
    say(
      now.inherit === true
        ? '  what is made in it is shared in the same way'
        : '  what is in it, and what will be made in it, is not shared by this: --recursive does that',
    )
  return { closed: now.closed, isDone: true }
}

const names = (groups: readonly string[]): string =>
  groups.length === 0 ? 'its owner only' : ['its owner', ...new Set(groups)].map(printable).join(', ')

interface Job extends JobRow {
  readonly refused: number
}

async function shareTree(ask: Ask, path: string, wanted: Wanted): Promise<Outcome> {
  const lets = wanted.read.length + wanted.write.length > 0 || wanted.public === true
  const whole = { path, ...wanted, recursive: true, ...(lets && { inherit: true }) }
  const begun = (await ask('POST', '/share', whole)) as { readonly job: string; readonly closed: readonly Closed[] }
  const job = await ended<Job>(ask, `/share/${begun.job}`)
  const counts = `${job.done} ${job.done === 1 ? 'node' : 'nodes'} set, ${job.refused} refused`
  say(`${printable(path)} and all below: ${counts}`)
  if (lets) say('  what is made there from now on is shared in the same way (inheritPermissions)')
  if (job.phase === 'COMPLETED') return { closed: begun.closed, isDone: true }
  complain(`karst share: ${endOf(job)}; what was set stays so`)
  return { closed: begun.closed, isDone: false }
}

/** What stands in the way of those who were let in; with `reach` it is taken away where that lets nobody at anything else. */
async function tellWay(ask: Ask, path: string, closed: readonly Closed[], reach: boolean): Promise<boolean> {
  let isReached = true
  for (const { group, paths } of closed) {
    const who = group === null ? 'everybody' : printable(group)
    const left = reach && group !== null ? await open(ask, group, paths) : paths
    if (left.length === 0) continue
    const what = left.map(printable).join(', ')
    complain(`karst share: ${who} cannot get to ${printable(path)}: not readable to them on the way: ${what}`)
    if (group === null) complain('  --public on these lets everybody list them')
    else if (!reach) complain('  --reach lets them pass, and list what is in these containers (names, not contents)')
    else isReached = false
  }
  return isReached
}

/** Lets a group read containers; answers those that stay closed. */
async function open(ask: Ask, group: string, paths: readonly string[]): Promise<readonly string[]> {
  const left: string[] = []
  for (const path of paths) {
    const { inherit } = (await ask('GET', `/access?path=${encodeURIComponent(path)}`)) as { readonly inherit?: boolean }
    if (inherit === true) {
      complain(
        `karst share: ${printable(path)} hands its sharing on to what is made in it, all of which ${printable(group)} could read then: not done`,
      )
      left.push(path)
      continue
    }
    await ask('POST', '/share', { path, read: [group] })
    say(`${printable(path)} can now be passed and listed by ${printable(group)}`)
  }
  return left
}
