/** Copies of files too large to be waited for: interrupted midway, on file systems with reflinks and without. */
import { createHash } from 'node:crypto'
import { ftruncateSync, openSync, closeSync, readdirSync, readFileSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { copyBytes } from '../../src/backend/posix/copy-bytes.ts'
import { type PosixBackend } from '../../src/backend/posix/posix.ts'
import { isFault } from '../../src/vospace/fault.ts'
import { nodePath as p } from '../../src/vospace/path.ts'
import { outcome } from '../unit/space-world.ts'
import { debris, directory, notRoot, posix, tmpfs, unavailable, xfs, type Scratch } from './posix-tree.ts'

const MIB = 2 ** 20
const ACCESS = { owner: 'alice', isPublic: false, groupRead: [], groupWrite: [], inherit: false, locked: false }
const DRAFT = { access: ACCESS, mode: 0o640 }

const sha = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex')

/** A file of that many MiB with something at both ends and holes between. */
function large(file: string, mebibytes: number): void {
  const fd = openSync(file, 'w')
  writeSync(fd, 'begin')
  ftruncateSync(fd, mebibytes * MIB)
  writeSync(fd, 'end', mebibytes * MIB - 3)
  closeSync(fd)
}

/** Bytes that are staged now. */
function stagedBytes(dir: string): number {
  const staging = join(dir, '.karst', 'staging')
  try {
    return Math.max(0, ...readdirSync(staging).map((name) => statSync(join(staging, name)).size))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0 // not yet, or no more
    throw error
  }
}

async function on(t: { teardown(end: () => unknown): void }, scratch: Scratch): Promise<PosixBackend> {
  t.teardown(scratch.dispose)
  const backend = posix(scratch.dir)
  await backend.start()
  t.teardown(() => backend.stop())
  return backend
}

void t.test('a large copy that is interrupted ends soon, and leaves nothing', async (t) => {
  const scratch = directory()
  const backend = await on(t, scratch)
  if (backend.capabilities.reflink) return t.comment('a copy takes no time here')
  large(join(scratch.dir, 'big'), 2048)
  const aborting = new AbortController()
  let most = 0
  const watching = setInterval(() => {
    most = Math.max(most, stagedBytes(scratch.dir))
    if (most > 0) aborting.abort()
  }, 1)
  try {
    await backend.copy(p('/big'), p('/copy'), { ...DRAFT, signal: aborting.signal })
    t.fail('it was not interrupted')
  } catch (error) {
    t.ok(isFault(error, 'TransferFailed'))
  } finally {
    clearInterval(watching)
  }
  t.ok(most > 0 && most < 1024 * MIB, `interrupted midway: ${most / MIB} MiB were seen`)
  t.same(
    readdirSync(scratch.dir).filter((name) => name !== '.karst'),
    ['big'],
  )
  t.same(debris(scratch.dir), [])
})

const cases: [string, string | false, () => Scratch][] = [
  ['the temporary directory', false, directory],
  ['tmpfs', notRoot || unavailable(() => tmpfs('128m')), () => tmpfs('128m')],
  ['XFS with reflinks', notRoot || unavailable(xfs), xfs],
]
for (const [name, skip, make] of cases) {
  void t.test(`a copy has all bytes, on ${name}`, { skip }, async (t) => {
    const scratch = make()
    const backend = await on(t, scratch)
    for (const mebibytes of [0, 1, 16, 33]) {
      const [from, to] = [`from-${mebibytes}`, `to-${mebibytes}`]
      if (mebibytes === 0) closeSync(openSync(join(scratch.dir, from), 'w'))
      else large(join(scratch.dir, from), mebibytes)
      await backend.copy(p(`/${from}`), p(`/${to}`), DRAFT)
      t.equal(sha(join(scratch.dir, to)), sha(join(scratch.dir, from)), `${mebibytes} MiB`)
    }
  })
}

void t.test(
  'a copy that does not fit is refused as a full disk, and leaves nothing',
  { skip: notRoot || unavailable(() => tmpfs('32m')) },
  async (t) => {
    const scratch = tmpfs('32m')
    const backend = await on(t, scratch)
    large(join(scratch.dir, 'big'), 64)
    t.equal(await outcome(backend.copy(p('/big'), p('/copy'), DRAFT)), 'QuotaExceeded ENOSPC')
    t.same(
      readdirSync(scratch.dir).filter((name) => name !== '.karst'),
      ['big'],
    )
    t.same(debris(scratch.dir), [])
  },
)

void t.test('where the kernel does not copy it is done by hand, and interrupted as well', async (t) => {
  const scratch = directory()
  t.teardown(scratch.dispose)
  const file = join(scratch.dir, 'to')
  // of a device the kernel copies no range: what is read from /dev/zero has no end
  const [from, to] = [openSync('/dev/zero', 'r'), openSync(file, 'w')]
  const aborting = new AbortController()
  const copying = copyBytes(to, from, { reflink: true, signal: aborting.signal })
  while (statSync(file).size < 4 * MIB) await new Promise((done) => setTimeout(done, 1))
  aborting.abort()
  t.equal(await outcome(copying), 'TransferFailed EIO')
  for (const fd of [from, to]) closeSync(fd)
})
