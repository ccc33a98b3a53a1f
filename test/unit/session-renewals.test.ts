/** What a session is told when its credentials are renewed. */
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { renewTokens } from '../../mount/session/renewals.ts'
import { RunFolder } from '../../mount/session/run-folder.ts'
import { type Ask, type Terms } from '../../mount/session/terms.ts'

const terms = (name: string, token: string, renew: number, bind?: Terms['bind']): Terms => ({
  ...{ name, kind: 'project', path: `/${name}`, uri: `vos://x/${name}`, access: 'write', mount: `/${name}` },
  ...{ notices: [], credential: { token, renew: new Date(renew).toISOString() }, ...(bind && { bind }) },
  user: { name: 'alice', uid: 1000, gid: 1000, groups: [] },
})

interface Asked {
  readonly partition: string
  readonly bind?: readonly string[]
}

/** Renews what is due at once; the lines that were told, and a wait for the next tokens of the partition of that number. */
function renewed(t: Test, had: readonly Terms[], answer: (asked: Asked) => Terms) {
  const run = RunFolder.make(process.geteuid?.() ?? 0, undefined)
  const told: string[] = []
  const ask: Ask = async (_method, _path, document) => answer(document as Asked)
  const agreed = had.map((one) => ({ planned: { partition: `project:${one.name}` }, terms: one, at: `/${one.name}` }))
  const stop = renewTokens(
    { ask, tell: (line) => void told.push(line) },
    { run, name: { session: 's', member: 'm' }, agreed },
  )
  t.teardown(() => {
    stop.forEach((end) => end())
    run.remove()
  })
  const token = async (index: number): Promise<string> => {
    const file = run.driver(`token-${index}`)
    for (let i = 0; i < 200 && !existsSync(file); i++) await sleep(50)
    const text = readFileSync(file, 'utf8')
    rmSync(file)
    return text
  }
  return { told, token }
}

const LATER = Date.now() + 3_600_000

t.test('a partition that is refused from now on keeps no other from being renewed', async (t) => {
  const { told, token } = renewed(t, [terms('gone', 'old', 0), terms('kept', 'old', 0)], ({ partition }) => {
    if (partition === 'project:gone') throw new Error('no member any more')
    return terms('kept', 'new', LATER)
  })
  t.equal(await token(1), 'new')
  t.match(told, [/project:gone could not be renewed.*no member any more/])
})

t.test('where a forced migration took a bind mount elsewhere its user is told, once', async (t) => {
  const bind = { backend: 'main', path: 'projects/taken' }
  const asked: Asked[] = []
  const { told, token } = renewed(t, [terms('taken', 'old', 0, bind)], (one) => {
    asked.push(one)
    // as the gateway answers when `main` keeps it no more
    return terms('taken', `new ${asked.length}`, asked.length === 1 ? 0 : LATER)
  })
  t.equal(await token(0), 'new 1')
  const line = 'project:taken was brought to another storage, and what is written here is lost: end this session'
  t.same(told, [line])
  t.equal(await token(0), 'new 2')
  t.same(told, [line])
  t.same(
    asked.map((one) => one.bind),
    [['main'], ['main']],
  )
})

t.test('one that stands where it stood, or is no bind mount, is no news', async (t) => {
  const bind = { backend: 'main', path: 'projects/stays' }
  const { told, token } = renewed(t, [terms('stays', 'old', 0, bind), terms('fuse', 'old', 0)], ({ partition }) =>
    partition === 'project:stays' ? terms('stays', 'new', LATER, bind) : terms('fuse', 'new', LATER),
  )
  t.same([await token(0), await token(1)], ['new', 'new'])
  t.same(told, [])
})
