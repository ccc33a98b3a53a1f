/** `karst doctor`: whether a container has what programs need, and what to do about what is missing. */
import { thisContainer } from '../../mount/session/container.ts'
import { examine, type Finding } from '../../mount/session/doctor.ts'
import { sessionEnvironment, toldEnvironment } from '../environment.ts'
import { columns, readWords, say, type Command } from './command.ts'
import { printable } from './service.ts'

export const doctor: Command = {
  name: 'doctor',
  usage:
    'karst doctor [--json]\n' +
    '       looks at the user, the environment, the certificate, the partitions, the home, its locks and the space left, and for sessions that were left behind.\n       Exit code 1: something is missing',
  summary: 'run inside a container: whether it has what programs need of karst, with a fix for what is missing',
  run: async (words) => {
    const { values } = readWords(words, { json: { type: 'boolean' } })
    const findings = await examine(thisContainer(toldEnvironment(), sessionEnvironment().runtime))
    const ok = findings.every((one) => one.ok)
    if (values.json === true) say(JSON.stringify({ ok, findings }))
    else for (const line of linesOf(findings)) say(line)
    return ok ? 0 : 1
  },
}

/** A line for each, below it what to do; last how many are wrong. */
function linesOf(findings: readonly Finding[]): string[] {
  const rows = columns(findings.map(({ name, ok, says }) => [ok ? 'ok' : 'wrong', printable(name), printable(says)]))
  const wrong = findings.filter(({ ok }) => !ok).length
  return [
    ...findings.flatMap(({ fix }, i) => [
      rows[i] ?? '',
      ...(fix === undefined ? [] : [`       fix: ${printable(fix)}`]),
    ]),
    wrong === 0 ? 'nothing is missing' : `${wrong} of ${findings.length} are wrong`,
  ]
}
