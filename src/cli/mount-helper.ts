/** `mount -t karst`, fstab: the words that mount(8) gives to its helpers (mount(8), "External helpers") as those of `karst mount`. */
import { type MountCommandOptions } from '../../mount/command.ts'
import { mountEnvironment } from '../environment.ts'
import { complain, UsageError, type Command } from './command.ts'
import { credentialOf } from './service.ts'

/** Said to mount(8) or to the kernel of any mount, or what holds anyway: FUSE mounts are nosuid and nodev. */
const IGNORED = new Set(
  (
    'defaults auto noauto user nouser users owner group nofail _netdev rw suid nosuid dev nodev async sync atime noatime ' +
    'relatime norelatime strictatime diratime nodiratime silent loud mand nomand'
  ).split(' '),
)
const FLAGS = { ro: 'readOnly', noexec: 'noExec', allow_other: 'allowOther', trusted: 'trusted' } as const
const TEXTS = {
  url: 'url',
  registry: 'registry',
  ca: 'ca',
  certificate: 'certificate',
  cert: 'certificate',
  'token-file': 'tokenFile',
  state: 'stateDir',
} as const
const NUMBERS = { timeout: 'timeout', ttl: 'ttl', uid: 'uid', gid: 'gid' } as const

export interface HelperWords {
  readonly source: string
  readonly dir: string
  readonly options: readonly string[]
  /** `-s`: options that nobody knows are passed over */
  readonly sloppy: boolean
  /** `-f`: all but the mounting */
  readonly fake: boolean
}

/** SOURCE DIR [-sfnv] [-N namespace] [-t type] [-o options]. UsageError. */
export function helperWords(words: readonly string[]): HelperWords {
  const places: string[] = []
  const options: string[] = []
  let flags = ''
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? ''
    if (word === '-o') options.push(...(words[++i] ?? '').split(','))
    else if (word === '-t' || word === '-N') i++
    else if (/^-[sfnvrw]+$/.test(word)) flags += word.slice(1)
    else if (word.startsWith('-')) throw new UsageError(`unexpected: ${word}`)
    else places.push(word)
  }
  const [source, dir] = places
  if (source === undefined || dir === undefined || places.length > 2)
    throw new UsageError('it is SOURCE DIR [-o OPTIONS]')
  if (flags.includes('r')) options.push('ro')
  return { source, dir, options, sloppy: flags.includes('s'), fake: flags.includes('f') }
}

/** What `karst mount` would be told. UsageError for options that nobody knows. */
export function mountOptionsOf({ source, dir, options, sloppy }: HelperWords): Partial<MountCommandOptions> {
  const told: Record<string, unknown> = { uri: source, dir }
  for (const option of options) {
    const [name = '', ...rest] = option.split('=')
    const value = rest.join('=')
    if (name === '' || IGNORED.has(name) || name.startsWith('x-') || name === 'comment') continue
    if (isOf(FLAGS, name)) told[FLAGS[name]] = true
    else if (name === 'exec') delete told['noExec']
    else if (isOf(TEXTS, name) && value !== '') told[TEXTS[name]] = value
    else if (isOf(NUMBERS, name) && /^\d+(\.\d+)?$/.test(value)) told[NUMBERS[name]] = Number(value)
    else if (!sloppy) throw new UsageError(`mount option ${option}`)
  }
  return told
}

function isOf<T extends object>(table: T, name: string): name is Extract<keyof T, string> {
  return Object.hasOwn(table, name)
}

export const mountHelper: Command = {
  name: 'mount-helper',
  usage: 'mount -t karst vos://AUTHORITY~SERVICE/PATH DIR -o url=URL,certificate=PEM,ca=PEM,ro,allow_other,timeout=S',
  summary: 'what mount(8) and fstab call, through bin/mount.karst in /sbin',
  run: async (words) => {
    const read = helperWords(words)
    const told = mountOptionsOf(read)
    const environment = mountEnvironment()
    const { certificate, tokenFile, ...rest } = told
    const url = told.url ?? (told.registry === undefined ? environment.url : undefined)
    if (read.fake) return 0
    const { mountCommand } = await import('../../mount/command.ts')
    try {
      await mountCommand({
        ...{ readOnly: false, allowOther: false, foreground: false, stateDir: environment.state },
        ...{ uri: read.source, dir: read.dir },
        ...rest,
        ...credentialOf({ certificate, tokenFile }),
        ...(url !== undefined && { url }),
      })
      return 0
    } catch (error) {
      complain(`mount.karst: ${error instanceof Error ? error.message : String(error)}`)
      return 32 // mount failure, mount(8)
    }
  },
}
