/** `karst mount` and `karst umount`: the words of the command line for mount/daemon.ts. */
import { mountCommand, umountCommand } from '../../mount/command.ts'
import { mountAt } from '../../mount/fuse/mountinfo.ts'
import { mountEnvironment } from '../environment.ts'
import { complain, readWords, say, UsageError, type Command } from './command.ts'
import { credentialOf } from './service.ts'

export const mount: Command = {
  name: 'mount',
  usage:
    'karst mount vos://AUTHORITY~SERVICE/PATH DIR [--certificate PEM | --token-file FILE] [--ca PEM]\n' +
    '                   [--registry URL | --url URL] [--read-only] [--allow-other | --trusted] [--uid N] [--gid N] [--foreground]\n' +
    '                   [--timeout SECONDS] [--ttl SECONDS] [--fd N]\n' +
    '       karst mount status [DIR] [--json]',
  summary:
    'mounts a node of a gateway; the credential is $X509_USER_PROXY unless named, and is read again when its file changes',
  run: async (words) => {
    if (words[0] === 'status') return (await import('./mount-status.ts')).mountStatus(words.slice(1))
    const { values, positionals } = readWords(
      words,
      {
        certificate: { type: 'string' },
        'token-file': { type: 'string' },
        ca: { type: 'string' },
        registry: { type: 'string' },
        url: { type: 'string' },
        'read-only': { type: 'boolean' },
        'allow-other': { type: 'boolean' },
        trusted: { type: 'boolean' },
        foreground: { type: 'boolean' },
        timeout: { type: 'string' },
        ttl: { type: 'string' },
        fd: { type: 'string' },
        uid: { type: 'string' },
        gid: { type: 'string' },
      },
      { min: 2, max: 2 },
    )
    const environment = mountEnvironment()
    const credential = credentialOf({ certificate: values.certificate, tokenFile: values['token-file'] })
    const url = values.url ?? (values.registry === undefined ? environment.url : undefined)
    const ca = values.ca ?? environment.ca
    const [uri = '', dir = ''] = positionals
    await mountCommand({
      uri,
      dir,
      ...credential,
      stateDir: environment.state,
      foreground: values.foreground === true,
      readOnly: values['read-only'] === true,
      allowOther: values['allow-other'] === true,
      trusted: values.trusted === true,
      ...(ca !== undefined && { ca }),
      ...(values.timeout !== undefined && { timeout: seconds('timeout', values.timeout) }),
      ...(values.ttl !== undefined && { ttl: seconds('ttl', values.ttl) }),
      ...(values.fd !== undefined && { fd: descriptor(values.fd) }),
      ...(values.uid !== undefined && { uid: id('uid', values.uid) }),
      ...(values.gid !== undefined && { gid: id('gid', values.gid) }),
      ...(values.registry !== undefined && { registry: values.registry }),
      ...(url !== undefined && { url }),
    })
    return 0
  },
}

function seconds(option: string, text: string): number {
  const value = Number(text)
  if (!/^\d+(\.\d+)?$/.test(text) || value === 0)
    throw new UsageError(`--${option} ${text}: seconds are a number above 0`)
  return value
}

function id(option: string, text: string): number {
  if (!/^\d{1,10}$/.test(text) || Number(text) > 0xffff_fffe)
    throw new UsageError(`--${option} ${text}: as whose the files are shown, a number`)
  return Number(text)
}

function descriptor(text: string): number {
  if (!/^\d{1,6}$/.test(text) || Number(text) < 3) throw new UsageError(`--fd ${text}: an open /dev/fuse, 3 or above`)
  return Number(text)
}

export const umount: Command = {
  name: 'umount',
  usage: 'karst umount DIR [--timeout SECONDS]',
  summary: 'flushes and unmounts; ends in any case, and says what could not be saved',
  run: async (words) => {
    const { values, positionals } = readWords(words, { timeout: { type: 'string' } }, { min: 1, max: 1 })
    const [dir = ''] = positionals
    if ((await mountAt(dir)) === undefined) {
      complain(`karst umount: nothing is mounted at ${dir}`)
      return 1
    }
    const left = await umountCommand({
      ...{ dir, stateDir: mountEnvironment().state },
      ...(values.timeout !== undefined && { timeout: seconds('timeout', values.timeout) }),
    })
    for (const line of left) say(line)
    return left.length === 0 ? 0 : 1
  },
}
