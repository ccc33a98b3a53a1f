/** `karst proxy info` and `destroy`: what the proxy says of itself, an answer for scripts, and its end. */
import { lstat, stat } from 'node:fs/promises'
import { proxyEnvironment } from '../environment.ts'
import { parseCredential, readCredential } from '../identity/pem.ts'
import { wipe } from '../identity/private-file.ts'
import { describeCredential, type ProxyReport } from '../identity/proxy-report.ts'
import { Fault } from '../vospace/fault.ts'
import { complain, say, UsageError } from './command.ts'

export interface InfoWords {
  readonly file?: string | undefined
  readonly exists?: boolean | undefined
  readonly valid?: string | undefined
  readonly bits?: string | undefined
}

/** 0: there is one, good for as long as was asked; 1: not. */
export async function showProxy(words: InfoWords): Promise<number> {
  const wanted = { seconds: secondsIn(words.valid), bits: bitsIn(words.bits) }
  const file = words.file ?? proxyEnvironment().proxy
  const report =
    words.exists === true ? await existing(file) : describeCredential(await readCredential(await present(file)))
  if (report === undefined) return 1
  if (words.exists !== true) await show(file, report)
  if (words.exists !== true && words.valid === undefined && words.bits === undefined) return 0
  const left = (report.expires.getTime() - Date.now()) / 1000
  return left > 0 && left >= wanted.seconds && report.bits >= wanted.bits ? 0 : 1
}

/** Its name, when there is one. NodeNotFound. */
export async function present(file: string): Promise<string> {
  const found = await lstat(file).catch((error: unknown) => {
    if (isMissing(error)) return undefined
    throw error
  })
  if (found === undefined) throw new Fault('NodeNotFound', `there is no proxy ${file}: karst proxy init makes one`)
  return file
}

const isMissing = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ENOENT'

// for scripts: no proxy, or a damaged one, is an answer
async function existing(file: string): Promise<ProxyReport | undefined> {
  try {
    return describeCredential(await readCredential(file))
  } catch (error) {
    if (!isMissing(error)) complain(`karst proxy: ${(error as Error).message}`)
    return undefined
  }
}

/** `H:M` or `H`. UsageError. */
function secondsIn(valid: string | undefined): number {
  if (valid === undefined) return 0
  const [, hours, minutes = '0'] = /^(\d{1,6})(?::(\d{1,2}))?$/.exec(valid) ?? []
  if (hours === undefined || Number(minutes) > 59) throw new UsageError('--valid is H:M, hours and minutes')
  return Number(hours) * 3600 + Number(minutes) * 60
}

function bitsIn(bits: string | undefined): number {
  if (bits !== undefined && !/^\d{1,5}$/.test(bits)) throw new UsageError('--bits is a number of bits')
  return Number(bits ?? 0)
}

async function show(file: string, report: ProxyReport): Promise<void> {
  const { subject, issuer, identity, type, key, bits, pathLength, expires } = report
  const lines = {
    subject,
    issuer,
    identity,
    type,
    strength: `${bits} bits (${key === 'other' ? 'another kind' : key.toUpperCase()})`,
    'path length': pathLength === Infinity ? 'unlimited' : String(pathLength),
    path: file,
    timeleft: timeLeft(expires),
  }
  for (const [name, value] of Object.entries(lines)) say(`${name.padEnd(11)} : ${value}`)
  if (((await stat(file)).mode & 0o077) !== 0) complain(`karst proxy: others may read ${file}: chmod 600 ${file}`)
}

/** `H:MM:SS`, 0:00:00 when it has ended. */
function timeLeft(expires: Date): string {
  const left = Math.max(0, Math.floor((expires.getTime() - Date.now()) / 1000))
  const two = (number: number): string => String(number).padStart(2, '0')
  return `${Math.floor(left / 3600)}:${two(Math.floor(left / 60) % 60)}:${two(left % 60)}`
}

/** Overwrites the proxy, then removes it. InvalidData for a file that is no proxy: it stays as it is. */
export async function destroyProxy(words: { readonly file?: string | undefined }): Promise<number> {
  const file = words.file ?? proxyEnvironment().proxy
  await wipe(await present(file), (bytes) => {
    const { isProxy } = describeCredential(parseCredential(bytes.toString('latin1'), file))
    if (!isProxy) throw new Fault('InvalidData', `${file} is no proxy, but an end entity: it is left as it is`)
  })
  return 0
}
