/** What a command loads before it does anything: a session is to start in the time of three empty Nodes. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { commandsFor } from '../../src/cli/table.ts'

/** What of Node's own library is loaded by the statements of a module. */
function loadedBy(t: Test, text: string): string[] {
  const dir = t.testdir()
  const file = join(dir, 'begin.mjs')
  writeFileSync(file, `${text}\nconsole.log(process.moduleLoadList.join('\\n'))`)
  const env = { ...process.env, NODE_COMPILE_CACHE: join(dir, 'compiled') }
  // the runner of the tests would load its own by NODE_OPTIONS
  const words = ['-u', 'NODE_OPTIONS', process.execPath, file]
  const begin = (): string => execFileSync('env', words, { encoding: 'utf8', env, stdio: 'pipe' })
  // what takes the types away is loaded the first time
  begin()
  const list = begin()
  return list.split('\n').map((line) => line.replace(/^NativeModule (node:)?/, ''))
}

const moduleOf = (name: string): string => JSON.stringify(pathToFileURL(resolve(name)).href)

/** Dear ones, and what an import statement of node:util or node:fs brings with it. */
const DEAR = ['https', 'http2', 'tls', 'internal/deps/undici/undici', 'worker_threads', 'internal/fs/promises']

t.test('a session loads nothing for the gateway before it knows that it has to ask it by itself', async (t) => {
  const modules = ['src/cli/commands.ts', 'src/cli/session.ts'].map((one) => `import ${moduleOf(one)}`)
  const loaded = loadedBy(t, modules.join('\n'))
  t.same(
    DEAR.filter((one) => loaded.includes(one)),
    [],
  )
  t.ok(loaded.includes('child_process'), 'the list is of such names')
})

t.test('the C library is had without what stands before koffi', async (t) => {
  const call = `import { letGo } from ${moduleOf('src/libc/namespace.ts')}
    let why
    try { letGo(1_000_000) } catch (error) { why = error.code }
    if (why !== 'EBADF') throw new Error(why)`
  t.notOk(loadedBy(t, call).includes('worker_threads'))
})

t.test('the version is told without any command', async (t) => {
  t.same(await commandsFor('--version'), [])
  t.same(await commandsFor('-V'), [])
  t.ok((await commandsFor('versions')).length > 10)
})
