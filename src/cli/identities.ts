/** `karst identities`: the files by which programs of a session show names of the site's users and groups, fetched over HTTPS. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type AccountFiles, mergeAccounts } from '../identity/passwd.ts'
import { type Numbered } from '../identity/posix-mapping.ts'
import { replaceWhole } from '../identity/private-file.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { complain, readWords, UsageError, type Command } from './command.ts'
import { type AskText, printable, SERVICE_OPTIONS, SERVICE_USAGE, textsAt } from './service.ts'

const OPTIONS = {
  ...SERVICE_OPTIONS,
  passwd: { type: 'string' },
  group: { type: 'string' },
  'base-passwd': { type: 'string' },
  'base-group': { type: 'string' },
  extrausers: { type: 'string' },
  user: { type: 'string', multiple: true },
  home: { type: 'string' },
  shell: { type: 'string' },
} as const

export const identities: Command = {
  name: 'identities',
  usage: [
    'karst identities [--passwd FILE --group FILE] [--extrausers DIR] [--base-passwd FILE] [--base-group FILE]',
    '             [--user NAME ...] [--home /home/{user}] [--shell /bin/sh]',
    `             ${SERVICE_USAGE}`,
  ].join('\n       '),
  summary: 'passwd and group files for a session, so that id, ls and getfacl show names',
  run: async (words) => {
    const { values } = readWords(words, OPTIONS)
    const { passwd, group, extrausers, home, shell } = values
    if ((passwd === undefined) !== (group === undefined)) throw new UsageError('--passwd and --group go together')
    if (passwd === undefined && extrausers === undefined) {
      throw new UsageError('say --passwd FILE and --group FILE, or --extrausers DIR')
    }
    const told = await fetched(await textsAt(values), values.user ?? [])
    const image = {
      passwd: await readFile(values['base-passwd'] ?? '/etc/passwd', 'utf8'),
      group: await readFile(values['base-group'] ?? '/etc/group', 'utf8'),
    }
    const looks = { ...(home !== undefined && { home }), ...(shell !== undefined && { shell }) }
    const merged = mergeAccounts(image, { ...told, ...looks })
    for (const why of merged.left) complain(`karst identities: left out: ${printable(why)}`)
    if (passwd !== undefined && group !== undefined) await writeFiles({ passwd, group }, merged)
    if (extrausers !== undefined) {
      await writeFiles({ passwd: join(extrausers, 'passwd'), group: join(extrausers, 'group') }, merged.extra)
    }
    return 0
  },
}

interface Told {
  readonly users: readonly Numbered[]
  readonly groups: readonly Numbered[]
  readonly memberships: ReadonlyMap<string, readonly string[]>
}

/** Of the users those named, or all; who asks is among them, and their groups are known to be theirs. */
async function fetched(ask: AskText, names: readonly string[]): Promise<Told> {
  const own = await rowsOf(ask, '/posix/uid?own=true', 3)
  const theirs = await rowsOf(ask, '/posix/gid?own=true', 2)
  const users = names.length === 0 ? await rowsOf(ask, '/posix/uid', 3) : await named(ask, names)
  const groups = await rowsOf(ask, '/posix/gid', 2)
  const uris = theirs.map(([uri]) => uri)
  return {
    users: once([...own, ...users]),
    groups: once([...groups, ...theirs]),
    memberships: new Map(own.map(([name]) => [name, uris])),
  }
}

async function named(ask: AskText, names: readonly string[]): Promise<Numbered[]> {
  try {
    return await rowsOf(ask, `/posix/uid?${names.map((name) => `user=${encodeURIComponent(name)}`).join('&')}`, 3)
  } catch (error) {
    if (!isFault(error, 'NodeNotFound')) throw error
    throw new Fault('NodeNotFound', `there is none of ${names.join(', ')}`, { cause: error })
  }
}

const once = (rows: readonly Numbered[]): Numbered[] => [...new Map(rows)]

/** A table of names and numbers. ServiceBusy: it is none. */
async function rowsOf(ask: AskText, path: string, columns: number): Promise<Numbered[]> {
  const text = await ask(path, 'text/tab-separated-values')
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [name = '', number = '', ...more] = line.split('\t')
      if (/^\d{1,10}$/.test(number) && more.length === columns - 2) return [name, Number(number)] as const
      throw new Fault('ServiceBusy', `${path}: no answer of ours`)
    })
}

async function writeFiles(where: AccountFiles, what: AccountFiles): Promise<void> {
  // who is in passwd has a group already
  await replaceWhole(where.group, what.group, 0o644)
  await replaceWhole(where.passwd, what.passwd, 0o644)
}
