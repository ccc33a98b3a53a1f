/** A partition bind mounted, and the same by FUSE: the same people may do the same, but for what schemas/permissions.md and partitions.md list. */
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { fuseSkip, needs } from '../parts.ts'
import { nodeDocument, run } from '../service/running.ts'
import { leftOver, Place } from './place.ts'

const skip = needs('root with CAP_SYS_ADMIN', 'setpriv', 'unshare') || (await fuseSkip())
const place = new Place()
// it may have to wait for its turn
t.setTimeout(10 * 60_000)
if (skip === false) {
  t.before(() => place.start())
  t.teardown(() => place.dispose())
}

const AT = '/projects/demo'
const FUSE = ['--partition', 'project:demo']
const GROUP = ['collaborators']

/** What alice does with her nodes of these names, beside what she keeps; bob is of the group. */
const SHARING: Readonly<Record<string, object>> = {
  'f-readable': { read: GROUP },
  'f-writable': { write: GROUP },
  'f-public': { public: true },
  'd-readable': { read: GROUP },
  'd-writable': { write: GROUP },
  'd-public': { public: true },
  'd-handing': { write: GROUP, inherit: true },
}

/** Modes that alice gives others. */
const MODES = ['600', '640', '644', '444', '666'].map((mode) => [mode, `f-${mode}`] as const)
const DIRECTORY_MODES = ['700', '750', '755', '555', '711'].map((mode) => [mode, `d-${mode}`] as const)

const names = Object.keys(SHARING)
const files = ['f-private', ...names.filter((name) => name.startsWith('f')), ...MODES.map(([, name]) => name)]
const directories = [
  'd-private',
  ...names.filter((name) => name.startsWith('d')),
  ...DIRECTORY_MODES.map(([, name]) => name),
]

// what is in a directory for everybody says whether there is a way through it
const MAKE = `
  for f in ${files.join(' ')}; do echo x > $f; done
  for d in ${directories.join(' ')}; do
    mkdir $d $d/old-alice $d/old-bob; for f in inner file-alice file-bob; do echo x > $d/$f; done; chmod 644 $d/inner
  done
  ${[...MODES, ...DIRECTORY_MODES].map(([mode, name]) => `chmod ${mode} ${name}`).join('; ')}`

/** A line for each thing done: who, what, to what, and whether they might. */
const actsOf = (who: string): string => `
  try() { what=$1; shift; if "$@" >/dev/null 2>&1; then echo "${who} $what: yes"; else echo "${who} $what: no"; fi; }
  put() { dd if=/dev/zero of=$1 bs=1 count=1 conv=notrunc,fsync; }
  others() { stat -c %A $1 | grep 'r..$'; }
  for f in ${files.join(' ')}; do try "reads $f" cat $f; try "writes $f" put $f; done
  for d in ${directories.join(' ')}; do
    try "lists $d" ls $d; try "reads below $d" cat $d/inner
    try "creates in $d" put $d/new-${who}; try "makes a directory in $d" mkdir $d/dir-${who}
    try "removes from $d" rm -f $d/file-${who}; try "removes a directory from $d" rmdir $d/old-${who}
  done`

/** What is new: bob's comes first. */
const NEWS = {
  bob: `
  try 'lets others read what is new in d-writable' others d-writable/new-bob; chmod 600 d-writable/new-bob
  try 'lets others read what is new in d-handing' others d-handing/new-bob`,
  alice: `
  for f in d-writable/new-bob d-handing/new-bob; do try "reads $f" cat $f; try "writes $f" put $f; done`,
}

/** Where kernel and gateway differ: by FUSE it is allowed, or not, and by a bind mount the other way round. */
const DIFFERENT: Readonly<Record<string, 'by FUSE' | 'by bind'>> = {
  // an owner without w in the mode
  'alice writes f-444': 'by FUSE',
  'alice creates in d-555': 'by FUSE',
  'alice makes a directory in d-555': 'by FUSE',
  'alice removes from d-555': 'by FUSE',
  'alice removes a directory from d-555': 'by FUSE',
  // the owner of the allocation
  'alice reads d-writable/new-bob': 'by FUSE',
  'alice writes d-writable/new-bob': 'by FUSE',
  // w, and x without r, for others
  'bob writes f-666': 'by bind',
  'bob reads below d-711': 'by bind',
  // the umask counts where nothing is handed on
  'bob lets others read what is new in d-writable': 'by bind',
}

