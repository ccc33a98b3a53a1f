/** `karst proxy`: RFC 3820 proxies made, looked at, renewed and destroyed, in the manner of grid-proxy-init and its kin. */
import { readWords, UsageError, type Command } from './command.ts'
import { delegateProxy } from './proxy-delegate.ts'
import { destroyProxy, showProxy } from './proxy-info.ts'
import { initProxy } from './proxy-init.ts'
import { renewProxy } from './proxy-renew.ts'

const SOURCE = {
  certificate: { type: 'string' },
  'certificate-key': { type: 'string' },
  'passphrase-file': { type: 'string' },
} as const

const SHAPE = {
  key: { type: 'string' },
  'path-length': { type: 'string' },
  limited: { type: 'boolean' },
  hours: { type: 'string' },
  out: { type: 'string' },
} as const

const RENEW = { ...SOURCE, ...SHAPE, within: { type: 'string' } } as const
const INFO = {
  file: { type: 'string' },
  exists: { type: 'boolean' },
  valid: { type: 'string' },
  bits: { type: 'string' },
} as const

const DELEGATE = {
  certificate: { type: 'string' },
  hours: { type: 'string' },
  url: { type: 'string' },
  ca: { type: 'string' },
} as const

const ACTIONS: Readonly<Record<string, (words: readonly string[]) => Promise<number>>> = {
  init: async (words) => await initProxy(readWords(words, { ...SOURCE, ...SHAPE }).values),
  info: async (words) => await showProxy(readWords(words, INFO).values),
  renew: async (words) => await renewProxy(readWords(words, RENEW).values),
  delegate: async (words) => await delegateProxy(readWords(words, DELEGATE).values),
  destroy: async (words) => await destroyProxy(readWords(words, { file: { type: 'string' } }).values),
}

export const proxy: Command = {
  name: 'proxy',
  usage:
    'karst proxy init    [--certificate PEM|P12] [--certificate-key PEM] [--passphrase-file FILE]\n' +
    '                           [--hours H] [--key rsa:2048|ec:P-256] [--path-length N] [--limited] [--out FILE]\n' +
    '       karst proxy info    [--file FILE] [--exists] [--valid H:M] [--bits N]\n' +
    '       karst proxy renew   [--within H] [as init]\n' +
    '       karst proxy destroy [--file FILE]\n' +
    '       karst proxy delegate [--certificate PEM] [--hours H] --url URL [--ca PEM]\n' +
    'The proxy is $X509_USER_PROXY or /tmp/x509up_uUID. It is made from $X509_USER_CERT and $X509_USER_KEY, or in ~/.globus from\n' +
    'usercert.pem and userkey.pem or usercred.p12; a passphrase is asked for at the terminal. info --exists is silent and ends with 0\n' +
    'when there is a proxy that is good (for H:M more, with a key of N bits), else with 1. A proxy lasts 12 hours unless --hours says\n' +
    'otherwise. renew makes a new one when fewer than H hours (4) are left, of the same kind; when that fails, the old one stays.\n' +
    'delegate lets the gateway at URL act for you at other services, for a day at most.',
  summary: 'a proxy certificate: makes it, shows it, renews it (for cron), delegates and destroys it',
  run: async ([action = '', ...words]) => {
    const run = Object.hasOwn(ACTIONS, action) ? ACTIONS[action] : undefined
    if (run === undefined) throw new UsageError('it is init, info, renew, delegate or destroy')
    return await run(words)
  },
}
