/** Jobs as UWS 1.1 documents (wire.md 4.5); the order of the elements is the schema's. */
import { type Job } from '../vospace/transfer.ts'
import { KARST_JOB, UWS, XLINK, XSI } from './namespaces.ts'
import { transferElement } from './transfer-codec.ts'
import { attribute, textElement, XML_DECLARATION } from './xml-text.ts'

const NAMESPACES = ` xmlns:uws="${UWS}" xmlns:xlink="${XLINK}" xmlns:xsi="${XSI}"`
const VERSION = ' version="1.1"'
/** xs:int, which executionDuration is. */
const MAX_INT = 2 ** 31 - 1

/** The whole job, with the transfer that was asked for as jobInfo (UWS 1.1 section on the job). */
export function writeJob(job: Job): string {
  const duration = Math.min(Math.max(Math.trunc(job.executionDuration), 0), MAX_INT)
  return `${XML_DECLARATION}<uws:job${NAMESPACES}${VERSION}>
  ${textElement('uws:jobId', job.id)}
  <uws:runId/>
  ${ownerElement(job.owner)}
  <uws:phase>${job.phase}</uws:phase>
  <uws:quote xsi:nil="true"/>
  ${timeElement('creationTime', job.created)}
  ${timeElement('startTime', job.started)}
  ${timeElement('endTime', job.ended)}
  <uws:executionDuration>${duration}</uws:executionDuration>
  ${timeElement('destruction', job.destruction)}
${parametersElement(job, '  ')}${resultsElement(job, '  ')}${errorElement(job.error)}${infoElement(job)}</uws:job>
`
}

/** The job list; `base` is the URL of the list, without a slash at the end. */
export function writeJobs(jobs: readonly Job[], base: string): string {
  const list = jobs.map(
    (
      job,
    ) => `  <uws:jobref${attribute('id', job.id)}${attribute('xlink:href', `${base}/${encodeURIComponent(job.id.toWellFormed())}`)}>
    <uws:phase>${job.phase}</uws:phase>
    ${ownerElement(job.owner)}
    ${timeElement('creationTime', job.created)}
  </uws:jobref>
`,
  )
  return `${XML_DECLARATION}<uws:jobs${NAMESPACES}${VERSION}>\n${list.join('')}</uws:jobs>\n`
}

/** What stands at `{job}/results`. */
export function writeResults(job: Job): string {
  return XML_DECLARATION + resultsElement(job, '', NAMESPACES)
}

/** What stands at `{job}/parameters`; a transfer is given as a document, so it has none. */
export function writeParameters(job: Job): string {
  return XML_DECLARATION + parametersElement(job, '', NAMESPACES)
}

function parametersElement({ parameters = {} }: Job, indent: string, namespaces = ''): string {
  const list = Object.entries(parameters).map(
    ([id, value]) => `${indent}  ${textElement('uws:parameter', value, attribute('id', id))}\n`,
  )
  if (list.length === 0) return `${indent}<uws:parameters${namespaces}/>\n`
  return `${indent}<uws:parameters${namespaces}>\n${list.join('')}${indent}</uws:parameters>\n`
}

function ownerElement(owner: string | undefined): string {
  return owner === undefined ? '<uws:ownerId xsi:nil="true"/>' : textElement('uws:ownerId', owner)
}

/** UTC with milliseconds and Z: UWS 1.1 asks for the zone, OpenCADC's reader for the milliseconds. */
function timeElement(name: string, milliseconds: number | undefined): string {
  if (milliseconds === undefined) return `<uws:${name} xsi:nil="true"/>`
  return `<uws:${name}>${new Date(milliseconds).toISOString()}</uws:${name}>`
}

function resultsElement(job: Job, indent: string, namespaces = ''): string {
  if (job.results.length === 0) return `${indent}<uws:results${namespaces}/>\n`
  const results = job.results.map(
    ({ id, href }) => `${indent}  <uws:result${attribute('id', id)}${attribute('xlink:href', href)}/>\n`,
  )
  return `${indent}<uws:results${namespaces}>\n${results.join('')}${indent}</uws:results>\n`
}

function errorElement(error: string | undefined): string {
  if (error === undefined) return ''
  const message = textElement('uws:message', error)
  return `  <uws:errorSummary type="fatal" hasDetail="false">${message}</uws:errorSummary>\n`
}

/** What was asked for, then how far it is. */
function infoElement({ transfer, progress }: Job): string {
  const asked = transfer === undefined ? '' : transferElement(transfer, '    ')
  const far = progress === undefined ? '' : `    ${progressElement(progress)}\n`
  return asked + far === '' ? '' : `  <uws:jobInfo>\n${asked}${far}  </uws:jobInfo>\n`
}

/** UWS 1.1 has no word for it; jobInfo is for what a service adds. */
function progressElement({ done, total }: NonNullable<Job['progress']>): string {
  const all = total === undefined ? '' : attribute('total', String(total))
  return `<karst:progress${attribute('xmlns:karst', KARST_JOB)}${attribute('done', String(done))}${all}/>`
}
