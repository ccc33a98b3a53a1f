/**
 * The mounts that the benchmark compares: ours of a quickstart; sshfs through an sshd of its own on the loopback, and rclone over a WebDAV
 * server of its own, both of the same tree on the same disk. Each is a set of processes apart.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { call, folder, isMounted, type Mounting, until } from '../service/mounting.ts'

const SSHD = '/usr/sbin/sshd'
const SFTP = '/usr/lib/openssh/sftp-server'

export function isThere(program: string): boolean {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin']
  return folders.some((folder) => fs.existsSync(path.join(folder, program)))
}

/** Why sshfs cannot be compared with here, else null. */
export function whyNoSshfs(): string | null {
  if (!isThere('sshfs')) return 'sshfs is not installed'
  return fs.existsSync(SSHD) && fs.existsSync(SFTP) ? null : 'sshd is not installed (Debian: openssh-server)'
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

export async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGTERM')
  await exit
}

/** sshfs of a folder, through an sshd with keys and configuration of its own. */
export async function sshfs(source: string): Promise<Mounting> {
  const dir = folder('sshfs')
  const keys = folder('ssh')
  const port = await freePort()
  const at = (name: string) => path.join(keys, name)
  for (const name of ['host', 'user']) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', at(name)])
  fs.copyFileSync(at('user.pub'), at('authorized'))
  fs.writeFileSync(
    at('sshd'),
    `Port ${port}\nListenAddress 127.0.0.1\nHostKey ${at('host')}\nAuthorizedKeysFile ${at('authorized')}\nStrictModes no\n` +
      `PidFile none\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nSubsystem sftp ${SFTP}\n`,
  )
  // as root sshd wants the folder to which it confines itself
  if (process.getuid?.() === 0) fs.mkdirSync('/run/sshd', { recursive: true, mode: 0o755 })
  const server = spawn(SSHD, ['-D', '-e', '-f', at('sshd')], { stdio: 'ignore' })
  const user = os.userInfo().username
  const options = ['-p', String(port), '-o', `IdentityFile=${at('user')}`, '-o', 'StrictHostKeyChecking=no']
  const unmount = () => call('fusermount3', ['-u', dir])
  const mount = () =>
    call('sshfs', [`${user}@127.0.0.1:${source}`, dir, ...options, '-o', 'UserKnownHostsFile=/dev/null,LogLevel=ERROR'])
  await until(() => answers(port), 'sshd')
  return {
    ...{ name: 'sshfs', dir, mount, unmount },
    end: async () => {
      if (await isMounted(dir)) await unmount()
      await ended(server)
      for (const one of [dir, keys]) fs.rmSync(one, { recursive: true, force: true })
    },
  }
}

/** rclone's mount of rclone's WebDAV server. */
export async function rclone(source: string): Promise<Mounting> {
  const dir = folder('rclone')
  const cache = folder('rclone-cache')
  const port = await freePort()
  const env = { ...process.env, RCLONE_CONFIG: path.join(cache, 'rclone.conf') }
  const server = spawn('rclone', ['serve', 'webdav', source, '--addr', `127.0.0.1:${port}`], { stdio: 'ignore', env })
  let client: ChildProcess | undefined
  const mount = async () => {
    const remote = `:webdav,url='http://127.0.0.1:${port}',vendor=other:`
    const args = ['mount', remote, dir, '--vfs-cache-mode', 'writes', '--cache-dir', cache]
    client = spawn('rclone', args, { stdio: 'ignore', env })
    await until(() => isMounted(dir), 'rclone mount')
  }
  const unmount = async () => {
    await call('fusermount3', ['-u', dir])
    if (client !== undefined) await ended(client)
  }
  await until(() => answers(port), 'rclone serve webdav')
  return {
    ...{ name: 'rclone', dir, mount, unmount },
    end: async () => {
      if (await isMounted(dir)) await unmount()
      await ended(server)
      for (const one of [dir, cache]) fs.rmSync(one, { recursive: true, force: true })
    },
  }
}

async function answers(port: number): Promise<boolean> {
  const { connect } = await import('node:net')
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false // not yet
  } finally {
    socket.destroy()
  }
}
