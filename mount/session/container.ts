// Looks at the container that this process is in, for doctor.ts.
import { randomUUID, X509Certificate } from 'node:crypto'
import * as fs from 'node:fs/promises'
import path from 'node:path'
import { readCredential } from '../../src/identity/pem.ts'
import { describeCredential } from '../../src/identity/proxy-report.ts'
import { LibcError } from '../../src/libc/ffi.ts'
import { tryRecordLock } from '../../src/libc/record-lock.ts'
import { mountAt } from '../fuse/mountinfo.ts'
import { probeMount } from '../fuse/unmount.ts'
import { abandonedOf } from './abandoned.ts'
import { type Container, type Locks, type ProxyFile } from './doctor.ts'

/** `environment`: HOME, SCRATCH, KARST_* and X509_*, those that are set to something; `runtime`: the user's folder in memory. */
export function thisContainer(environment: Readonly<Record<string, string>>, runtime?: string): Container {
  const uid = process.geteuid?.() ?? 0
  return {
    environment,
    uid,
    now: Date.now(),
    mountAt,
    state: (dir) => probeMount(dir),
    proxy: readProxy,
    names: (dir) => fs.readdir(dir),
    look: async (dir) => {
      const listing = await fs.opendir(dir)
      // one name is enough: there may be a million
      await listing.read()
      await listing.close()
    },
    write: tryToWrite,
    room: (dir) => fs.statfs(dir, { bigint: true }),
    leftBehind: async () => abandonedOf(uid, runtime).length,
  }
}

async function readProxy(file: string): Promise<ProxyFile> {
  const credential = await readCredential(file)
  const { identity, expires } = describeCredential(credential)
  const begins = new X509Certificate(credential.certificate).validFromDate
  return { mode: (await fs.stat(file)).mode, identity, begins, expires }
}

async function tryToWrite(dir: string): Promise<Locks> {
  const file = path.join(dir, `.karst-doctor-${randomUUID()}`)
  try {
    await fs.writeFile(file, file, { mode: 0o600, flag: 'wx' })
    const read = await fs.readFile(file, 'utf8')
    if (read !== file) throw Object.assign(new Error(`${file} reads as something else`), { code: 'EIO' })
    return await tryLocks(file)
  } finally {
    await fs.rm(file, { force: true })
  }
}

/** One opening of the file takes a lock, another must not get it. */
async function tryLocks(file: string): Promise<Locks> {
  const first = await fs.open(file, 'r+')
  const second = await fs.open(file, 'r+')
  try {
    if (!tryRecordLock(first.fd, 'process')) return { code: 'EAGAIN' }
    return keepsOut(second.fd) ? 'hold' : 'let others in'
  } catch (error) {
    if (error instanceof LibcError) return { code: error.code }
    throw error
  } finally {
    await second.close()
    await first.close()
  }
}

function keepsOut(fd: number): boolean {
  try {
    return !tryRecordLock(fd, 'opening')
  } catch (error) {
    // a kernel without such locks; that the first was given is all that can be said
    if (error instanceof LibcError && error.code === 'EINVAL') return true
    throw error
  }
}
