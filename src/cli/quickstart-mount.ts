/** The quickstart's mount: alice's home, by the same commands that a user calls. What an earlier start left mounted is flushed or detached first. */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { mountCommand, umountCommand } from '../../mount/command.ts'
import { whyNoFuse } from '../../mount/fuse/privilege.ts'
import { probeMount } from '../../mount/fuse/unmount.ts'
import { complain } from './command.ts'
import { type DevelopmentIdentities } from './development.ts'
import { RESOURCE_ID, type QuickstartReport } from './quickstart.ts'

export interface MountedHome {
  readonly report: QuickstartReport['mount']
  /** one sentence: why nothing is mounted */
  readonly why?: string
}

const mountPoint = (state: string): string => join(state, 'mnt', 'alice')
const driverState = (state: string): string => join(state, 'mount')

/** Mounts `node` as alice. Without FUSE that is no failure: the answer says why. */
export async function mountHome(
  state: string,
  url: string,
  identities: DevelopmentIdentities,
  node: string,
  wanted: boolean,
): Promise<MountedHome> {
  const dir = mountPoint(state)
  const uri = `vos://${RESOURCE_ID.slice('ivo://'.length).replace('/', '~')}${node === '/' ? '' : node}`
  const report = { path: dir, user: 'alice' }
  if (wanted && (await isServed(state, dir, `${url} ${uri}`))) return { report }
  for (const line of await umountCommand({ dir, stateDir: driverState(state) })) complain(line)
  if (!wanted) return { report: null, why: 'it was not wanted (--no-mount).' }
  const why = await whyNoFuse()
  if (why !== null) return { report: null, why }
  const alice = identities.users.find(({ name }) => name === 'alice')
  await mkdir(dir, { recursive: true, mode: 0o700 })
  await mountCommand({
    uri,
    dir,
    certificate: alice?.proxy ?? '',
    ca: identities.ca,
    url,
    stateDir: driverState(state),
    foreground: false,
    readOnly: false,
    allowOther: false,
  })
  await writeFile(servedFile(state), `${url} ${uri}`)
  return { report }
}

const servedFile = (state: string): string => join(state, 'mounted')

/** A gateway that was killed leaves its driver, which waits to send what it holds: back at the same address, it goes on as if nothing had been. */
async function isServed(state: string, dir: string, wanted: string): Promise<boolean> {
  const served = await readFile(servedFile(state), 'utf8').catch(() => '')
  return served === wanted && (await probeMount(dir)) === 'answers'
}

export async function unmountHome(state: string): Promise<void> {
  await rm(servedFile(state), { force: true })
  for (const line of await umountCommand({ dir: mountPoint(state), stateDir: driverState(state) })) complain(line)
}
