/** Query strings and application/x-www-form-urlencoded bodies. */
import { Fault } from '../vospace/fault.ts'

const MAX_PARAMETERS = 1000

/**
 * The values by name, names in lower case because clients differ in that (wire.md checklist 53), values in their order. `+` is a blank,
 * `%2B` a plus. Throws InvalidArgument: a percent sign that starts no code, octets that are not UTF-8, more than 1,000 parameters.
 */
export function parseParameters(text: string): Map<string, string[]> {
  const parameters = new Map<string, string[]>()
  const pairs = text.split('&', MAX_PARAMETERS + 1)
  if (pairs.length > MAX_PARAMETERS) throw new Fault('InvalidArgument', `more than ${MAX_PARAMETERS} parameters`)
  for (const pair of pairs) {
    if (pair === '') continue
    const equals = pair.indexOf('=')
    const name = decode(equals < 0 ? pair : pair.slice(0, equals)).toLowerCase()
    const value = equals < 0 ? '' : decode(pair.slice(equals + 1))
    const values = parameters.get(name)
    if (values === undefined) parameters.set(name, [value])
    else values.push(value)
  }
  return parameters
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch (error) {
    throw new Fault('InvalidArgument', `not percent-encoded UTF-8: ${text.slice(0, 200)}`, { cause: error })
  }
}
