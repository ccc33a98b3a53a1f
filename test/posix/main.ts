/** `npm run test:posix`: the suites on a trusted mount, a line for what is not as it shall be, and last the counts. Words choose cases. */
import { prepareGround } from './ground.ts'
import { pjdfstest } from './suite.ts'

const words = process.argv.slice(2)
const ground = await prepareGround({ trusted: !words.includes('--ordinary') })
try {
  const cases = await pjdfstest(
    ground,
    words.filter((word) => !word.startsWith('--')),
  )
  const of = (verdict: string) => cases.filter((one) => one.verdict === verdict)
  for (const { name, why } of of('failed')) console.log(`failed: ${name}\n    ${why}`)
  for (const { name, why } of of('skipped')) console.log(`skipped: ${name}: ${why}`)
  console.log(`\n${of('passed').length} passed, ${of('failed').length} failed, ${of('skipped').length} skipped`)
} finally {
  await ground.close()
}
