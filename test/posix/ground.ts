/** What the suites run on: a gateway over a plain folder in root mode, and its whole tree mounted in trusted mode by an administrator. */
import { spawn, type ChildProcess } from 'node:child_process'
import { chmodSync, createWriteStream, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { probeMount, unmountFuse } from '../../mount/fuse/unmount.ts'
import { developmentIdentities } from '../../src/cli/development.ts'
import { type ConfigDocument } from '../../src/config.ts'

const KARST = join(import.meta.dirname, '../../bin/karst')
const PATIENCE = 60_000
/** uid and gid of alice at the gateway */
export const ALICE = 21_000

export interface Ground {
  /** the mount, of the whole tree */
  readonly dir: string
  /** the folder that is served */
  readonly tree: string
  readonly folder: string
  /** Mounts the same tree as alice, as any user does; answers where. Her number is `ALICE`. */
  readonly ordinary: () => Promise<string>
  readonly close: () => Promise<void>
}

/** Starts both; `close` ends them and removes everything. */
export async function prepareGround(options: { readonly trusted?: boolean } = {}): Promise<Ground> {
  const folder = mkdtempSync(join(tmpdir(), 'karst-ground-'))
  // other users are to come by here
  chmodSync(folder, 0o755)
  const [tree, dir, state] = [join(folder, 'tree'), join(folder, 'mnt'), join(folder, 'state')]
  for (const one of [tree, dir]) mkdirSync(one, { mode: 0o755 })
  mkdirSync(state, { mode: 0o700 })
  const children: ChildProcess[] = []
  const other = join(folder, 'other')
  const close = async (): Promise<void> => {
    for (const one of [dir, other]) if ((await probeMount(one)) !== 'none') await unmountFuse(one, { lazy: true })
    for (const child of children.reverse()) await ended(child)
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    const port = await freePort()
    const { document, certificate, ca } = await configuration(state, tree, port, options.trusted === false)
    const file = join(folder, 'config.json')
    writeFileSync(file, JSON.stringify(document))
    children.push(await serving(['serve', '--config', file], join(folder, 'gateway.log'), /karst serves/))
    const { url } = document.service
    const mount = async (at: string, name: string, how: readonly string[]): Promise<void> => {
      mkdirSync(at, { recursive: true, mode: 0o755 })
      const words = ['mount', 'vos://karst.local~karst/', at, '--url', url, '--ca', ca, '--certificate', certificate]
      const log = join(folder, `${name}.log`)
      children.push(await serving([...words, ...how, '--foreground'], log, /mounted/, join(folder, name)))
    }
    await mount(dir, 'driver', options.trusted === false ? ['--allow-other'] : ['--trusted'])
    const ordinary = async (): Promise<string> => {
      await mount(other, 'other-driver', [])
      return other
    }
    return { dir, tree, folder, ordinary, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function configuration(state: string, tree: string, port: number, ordinary: boolean) {
  const { ca, server, users } = await developmentIdentities(state, ['alice'])
  const [alice] = users
  if (alice === undefined) throw new Error('no identity was made')
  const document: ConfigDocument = {
    service: { resourceId: 'ivo://karst.local/karst', url: `https://localhost:${port}/karst` },
    listen: { host: '127.0.0.1', port },
    tls: server,
    trust: [ca],
    state: join(state, 'store'),
    backends: { main: { type: 'posix', root: tree, mode: 'root' } },
    namespace: [{ path: '/', backend: 'main' }],
    users: [{ name: 'alice', x509: [alice.dn], uid: ordinary ? 0 : ALICE }],
    administrators: ['alice'],
    mounts: { trusted: ['alice'] },
    logLevel: 'warn',
  }
  return { document, certificate: alice.certificate, ca }
}

/** Starts a karst that stays; resolves when it has said what is waited for. */
async function serving(words: readonly string[], log: string, said: RegExp, state?: string): Promise<ChildProcess> {
  const env = { ...process.env, ...(state !== undefined && { KARST_MOUNT_STATE: state }) }
  const child = spawn(KARST, words, { stdio: ['ignore', 'pipe', 'pipe'], env })
  const sink = createWriteStream(log)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (part: Buffer) => {
      sink.write(part)
      if (output.length < 1 << 16) output += part.toString()
    })
  }
  for (let waited = 0; waited < PATIENCE; waited += 50) {
    if (said.test(output)) return child
    if (child.exitCode !== null || child.signalCode !== null) break
    await new Promise((done) => setTimeout(done, 50))
  }
  await ended(child)
  throw new Error(`karst ${words.join(' ')} does not serve:\n${output}${readFileSync(log, 'utf8')}`)
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE)
  await gone
  clearTimeout(timer)
}

async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((done, failed) => probe.once('error', failed).listen(0, '127.0.0.1', done))
  const { port } = probe.address() as AddressInfo
  await new Promise((done) => probe.close(done))
  return port
}
