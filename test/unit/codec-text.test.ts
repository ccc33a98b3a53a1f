/** Fault bodies and parameters: what is not XML. */
import t from 'tap'
import { writeFault } from '../../src/codec/fault-text.ts'
import { parseParameters } from '../../src/codec/form.ts'
import { Fault, isFault } from '../../src/vospace/fault.ts'
import { evilText, random } from './codec-random.ts'
import { refusal } from './codec-refusal.ts'

const body = (detail: string): string => writeFault(new Fault('NodeNotFound', detail))

t.test('it writes a fault as its name, a colon and the detail', async (t) => {
  t.equal(body('vos://karst.local~karst/home/alice/é 🜁'), 'NodeNotFound: vos://karst.local~karst/home/alice/é 🜁\n')
})

t.test('it lets no control character into a fault', async (t) => {
  t.equal(body('a\r\nSet-Cookie: x\x1b[31m\0\x7f\x9b\u2028\u202eb\n'), 'NodeNotFound: a Set-Cookie: x [31m b\n')
  t.equal(body('\ud800'), 'NodeNotFound: \ufffd\n')
  for (let seed = 1; seed <= 200; seed++)
    t.match(body(evilText(random(seed))), /^NodeNotFound:[^\p{Cc}\p{Cs}]*\n$/u, `seed ${seed}`)
})

t.test('it caps a fault at 2 KiB, at the end of a character', async (t) => {
  for (const character of ['x', 'é', '√', '🜁']) {
    for (let shift = 0; shift < 4; shift++) {
      const text = body('y'.repeat(shift) + character.repeat(3000))
      const bytes = Buffer.from(text)
      t.ok(bytes.length <= 2048 && bytes.length > 2043, `${bytes.length} bytes`)
      t.notMatch(text, '\ufffd')
      t.ok(text.endsWith(`${character}\n`))
    }
  }
})

t.test('it reads parameters by lower-case name', async (t) => {
  const parameters = parseParameters(
    'Detail=min&LIMIT=0&uri=vos%3A%2F%2Fa~b%2Fc%2Bd+e&limit=5&empty=&flag&&a=b=c&%C3%89T%C3%89=1',
  )
  t.strictSame(
    [...parameters],
    [
      ['detail', ['min']],
      ['limit', ['0', '5']],
      ['uri', ['vos://a~b/c+d e']],
      ['empty', ['']],
      ['flag', ['']],
      ['a', ['b=c']],
      ['été', ['1']],
    ],
  )
  t.strictSame([...parseParameters('')], [])
  t.strictSame([...parseParameters('__proto__=1')], [['__proto__', ['1']]])
})

t.test('it refuses percent signs that start no code, and what is not UTF-8', async (t) => {
  for (const text of [
    'a=%',
    'a=%4',
    'a=%zz',
    '%=1',
    'a=%ff',
    'a=%c3',
    'a=%ed%a0%80',
    'a=%c0%80',
    `a=${'%'.repeat(100_000)}`,
  ]) {
    t.equal(refusal(() => parseParameters(text)).fault, 'InvalidArgument', text.slice(0, 20))
  }
})

t.test('it refuses more than a thousand parameters', async (t) => {
  t.equal(parseParameters('a=1&'.repeat(999)).get('a')?.length, 999)
  t.equal(refusal(() => parseParameters('a=1&'.repeat(1_000_000))).fault, 'InvalidArgument')
})

t.test('it answers any text with parameters or a Fault', async (t) => {
  for (let seed = 1; seed <= 500; seed++) {
    const source = random(seed)
    const text = Array.from({ length: 20 }, () =>
      source.pick(['%', '&', '=', '+', '4', '1', 'a', '%41', '%e2%82%ac', '\0', '\ud800', ';']),
    ).join('')
    try {
      parseParameters(text)
    } catch (error) {
      t.ok(isFault(error, 'InvalidArgument'), `seed ${seed}`)
    }
  }
})
