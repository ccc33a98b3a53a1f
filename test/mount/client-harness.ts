// Mounts of a gateway over HTTPS, each in a process of its own; the gateway is the test's.
import { spawn, type ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { probeMount, unmountFuse } from '../../mount/fuse/unmount.ts'
import { type Gateway } from '../http/gateway.ts'
import { authority, chainPem, credentials, type Name } from '../http/people.ts'
import type { ClientOrder, ClientServerOptions } from './client-server.ts'
import { asking, ready } from './driver-harness.ts'

const SERVER = path.join(import.meta.dirname, 'client-server.ts')

interface Teardown {
  teardown(cleanUp: () => Promise<void> | void): void
}

export interface MountedHere {
  readonly dir: string
  readonly state: string
  readonly child: ChildProcess
  readonly exited: Promise<void>
  readonly ask: (order: ClientOrder) => Promise<unknown>
}

export interface MountOptions {
  readonly as?: Name
  readonly root?: string
  /** seconds; long, so that nothing is seen only because time has passed */
  readonly ttl?: number
  readonly readOnly?: boolean
  /** seconds that the client tries */
  readonly timeLimit?: number
  /** instead of the gateway's */
  readonly url?: string
}

/** Mounts alice's home, unless told otherwise, and takes everything away when the test is over. */
export async function mountOf(
  t: Teardown,
  gateway: Pick<Gateway, 'url'>,
  options: MountOptions = {},
): Promise<MountedHere> {
  const { as = 'alice', root = '/home/alice', ttl, readOnly, timeLimit = 20, url = gateway.url } = options
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'karst-coherent-'))
  const place = (name: string): string => path.join(folder, name)
  const [dir, state] = [place('mnt'), place('state')]
  fs.mkdirSync(dir)
  fs.writeFileSync(place('user.pem'), chainPem(credentials[as]) + credentials[as].key, { mode: 0o600 })
  fs.writeFileSync(place('ca.pem'), authority.certificate)
  const said: ClientServerOptions = {
    ...{ dir, state, root },
    ...(ttl !== undefined && { ttl }),
    ...(readOnly !== undefined && { readOnly }),
    gateway: { url, certificate: place('user.pem'), ca: place('ca.pem'), timeLimit },
  }
  const child = spawn(process.execPath, [SERVER, JSON.stringify(said)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    serialization: 'advanced',
    cwd: '/',
  })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  t.teardown(async () => {
    child.kill('SIGCONT')
    if ((await probeMount(dir)) !== 'none') await unmountFuse(dir, { lazy: true })
    child.kill('SIGKILL')
    await exited
    fs.rmSync(folder, { recursive: true, force: true })
  })
  await ready(child)
  return { dir, state, child, exited, ask: asking(child) }
}
