/** `karst session`: the words of the command line for mount/session. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { leaveGateway } from '../../mount/session/leave.ts'
import { planOf, type Manifest } from '../../mount/session/plan.ts'
import { RunFolder } from '../../mount/session/run-folder.ts'
import { runSession } from '../../mount/session/session.ts'
import { type Way, WAYS, wayFor } from '../../mount/session/ways.ts'
import { mountEnvironment, sessionEnvironment } from '../environment.ts'
import { complain, readWords, UsageError, type Command } from './command.ts'
import { hoursIn } from './proxy-hours.ts'
import { burstsAt, credentialOf, named, SERVICE_OPTIONS } from './service.ts'

const OPTIONS = {
  ...SERVICE_OPTIONS,
  partition: { type: 'string', multiple: true },
  manifest: { type: 'string' },
  id: { type: 'string' },
  user: { type: 'string' },
  bind: { type: 'string', multiple: true },
  way: { type: 'string' },
  'proxy-hours': { type: 'string' },
  timeout: { type: 'string' },
  inside: { type: 'string' },
  finish: { type: 'string' },
  abandoned: { type: 'boolean' },
} as const

/** Exit code where the command was not run, or its session failed: of its own it has none then (env(1) and timeout(1) have the same). */
const NOT_RUN = 125

export const session: Command = {
  name: 'session',
  usage: [
    'karst session [--partition home|scratch|project:NAME|dataset:NAME|vos://... ...] [--manifest FILE]',
    '              [--id SESSION] [--user NAME|UID|guest] [--bind BACKEND=DIR ...] [--way root|userns|fusermount]',
    '              [--proxy-hours 12] [--timeout SECONDS] [--certificate PEM | --token-file FILE] [--ca PEM] [--url URL]',
    '              -- COMMAND ...',
  ].join('\n       '),
  summary: 'runs a command as an ordinary user with partitions mounted and its environment set; README has the table',
  failed: NOT_RUN,
  run: async (words) => {
    const dashes = words.indexOf('--')
    const { values } = readWords(dashes === -1 ? words : words.slice(0, dashes), OPTIONS)
    if (values.finish !== undefined) return finish(values.finish, values.abandoned === true)
    const command = dashes === -1 ? [] : words.slice(dashes + 1)
    if (command.length === 0) throw new UsageError('no command: say it after --')
    const way = values.inside === undefined ? await wayFor(wayIn(values.way)) : 'userns'
    if (way === 'userns' && values.inside === undefined) return inUserNamespace(words)
    return start(values, way, command)
  },
}

type Values = ReturnType<typeof readWords<typeof OPTIONS>>['values']

async function start(values: Values, way: Way, command: readonly string[]): Promise<number> {
  const environment = mountEnvironment()
  const manifest = values.manifest === undefined ? {} : await readManifest(values.manifest)
  const url = values.url ?? environment.url
  if (url === undefined) throw new UsageError('--url URL is missing, and KARST_URL is not set')
  const ca = values.ca ?? environment.ca
  const credential = credentialOf({ certificate: values.certificate, tokenFile: values['token-file'] })
  const hours = hoursIn('--proxy-hours', values['proxy-hours']) ?? 12
  const { runtime, variables } = sessionEnvironment()
  return runSession({
    ...{ way, plan: planOf(manifest, values.partition ?? []), manifest, command, url: url.replace(/\/+$/, '') },
    ...(values.inside !== undefined && { inside: insideIn(values.inside) }),
    ...(values.id !== undefined && { id: values.id }),
    ...(values.user !== undefined && { user: values.user }),
    ...(ca !== undefined && { ca: resolve(ca) }),
    ...(credential.certificate !== undefined && { certificate: resolve(credential.certificate) }),
    ...(credential.tokenFile !== undefined && { tokenFile: resolve(credential.tokenFile) }),
    ...(runtime !== undefined && { runtime }),
    ...(values.timeout !== undefined && { timeout: secondsIn(values.timeout) }),
    ask: burstsAt(values),
    proxyHours: hours,
    stateDir: environment.state,
    binds: bindsIn(values.bind ?? []),
    environment: variables,
    finish: (run) => [...self(), 'session', '--finish', run],
    leave: leaveGateway,
    tell: (line) => complain(`karst session: ${line}`),
  })
}

/** What runs karst: this program with this runtime. */
const self = (): string[] => [process.execPath, ...process.execArgv, process.argv[1] ?? '']

/** In place of a launcher that was killed, or of those beside it. */
async function finish(run: string, others: boolean): Promise<number> {
  const { finishAbandoned, finishSession } = await import('../../mount/session/finish.ts')
  const left = await (others ? finishAbandoned : finishSession)(RunFolder.at(run), { leave: leaveGateway })
  for (const line of left) complain(`karst session: ${line}`)
  return left.length === 0 ? 0 : 1
}

/** The same again, as root of a user namespace; it ends with this process. */
async function inUserNamespace(words: readonly string[]): Promise<number> {
  const inside = `${process.geteuid?.() ?? 0}:${process.getegid?.() ?? 0}`
  const namespaces = ['--user', '--map-root-user', '--mount', '--', 'setpriv', '--pdeathsig', 'TERM', '--']
  const again = [...namespaces, ...self(), 'session', '--inside', inside, ...words]
  const child = spawn('unshare', again, { stdio: 'inherit' })
  for (const name of ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const)
    process.on(name, () => child.kill(name))
  const [code] = (await once(child, 'exit')) as [number | null]
  return code ?? NOT_RUN
}

function insideIn(text: string): { uid: number; gid: number } {
  const [, uid = '', gid = ''] = /^(\d{1,10}):(\d{1,10})$/.exec(text) ?? []
  if (gid === '') throw new UsageError('--inside is for karst itself')
  return { uid: Number(uid), gid: Number(gid) }
}

function wayIn(text: string | undefined): Way | undefined {
  const found = WAYS.find((one) => one === text)
  if (text !== undefined && found === undefined) throw new UsageError(`--way is one of ${WAYS.join(', ')}`)
  return found
}

function secondsIn(text: string): number {
  if (!/^\d{1,9}(\.\d+)?$/.test(text) || Number(text) === 0)
    throw new UsageError('--timeout is a number of seconds above 0')
  return Number(text)
}

function bindsIn(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const [, name = '', dir = ''] = /^([a-z][a-z0-9-]*)=(\/.*)$/.exec(word) ?? []
      if (dir === '') throw new UsageError(`--bind ${word}: a backend, =, and the directory where this node has it`)
      return [name, dir]
    }),
  )
}

/** JSON or YAML. UsageError with every mistake. */
async function readManifest(file: string): Promise<Manifest> {
  const { manifestIn } = await import('./session-manifest.ts')
  return manifestIn(named('the manifest', file).toString('utf8'), file)
}
