/** `karst users`: accounts, over HTTPS: administered by administrators, and everybody's own shown. */
import { actOf, columns, complain, readWords, say, UsageError, type Command, type Wordy } from './command.ts'
import { type Ask, printable, SERVICE_OPTIONS, SERVICE_USAGE, serviceAt } from './service.ts'

const OPTIONS = {
  ...SERVICE_OPTIONS,
  uid: { type: 'string' },
  x509: { type: 'string' },
  oidc: { type: 'string' },
  admin: { type: 'boolean' },
  'no-home': { type: 'boolean' },
  quota: { type: 'string' },
  'reuse-name': { type: 'boolean' },
  path: { type: 'string' },
  'hand-over-to': { type: 'string' },
  json: { type: 'boolean' },
} as const

type Options = ReturnType<typeof readWords<typeof OPTIONS>>['values']

interface Act extends Wordy {
  /** what stands after its name */
  readonly usage: string
  /** answers the exit code */
  readonly run: (ask: Ask, options: Options, name: string, rest: readonly string[]) => Promise<number>
}

const IDENTITY = 'NAME --x509 DN | --oidc "ISSUER SUBJECT" | --uid N'

const ACTS: Readonly<Record<string, Act>> = {
  list: { usage: '[--json]', words: [0, 0], run: list },
  show: { usage: '[NAME] [--json]', words: [0, 1], run: show },
  create: {
    usage:
      'NAME [--x509 DN] [--oidc "ISSUER SUBJECT"] [--uid N]\n' +
      '                              [--admin] [--no-home] [--quota BYTES] [--reuse-name]',
    words: [1, 1],
    run: create,
  },
  link: { usage: IDENTITY, words: [1, 1], run: link },
  unlink: { usage: IDENTITY, words: [1, 1], run: unlink },
  suspend: { usage: 'NAME', words: [1, 1], run: async (ask, _, name) => change(ask, name, { suspended: true }) },
  resume: { usage: 'NAME', words: [1, 1], run: async (ask, _, name) => change(ask, name, { suspended: false }) },
  admin: { usage: 'NAME on|off', words: [2, 2], run: admin },
  limit: {
    usage:
      'NAME [connections=N] [requests=N] [perSecond=N] [uploadBytes=N]\n' +
      '                              N or none; what is not named is as for everybody (`limits` in the configuration)',
    words: [1, 5],
    run: limit,
  },
  'hand-over': { usage: 'NAME TO [--path PATH]', words: [2, 2], run: handOver },
  delete: { usage: 'NAME [--hand-over-to TO]', words: [1, 1], run: remove },
}

const lines = Object.entries(ACTS).map(([name, { usage }]) => `karst users ${name.padEnd(9)} ${usage}`.trimEnd())

export const users: Command = {
  name: 'users',
  usage: [...lines, SERVICE_USAGE].join('\n       '),
  summary: 'accounts: makes, links, suspends, hands over, deletes; shows your own',
  run: async (words) => {
    const { values, positionals } = readWords(words, OPTIONS, { min: 0, max: 5 })
    const [, name = 'me', ...rest] = positionals
    return actOf(ACTS, positionals).run(await serviceAt(values), values, name, rest)
  },
}

interface Row {
  readonly name: string
  readonly uid: number
  readonly admin: boolean
  readonly suspended: string | null
  readonly home: string | null
  readonly limits: Readonly<Record<string, number | null>> | null
  readonly groups: number
  readonly identities: readonly { readonly kind: string; readonly value: string }[]
  readonly usage?: { readonly used: number | null; readonly quota: number | null } | null
}

const at = (name: string, more = ''): string => `/users/${encodeURIComponent(name)}${more}`

async function list(ask: Ask, { json }: Options): Promise<number> {
  const { users: rows } = (await ask('GET', '/users')) as { users: Row[] }
  if (json === true) {
    say(JSON.stringify(rows))
    return 0
  }
  const cells = rows.map(({ name, uid, admin: isAdmin, suspended, identities }) => {
    const state = suspended !== null ? 'suspended' : isAdmin ? 'admin' : '-'
    return [uid, name, state, identities.map(({ value }) => printable(value)).join('  ')]
  })
  for (const line of columns(cells)) say(line)
  return 0
}

async function show(ask: Ask, { json }: Options, name: string): Promise<number> {
  const row = (await ask('GET', at(name))) as Row
  if (json === true) say(JSON.stringify(row))
  else tell(row)
  return 0
}

function tell({ name, uid, admin: isAdmin, suspended, home, limits, groups, identities, usage }: Row): void {
  say(`name      ${name}`)
  say(`uid       ${uid}`)
  if (isAdmin) say('admin     yes')
  if (suspended !== null) say(`suspended since ${suspended}`)
  for (const { kind, value } of identities) say(`${kind.padEnd(9)} ${printable(value)}`)
  say(`groups    ${groups}`)
  if (home !== null) say(`home      ${printable(home)}${usage ? usageText(usage) : ''}`)
  for (const [what, most] of Object.entries(limits ?? {})) say(`limit     ${what}=${most ?? 'none'}`)
}

