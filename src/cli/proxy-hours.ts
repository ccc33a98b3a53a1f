/** How long a proxy shall last, as it is written on command lines. */
import { UsageError } from './command.ts'

/** Hours above 0, as a decimal number. UsageError for anything else. */
export function hoursIn(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const hours = Number(text)
  if (!/^\d{1,6}(\.\d+)?$/.test(text) || hours === 0) throw new UsageError(`${option} is a number of hours above 0`)
  return hours
}
