// mount/SEMANTICS.md and its tests say the same: a claim without a test of its name is no claim, and the other way round.
import fs from 'node:fs'
import path from 'node:path'
import t from 'tap'

const here = import.meta.dirname
const document = fs.readFileSync(path.join(here, '../../mount/SEMANTICS.md'), 'utf8')

function claims(): string[] {
  return [...document.matchAll(/^- `([a-z-]+)`/gm)].map(([, name]) => name ?? '')
}

/** Titles of one word: the others are sentences about more than a claim. */
function tests(): string[] {
  const files = fs.readdirSync(here).filter((name) => /^semantics-.*\.test\.ts$/.test(name))
  return files.flatMap((name) => {
    const text = fs.readFileSync(path.join(here, name), 'utf8')
    return [...text.matchAll(/t\.test\(\s*'([a-z-]+)'/g)].map(([, title]) => title ?? '')
  })
}

void t.test('every claim of SEMANTICS.md has a test of its name, and every such test its claim', async (t) => {
  const known = new Set(tests())
  known.delete('programs')
  t.ok(claims().length > 40)
  t.equal(new Set(claims()).size, claims().length, 'no claim is made twice')
  t.same(
    claims().filter((name) => !known.has(name)),
    [],
    'claims without a test',
  )
  t.same(
    [...known].filter((name) => !claims().includes(name)),
    [],
    'tests without a claim',
  )
})
