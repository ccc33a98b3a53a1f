/** The quickstart's mount: alice's home, by the same commands that a user calls. What an earlier start left mounted is flushed or detached first. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { mountCommand, umountCommand } from '../../mount/daemon.ts'
import { whyNoFuse } from '../../mount/fuse/privilege.ts'
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
  // a gateway that was killed leaves its driver, which has waited to send what it holds
  for (const line of await umountCommand({ dir, stateDir: driverState(state) })) complain(line)
  if (!wanted) return { report: null, why: 'it was not wanted (--no-mount).' }
  const why = await whyNoFuse()
  if (why !== null) return { report: null, why }
  const alice = identities.users.find(({ name }) => name === 'alice')
  await mkdir(dir, { recursive: true, mode: 0o700 })
  await mountCommand({
    uri: `vos://${RESOURCE_ID.slice('ivo://'.length).replace('/', '~')}${node === '/' ? '' : node}`,
    dir,
    certificate: alice?.proxy ?? '',
    ca: identities.ca,
    url,
    stateDir: driverState(state),
    foreground: false,
    readOnly: false,
    allowOther: false,
  })
  return { report: { path: dir, user: 'alice' } }
}

export async function unmountHome(state: string): Promise<void> {
  for (const line of await umountCommand({ dir: mountPoint(state), stateDir: driverState(state) })) complain(line)
}
