/**
 * `npm start`: a gateway of one's own on this machine, with a CA, two users, a group, something to look at, and alice's home mounted.
 * Everything is kept under one state folder; a second start goes on with it.
 */
import { constants } from 'node:fs'
import { access, mkdir, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { basename, dirname, join, resolve } from 'node:path'
import { startGateway, type Gateway, type Provision } from '../app.ts'
import { readConfig, standApart, type ConfigDocument } from '../config.ts'
import { ConfigError, quickstartEnvironment } from '../environment.ts'
import { Fault } from '../vospace/fault.ts'
import { nodePath } from '../vospace/path.ts'
import { readWords, say, type Command } from './command.ts'
import { developmentIdentities, type DevelopmentIdentities } from './development.ts'
import { mountHome, unmountHome } from './quickstart-mount.ts'
import { nextSteps } from './quickstart-text.ts'
import { sampleFits } from './sample-fits.ts'
import { untilSignal } from './signals.ts'

export const quickstart: Command = {
  name: 'quickstart',
  usage: 'karst quickstart [--tree DIR] [--no-mount]',
  summary: 'a gateway and a mount to try out, with users of its own (npm start)',
  run: async (words) => {
    const { values } = readWords(words, { tree: { type: 'string' }, 'no-mount': { type: 'boolean' } })
    return await runQuickstart(values.tree, values['no-mount'] !== true)
  },
}

export const RESOURCE_ID = 'ivo://karst.local/karst'
export const GROUP = 'ivo://karst.local/gms?collaborators'

/** What `$KARST_STATE/quickstart.json` holds. */
export interface QuickstartReport {
  readonly url: string
  readonly registry: string
  readonly resourceId: string
  readonly ca: string
  readonly users: Record<string, { readonly certificate: string; readonly proxy: string }>
  readonly groups: readonly string[]
  readonly mount: { readonly path: string; readonly user: string } | null
  readonly pid: number
}

async function runQuickstart(tree: string | undefined, wantMount: boolean): Promise<number> {
  const environment = quickstartEnvironment()
  const state = environment.state
  if (tree !== undefined) await checkTree(tree, state)
  await makeState(state)
  await refuseSecond(state)
  await rm(join(state, 'quickstart.json'), { force: true })
  const identities = await developmentIdentities(state, ['alice', 'bob'])
  const port = environment.port === 0 ? await freePort() : environment.port
  const document = await configuration(state, port, identities, tree)
  await writeFile(join(state, 'config.json'), `${JSON.stringify(document, null, 2)}\n`, { mode: 0o600 })

  const stopped = untilSignal()
  const gateway = await startGateway(readConfig(document, state), { logFile: join(state, 'gateway.log') })
  try {
    if (tree === undefined) await gateway.provision(sampleNodes())
    const mounted = await mountHome(state, gateway.url, identities, tree === undefined ? '/home/alice' : '/', wantMount)
    const report = await writeReport(state, gateway, identities, mounted.report)
    say(nextSteps(report, mounted.why, tree === undefined))
    await stopped
    say('stopping: unmounting, then finishing what is under way')
    await rm(join(state, 'quickstart.json'), { force: true })
    await unmountHome(state)
  } finally {
    await gateway.close()
  }
  return 0
}

/** Keys and database must not be served, nor the mount's own folder: neither stands in the other. */
async function checkTree(tree: string, state: string): Promise<void> {
  const found = await stat(tree).catch(() => undefined)
  if (found?.isDirectory() !== true) throw new ConfigError(`--tree: there is no folder ${tree === '' ? "''" : tree}`)
  const served = await realpath(tree)
  const kept = await realpathOfFuture(state)
  if (!standApart(kept, served)) {
    throw new ConfigError(
      `--tree ${tree} and the state folder ${state} must stand apart; set KARST_STATE to a folder elsewhere`,
    )
  }
}

async function realpathOfFuture(path: string): Promise<string> {
  const real = await realpath(path).catch(() => undefined)
  return real ?? join(await realpathOfFuture(dirname(path)), basename(path))
}

async function makeState(state: string): Promise<void> {
  try {
    await mkdir(state, { recursive: true, mode: 0o700 })
    await access(state, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    const why: Record<string, string> = {
      EEXIST: 'it is no folder',
      ENOTDIR: 'it is below something that is no folder',
      EACCES: 'permission denied',
      EROFS: 'the file system is read-only',
      // mkdir says so too where it may not make the folders above
      ENOENT: 'it cannot be made there; is the file system read-only?',
      ENOSPC: 'no space is left there',
    }
    const { code = '', message } = error as NodeJS.ErrnoException
    throw new ConfigError(
      `the state folder ${state} cannot be used: ${why[code] ?? message}; set KARST_STATE to another`,
      {
        cause: error,
      },
    )
  }
}

/** A state folder serves one process: two would share the spool and the database. */
async function refuseSecond(state: string): Promise<void> {
  const old = await readFile(join(state, 'quickstart.json'), 'utf8').catch(() => undefined)
  if (old === undefined) return
  const { pid, url } = JSON.parse(old) as QuickstartReport
  const words = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  if (!words.split('\0').includes('quickstart')) return
  throw new Fault(
    'ServiceBusy',
    `a quickstart with this state is running already at ${url} (process ${pid}); stop it first`,
  )
}

async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((done, failed) => probe.once('error', failed).listen(0, '127.0.0.1', done))
  const { port } = probe.address() as AddressInfo
  await new Promise((done) => probe.close(done))
  return port
}

async function configuration(
  state: string,
  port: number,
  identities: DevelopmentIdentities,
  tree: string | undefined,
): Promise<ConfigDocument> {
  const root = tree === undefined ? join(state, 'tree') : resolve(tree)
  if (tree === undefined) await mkdir(root, { recursive: true, mode: 0o755 })
  const owner = await stat(root)
  return {
    service: { resourceId: RESOURCE_ID, url: `https://localhost:${port}/karst` },
    listen: { host: '127.0.0.1', port },
    tls: identities.server,
    trust: [identities.ca],
    // another tree has other owners: their numbers are kept apart
    state: join(state, tree === undefined ? 'store' : 'store-of-tree'),
    backends: { main: { type: 'posix', root, mode: 'auto', unlabelledOwner: 'alice' } },
    namespace: [{ path: '/', backend: 'main' }],
    allocations: tree === undefined ? ['/home', '/projects'] : [],
    users: identities.users.map(({ name, dn }) => ({
      name,
      x509: [dn],
      // a tree of one's own is alice's: what its owner may do, she may
      ...(tree !== undefined && name === 'alice' && { uid: owner.uid }),
    })),
    // what vchmod of the Python client writes, whatever the site
    gms: { aliases: ['ivo://cadc.nrc.ca/gms'] },
    groups: [{ uri: GROUP, owner: 'alice', members: identities.users.map(({ name }) => name) }],
    // a tree of one's own is left as it was
    ...(tree !== undefined && { trash: { days: 0 } }),
    logLevel: 'info',
  }
}

function sampleNodes(): Provision[] {
  const open = { isPublic: true }
  return [
    { path: nodePath('/home'), owner: undefined, access: open },
    { path: nodePath('/projects'), owner: undefined, access: open },
    { path: nodePath('/datasets'), owner: undefined, access: open },
    // collaborators may look into a home; what is made there stays private until shared
    { path: nodePath('/home/alice'), owner: 'alice', access: { groupRead: [GROUP] } },
    { path: nodePath('/home/bob'), owner: 'bob', access: { groupRead: [GROUP] } },
    {
      path: nodePath('/projects/demo'),
      owner: 'alice',
      access: { groupRead: [GROUP], groupWrite: [GROUP], inherit: true },
    },
    { path: nodePath('/datasets/sample'), owner: 'alice', access: { isPublic: true, inherit: true } },
    {
      path: nodePath('/datasets/sample/stars.fits'),
      owner: 'alice',
      access: open,
      bytes: sampleFits(),
      properties: { 'ivo://ivoa.net/vospace/core#type': 'application/fits' },
    },
    {
      path: nodePath('/datasets/sample/README.txt'),
      owner: 'alice',
      access: open,
      bytes: Buffer.from('stars.fits: simulated stars, 512 by 512 pixels, written by the quickstart.\n'),
      properties: { 'ivo://ivoa.net/vospace/core#type': 'text/plain' },
    },
  ]
}

/** Written whole and last: who finds it can use what it names. */
async function writeReport(
  state: string,
  gateway: Gateway,
  identities: DevelopmentIdentities,
  mounted: QuickstartReport['mount'],
): Promise<QuickstartReport> {
  const report: QuickstartReport = {
    url: gateway.url,
    registry: new URL('/reg/resource-caps', gateway.url).href,
    resourceId: RESOURCE_ID,
    ca: identities.ca,
    users: Object.fromEntries(identities.users.map(({ name, certificate, proxy }) => [name, { certificate, proxy }])),
    groups: [GROUP],
    mount: mounted,
    pid: process.pid,
  }
  const file = join(state, 'quickstart.json')
  await writeFile(`${file}.new`, `${JSON.stringify(report, null, 2)}\n`)
  await rename(`${file}.new`, file)
  return report
}
