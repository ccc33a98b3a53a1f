/** `karst check`: whether the catalogs of S3 backends agree with their buckets. */
import { checkStorages } from '../app.ts'
import { loadConfig } from '../config.ts'
import { readWords, say, UsageError, type Command } from './command.ts'
import { printable } from './service.ts'

const WORDS = {
  orphan: 'an object that no node has',
  upload: 'parts of an object that no node has',
  dangling: 'a node whose bytes are gone from the bucket',
  different: 'a node whose bytes are others in the bucket',
  gone: 'an imported node whose object others have deleted: import again',
  stale: 'an imported node whose object others have written: import again',
} as const

export const check: Command = {
  name: 'check',
  usage:
    'karst check --config FILE [--repair]\n' +
    '       --repair: deletes orphans, and removes nodes whose bytes are gone; beside a running gateway too. Exit code 1: something is left',
  summary: 'compares the catalogs of S3 backends with their buckets, object by object',
  run: async (words) => {
    const { values } = readWords(words, { config: { type: 'string' }, repair: { type: 'boolean' } })
    if (values.config === undefined) throw new UsageError('--config FILE is missing')
    const config = loadConfig(values.config)
    let left = 0
    const counts = await checkStorages(config, {
      repair: values.repair === true,
      found: (name, { kind, what, repaired }) => {
        if (!repaired) left++
        say(`${name}: ${printable(what)}: ${WORDS[kind]}${repaired ? '; removed' : ''}`)
      },
    })
    for (const [name, { objects, waiting }] of counts) {
      say(`${name}: ${objects} objects; ${waiting} keys are being written or about to go`)
    }
    if (counts.size === 0) say('no backend of this configuration has a catalog')
    return left === 0 ? 0 : 1
  },
}
