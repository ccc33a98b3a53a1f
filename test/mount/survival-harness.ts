// Mounts by `karst mount` of a gateway in this process.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { type Test } from 'tap'
import { askDriver, type ControlReply } from '../../mount/control.ts'
import { mountCommand, umountCommand, type MountCommandOptions } from '../../mount/daemon.ts'
import { probeMount, unmountFuse } from '../../mount/fuse/unmount.ts'
import { socketOf } from '../../mount/state.ts'
import { writeCredential } from '../../src/identity/pem.ts'
import { startGateway, type Gateway } from '../http/gateway.ts'
import { authority, credentials } from '../http/people.ts'
import { driversEnded } from '../service/mounting.ts'
import { until } from './driver-harness.ts'
import { kill, ownerOf, supervisorOf } from './killing.ts'

export interface Survivors {
  readonly gateway: Gateway
  readonly state: string
  /** Mounts a node of the gateway as alice; answers the directory. */
  readonly mount: (node: string, more?: Partial<MountCommandOptions>) => Promise<string>
  readonly umount: (dir: string) => Promise<string[]>
  readonly status: () => Promise<Extract<ControlReply, { ok: true }> | undefined>
  readonly log: () => string
}

/** Everything is taken away when the test is over. */
export async function survivors(t: Test, gatewayIs?: Gateway): Promise<Survivors> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'karst-survival-'))
  const ca = path.join(folder, 'ca.pem')
  const certificate = path.join(folder, 'alice.pem')
  const state = path.join(folder, 'state')
  fs.writeFileSync(ca, authority.certificate)
  await writeCredential(certificate, credentials.alice)
  const gateway = gatewayIs ?? (await startGateway(t))
  const dirs: string[] = []
  t.teardown(async () => {
    for (const dir of dirs) if ((await probeMount(dir)) !== 'none') await unmountFuse(dir, { lazy: true })
    await ended(state)
    await driversEnded(folder)
    fs.rmSync(folder, { recursive: true, force: true })
  })
  const mount: Survivors['mount'] = async (node, more = {}) => {
    const dir = fs.mkdtempSync(path.join(folder, 'mnt-'))
    dirs.push(dir)
    await mountCommand({
      ...{ uri: `vos://karst.local~karst${node}`, dir, certificate, ca, url: gateway.url, stateDir: state },
      ...{ foreground: false, readOnly: false, allowOther: false, ...more },
    })
    return dir
  }
  const status = async () => {
    const reply = await askDriver(socketOf(state), { command: 'status' }, 5000)
    return reply?.ok === true ? reply : undefined
  }
  const umount = (dir: string) => umountCommand({ dir, stateDir: state })
  return { gateway, state, mount, umount, status, log: () => fs.readFileSync(path.join(state, 'driver.log'), 'utf8') }
}

/** A driver whose mounts are gone ends by itself; one that was let down is helped. */
async function ended(state: string): Promise<void> {
  const owner = await until(
    () => ownerOf(state),
    (pid) => pid === undefined,
  )
  if (owner === undefined) return
  for (const pid of [supervisorOf(state), owner]) if (pid !== undefined) kill(pid)
}
