/** `karst import`: the objects of a bucket become nodes under their own keys, over HTTPS, as an administrator. */
import { complain, readWords, say, UsageError, type Command } from './command.ts'
import { endOf, ended, type JobRow } from './job.ts'
import { type Ask, printable, SERVICE_OPTIONS, SERVICE_USAGE, serviceOf } from './service.ts'

const OPTIONS = { ...SERVICE_OPTIONS, writable: { type: 'boolean' }, forget: { type: 'boolean' } } as const

/** `done`: objects met; nodes forgotten */
interface Row extends JobRow {
  readonly counts?: Readonly<Record<'objects' | 'added' | 'changed' | 'removed' | 'leftOut', number>>
}

const REASONS: Readonly<Record<string, string>> = {
  name: 'a step of its key is no name of a node',
  long: 'its key is too long for a path',
  marker: 'it stands for a container, and is no node itself',
  taken: 'another node stands there',
  below: 'its key goes on below a data node',
  prefix: 'its key is the container of others',
  reserved: 'its key has a reserved name',
}

export const importCommand: Command = {
  name: 'import',
  usage:
    'karst import s3://BUCKET/PREFIX vos://AUTHORITY~SERVICE/PATH [--writable]\n' +
    '       karst import --forget vos://AUTHORITY~SERVICE/PATH\n' +
    '       PATH: a container in a storage of type s3, whose owner and sharing the nodes get. Again: what is new, changed or deleted\n' +
    `       ${SERVICE_USAGE}`,
  summary: 'makes the objects of a bucket nodes, under the keys that others read them by',
  run: async (words) => {
    const { values, positionals } = readWords(words, OPTIONS, { min: 1, max: 2 })
    const forget = values.forget === true
    const [source, uri] = forget ? [undefined, positionals[0]] : positionals
    if (uri === undefined || (forget && positionals.length > 1)) throw new UsageError('say what comes where')
    if (forget && values.writable === true) throw new UsageError('--forget and --writable do not go together')
    const { ask, path } = await serviceOf(uri, values)
    const what = forget ? { forget } : { source, writable: values.writable === true }
    const { job } = (await ask('POST', '/imports', { path, ...what })) as { readonly job: string }
    const row = await ended<Row>(ask, `/imports/${job}`, 'objects')
    if (row.phase !== 'COMPLETED') {
      complain(`karst import: ${endOf(row)}; what was brought stays, and the same again goes on`)
      return 1
    }
    const { done, counts } = row
    if (forget) say(`${done} nodes are forgotten; the objects are as they were`)
    if (counts === undefined) return 0
    const { objects, added, changed, removed, leftOut } = counts
    say(`${objects} objects: ${added} new, ${changed} changed, ${removed} gone, ${leftOut} that are no nodes`)
    if (leftOut > 0) await tellLeftOut(ask, job)
    return 0
  },
} // prettier-ignore

async function tellLeftOut(ask: Ask, job: string): Promise<void> {
  for (let after = ''; ;) {
    const query = `after=${encodeURIComponent(after)}`
    const page = (await ask('GET', `/imports/${job}/left-out?${query}`)) as { objects: { key: string; reason: string }[] }
    for (const { key, reason } of page.objects) say(`${printable(key)}: ${REASONS[reason] ?? reason}`)
    const last = page.objects.at(-1)
    if (last === undefined) return
    after = last.key
  }
} // prettier-ignore
