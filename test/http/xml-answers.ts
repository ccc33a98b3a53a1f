/**
 * Every XML answer that the tests of a file get of their gateways is held against our schemas, and the published ones where these are, all
 * together at its end: a program for each document would take longer than the tests.
 */
import t from 'tap'
import {
  asPublished,
  complaints,
  type Document,
  noPublished,
  noXmllint,
  ownFile,
  publishedFile,
} from '../unit/codec-validator.ts'

/** Root elements, and whose schema has them. */
const KINDS: Readonly<Record<string, Document>> = {
  'vos:node': 'vospace',
  'vos:transfer': 'vospace',
  'vos:protocols': 'vospace',
  'vos:views': 'vospace',
  'vos:properties': 'vospace',
  'uws:job': 'job',
  'uws:jobs': 'job',
  'uws:results': 'job',
  'uws:parameters': 'job',
  'vosi:availability': 'availability',
  'vosi:capabilities': 'capabilities',
}

/** By kind; of documents that differ in digits only, one. */
const kept = new Map<Document, Map<string, string>>()
let isWatched = false

/** Nothing is kept without it, nor where nothing can validate. */
export function watchXml(): void {
  if (isWatched || noXmllint !== false) return
  isWatched = true
  t.teardown(checkAll)
}

/** `target`: what was asked for. The bytes of a file are whatever somebody put there. */
export function keepXml(target: string, type: string | undefined, text: string): void {
  if (!isWatched || type !== 'text/xml' || text === '' || /\/files(\/|$)/.test(target)) return
  const root = /<([a-z]+:[a-z]+)[\s>]/i.exec(text)?.[1] ?? ''
  const kind = KINDS[root]
  if (kind === undefined) throw new Error(`an answer of no known kind: <${root}> to ${target}`)
  const some = kept.get(kind) ?? new Map<string, string>()
  kept.set(kind, some.set(text.replace(/\d/g, '0'), text))
}

async function checkAll(): Promise<void> {
  const found: string[] = []
  for (const [kind, some] of kept) {
    const documents = [...some.values()]
    found.push(await complaints(ownFile(kind), documents))
    if (noPublished === false) found.push(await complaints(publishedFile(kind), documents.map(asPublished)))
  }
  const invalid = found.filter((words) => words !== '')
  if (invalid.length === 0) return
  // tap says of a teardown only that it failed
  console.error(`XML answers that are not valid:\n${invalid.join('\n')}`)
  throw new Error('there were XML answers that are not valid')
}