const usageText = ({ used, quota }: NonNullable<Row['usage']>): string =>
  quota === null ? '' : `  ${used ?? '?'} of ${quota} bytes`

async function create(ask: Ask, options: Options, name: string): Promise<number> {
  const { uid, x509, oidc, admin: isAdmin, quota } = options
  const document = {
    name,
    ...(uid !== undefined && { uid: numberOf('--uid', uid) }),
    ...(quota !== undefined && { quota: numberOf('--quota', quota) }),
    ...(x509 !== undefined && { x509 }),
    ...(oidc !== undefined && { oidc }),
    ...(isAdmin === true && { admin: true }),
    ...(options['no-home'] === true && { home: false }),
    ...(options['reuse-name'] === true && { reuseName: true }),
  }
  tell((await ask('POST', '/users', document)) as Row)
  return 0
}

async function link(ask: Ask, options: Options, name: string): Promise<number> {
  tell((await ask('POST', at(name, '/identities'), identityIn(options))) as Row)
  return 0
}

async function unlink(ask: Ask, options: Options, name: string): Promise<number> {
  const { kind, value } = identityIn(options)
  const query = `?kind=${kind}&value=${encodeURIComponent(value)}`
  tell((await ask('DELETE', at(name, `/identities${query}`))) as Row)
  return 0
}

function identityIn({ x509, oidc, uid }: Options): { kind: string; value: string } {
  const given = Object.entries({ x509, oidc, uid }).flatMap(([kind, value]) =>
    value === undefined ? [] : { kind, value },
  )
  const [identity, ...more] = given
  if (identity !== undefined && more.length === 0) return identity
  throw new UsageError('one identity: --x509 DN, --oidc "ISSUER SUBJECT" or --uid N')
}

async function change(ask: Ask, name: string, document: object): Promise<number> {
  tell((await ask('PATCH', at(name), document)) as Row)
  return 0
}

async function admin(ask: Ask, _: Options, name: string, [state]: readonly string[]): Promise<number> {
  if (state !== 'on' && state !== 'off') throw new UsageError('it is on or off')
  return change(ask, name, { admin: state === 'on' })
}

/** What is named; the rest is the site's again. */
async function limit(ask: Ask, _: Options, name: string, words: readonly string[]): Promise<number> {
  const limits = words.map((word) => {
    const [, what = '', most = ''] = /^(connections|requests|perSecond|uploadBytes)=(\d+|none)$/.exec(word) ?? []
    if (what === '') throw new UsageError(`no limit: ${word}`)
    return [what, most === 'none' ? null : numberOf(what, most)] as const
  })
  tell((await ask('PUT', at(name, '/limits'), Object.fromEntries(limits))) as Row)
  return 0
}

async function handOver(ask: Ask, { path }: Options, name: string, [to = '']: readonly string[]): Promise<number> {
  const document = { to, ...(path !== undefined && { path }) }
  return finished(ask, name, (await ask('POST', at(name, '/hand-over'), document)) as Begun)
}

async function remove(ask: Ask, options: Options, name: string): Promise<number> {
  const to = options['hand-over-to']
  const query = to === undefined ? '' : `?to=${encodeURIComponent(to)}`
  const code = await finished(ask, name, (await ask('DELETE', at(name, query))) as Begun)
  if (code === 0) say(`${name} is deleted`)
  return code
}

interface Begun {
  readonly job: string
}

interface Work {
  readonly phase: string
  readonly handed: number
  readonly error?: string
}

/** How long the gateway is asked to wait, seconds: then it tells how far it is. */
const WAIT = 10

const nodes = (count: number): string => (count === 1 ? '1 node' : `${count} nodes`)

/** Follows the job to its end. The gateway goes on with it whether or not somebody does. */
async function finished(ask: Ask, name: string, { job }: Begun): Promise<number> {
  for (let told = 0; ;) {
    const work = (await ask('GET', at(name, `/jobs/${job}?wait=${WAIT}`))) as Work
    const { phase, handed, error } = work
    if (phase === 'COMPLETED') {
      say(`${nodes(handed)} handed over`)
      return 0
    }
    if (phase === 'ERROR' || phase === 'ABORTED') {
      complain(`karst users: ${error ?? phase}; ${nodes(handed)} handed over`)
      return 1
    }
    if (handed > told) complain(`${nodes(handed)} so far`)
    told = handed
  }
}

function numberOf(what: string, text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new UsageError(`${what} is a number, not ${text}`)
  return Number(text)
}
