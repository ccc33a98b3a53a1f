/** The manifest of a session, read and checked whole against schemas/session.schema.json. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import { parse } from 'yaml'
import { type Manifest } from '../../mount/session/plan.ts'
import { PACKAGE_ROOT } from '../environment.ts'
import { Fault } from '../vospace/fault.ts'

/** JSON or YAML, which JSON is too. InvalidArgument with every mistake. */
export function manifestIn(text: string, name: string): Manifest {
  const document = parsed(text, name)
  const schema = JSON.parse(readFileSync(join(PACKAGE_ROOT, 'schemas', 'session.schema.json'), 'utf8')) as object
  const valid = new Ajv({ allErrors: true, strict: false }).compile<Manifest>(schema)
  if (valid(document)) return document
  const mistakes = (valid.errors ?? []).map(({ instancePath, message = 'is wrong', params }) => {
    const extra = (params as Record<string, unknown>)['additionalProperty']
    const where = instancePath === '' ? 'the document' : instancePath.slice(1).replaceAll('/', '.')
    return `${where} ${message}${extra === undefined ? '' : ` (${JSON.stringify(extra)})`}`
  })
  throw new Fault(
    'InvalidArgument',
    `${name}: ${mistakes.join('; ')}: schemas/session.schema.json has what there may be`,
  )
}

function parsed(text: string, name: string): unknown {
  try {
    return parse(text) as unknown
  } catch (error) {
    throw new Fault('InvalidArgument', `${name}: ${(error as Error).message.split('\n')[0]}`, { cause: error })
  }
}
