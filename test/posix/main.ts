/**
 * `npm run test:posix`: pjdfstest and fsx on a trusted mount; every case that is not as it shall be, and last `N passed, N failed, N skipped`.
 * Words choose cases of pjdfstest; `--ordinary` measures a mount that is not trusted.
 */
import { prepareGround } from './ground.ts'
import { exceptions, fsx, pjdfstest, problemsOf } from './suite.ts'

async function main(words: readonly string[]): Promise<number> {
  const names = words.filter((word) => !word.startsWith('--'))
  const isWhole = names.length === 0
  const ground = await prepareGround({ trusted: !words.includes('--ordinary') })
  try {
    const cases = [...(await pjdfstest(ground, names)), ...(isWhole ? await fsx(ground) : [])]
    const known = exceptions()
    const problems = problemsOf(cases, known, isWhole)
    for (const { case: name, verdict, reason } of isWhole ? known : []) console.log(`${verdict}: ${name}: ${reason}`)
    for (const problem of problems) console.log(`not as expected: ${problem}`)
    const passed = cases.filter(({ verdict }) => verdict === 'passed').length
    console.log(`\n${((100 * passed) / cases.length).toFixed(1)} % of ${cases.length} cases pass`)
    // what fails as it is known to counts as skipped: nothing is to be learnt of it
    const skipped = Math.max(0, cases.length - passed - problems.length)
    console.log(`${passed} passed, ${problems.length} failed, ${skipped} skipped`)
    return problems.length === 0 && passed > 0 ? 0 : 1
  } finally {
    await ground.close()
  }
}

process.exitCode = await main(process.argv.slice(2))
