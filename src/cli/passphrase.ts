/** Passphrases: from a file or the terminal, never from the command line, where every user of the machine would see them. */
import { closeSync, openSync } from 'node:fs'
import { isatty, ReadStream } from 'node:tty'
import { type AskPassphrase } from '../identity/credential-source.ts'
import { readPrivate } from '../identity/private-file.ts'
import { Fault } from '../vospace/fault.ts'

/** The first line of `file`; without one the terminal is asked. PermissionDenied when others may read the file. */
export function passphraseFrom(file: string | undefined): AskPassphrase {
  if (file === undefined) return async (what) => await fromTerminal(`Passphrase of ${what}: `, what)
  return async () => {
    const [line = ''] = (await readPrivate(file)).toString('utf8').split(/\r?\n/, 1)
    if (line === '') throw new Fault('InvalidData', `${file}: no passphrase in its first line`)
    return line
  }
}

/** Reads a line without showing it, from the terminal even where standard input is something else. */
async function fromTerminal(prompt: string, what: string): Promise<string> {
  const descriptor = openTerminal(what)
  const terminal = new ReadStream(descriptor)
  // before the prompt: who answers at once is not to see it either
  terminal.setRawMode(true)
  process.stderr.write(prompt)
  try {
    return await readLine(terminal)
  } finally {
    terminal.setRawMode(false)
    terminal.destroy()
    process.stderr.write('\n')
  }
}

function openTerminal(what: string): number {
  const descriptor = tryTerminal(what)
  // a session without a terminal may still open the file
  if (isatty(descriptor)) return descriptor
  closeSync(descriptor)
  throw noTerminal(what)
}

function tryTerminal(what: string): number {
  try {
    return openSync('/dev/tty', 'r+')
  } catch (error) {
    throw noTerminal(what, error)
  }
}

const noTerminal = (what: string, cause?: unknown): Fault =>
  new Fault('InvalidArgument', `${what} is encrypted, and there is no terminal to ask at: give --passphrase-file`, {
    cause,
  })

const END = new Set(['\r', '\n', '\u0004'])
const ERASE = new Set(['\u007f', '\b'])
const ERASE_LINE = '\u0015'
const INTERRUPT = '\u0003'

function readLine(terminal: ReadStream): Promise<string> {
  terminal.setEncoding('utf8')
  return new Promise((resolve, reject) => {
    let typed: string[] = []
    terminal.on('error', reject)
    terminal.on('end', () => reject(new Fault('InvalidArgument', 'the terminal was closed')))
    terminal.on('data', (part: Buffer | string) => {
      for (const character of String(part)) {
        if (END.has(character)) return resolve(typed.join(''))
        if (character === INTERRUPT) return reject(new Fault('InvalidArgument', 'interrupted'))
        if (ERASE.has(character)) typed = typed.slice(0, -1)
        else if (character === ERASE_LINE) typed = []
        else typed.push(character)
      }
    })
  })
}