/** What a script says in a session with the project, by its user's own number. Rejects where it fails. */
async function inProject(user: 'alice' | 'bob', words: readonly string[], script: string): Promise<string> {
  const { code, stdout, stderr } = await place.session(words, script, { user, isOwn: true, env: { HOME: '/' } })
  if (code !== 0 || stderr !== '') throw new Error(`${user}: ${code} ${stderr}`)
  return stdout
}

async function asAlice(method: string, path: string, type: string, body: string): Promise<void> {
  const answer = await place.karst.ask('alice', path, { method, headers: { 'content-type': type }, body })
  if (answer.status > 201) throw new Error(`${path}: ${answer.status} ${answer.body.toString()}`)
}

const share = (path: string, change: object): Promise<void> =>
  asAlice('POST', '/share', 'application/json', JSON.stringify({ path: join(AT, path), ...change }))

/** The same for either, so that what is done to one changes nothing for the other. */
async function makeFor(ways: readonly string[]): Promise<void> {
  for (const way of ways) {
    const uri = `vos://karst.local~karst${AT}/${way}`
    await asAlice('PUT', `/nodes${AT}/${way}`, 'text/xml', nodeDocument(uri, 'ContainerNode'))
    await share(way, { remove: GROUP, inherit: false })
    await share(way, { read: GROUP })
  }
  await inProject('alice', FUSE, ways.map((way) => `cd ${AT}/${way}; ${MAKE}`).join('\n'))
  for (const way of ways) for (const [name, change] of Object.entries(SHARING)) await share(`${way}/${name}`, change)
}

/** What was done, and whether it was allowed. */
async function tried(t: Test, way: 'bind' | 'fuse'): Promise<Map<string, boolean>> {
  const words = way === 'bind' ? [...FUSE, '--bind', `main=${place.tree}`] : FUSE
  const lines: string[] = []
  for (const user of ['bob', 'alice'] as const) {
    const script = `stat -f -c %T ${AT}; cd ${AT}/${way}; ${actsOf(user)}${NEWS[user]}`
    const [type = '', ...more] = (await inProject(user, words, script)).trim().split('\n')
    t.equal(type.startsWith('fuse'), way === 'fuse', `${way} is ${type}`)
    lines.push(...more)
  }
  return new Map(lines.map((line) => [line.replace(/: \w+$/, ''), line.endsWith(': yes')]))
}

t.test('bind and FUSE let the same people do the same, and differ where it is written', { skip }, async (t) => {
  await makeFor(['bind', 'fuse'])
  const [bind, fuse] = [await tried(t, 'bind'), await tried(t, 'fuse')]
  t.same([...bind.keys()], [...fuse.keys()])
  const different = [...fuse].filter(([act, allowed]) => bind.get(act) !== allowed)
  t.same(Object.fromEntries(different.map(([act, allowed]) => [act, allowed ? 'by FUSE' : 'by bind'])), DIFFERENT)
  for (const act of [
    'reads f',
    'writes f',
    'lists',
    'reads below',
    'creates in',
    'makes',
    'removes from',
    'removes a',
  ]) {
    const answers = [...fuse].filter(([line]) => line.startsWith(`bob ${act}`)).map(([, allowed]) => allowed)
    t.ok(answers.includes(true) && answers.includes(false), `bob ${act} some and not others`)
  }
  t.same(leftOver(), [])
})

t.test('locks by FUSE and in the file system do not see each other', { skip: skip || needs('flock') }, async (t) => {
  const script = `cd ${AT}; : > lk; flock lk sh -c 'flock -n lk true || echo kept out; echo ready; read -r line'`
  const running = place.running(t, FUSE, script, { isOwn: true, env: { HOME: '/' } })
  await running.says('ready\n')
  const below = await run('flock', ['-n', join(place.tree, AT, 'lk'), 'true'])
  running.tell('go on')
  t.equal(await running.ended, 0, running.output)
  t.equal(running.output, 'kept out\nready\n')
  t.equal(below.code, 0, 'what a bind mount shows is not locked')
})
