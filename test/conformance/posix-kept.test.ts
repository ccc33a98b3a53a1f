/** What is kept of a container's attributes is never shown after they have changed, by whatever hand and however soon. */
import { chmodSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { removeXattr, setXattr } from '../../src/libc/xattr.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { container, entryAt } from './backend.ts'
import { directory, isRoot, posix } from './posix-tree.ts'

const p = nodePath

for (const mode of isRoot ? (['root', 'unprivileged'] as const) : (['unprivileged'] as const)) {
  void t.test(`changes from outside are seen at once, ${mode}`, async (t) => {
    const { dir, dispose } = directory()
    const b = posix(dir, { mode, unlabelledOwner: 'carol' })
    await b.start()
    await b.make(p('/c'), container)
    const real = join(dir, 'c')
    const quality = async (): Promise<string | undefined> => (await entryAt(b, p('/c')))?.properties.get('quality')
    await sleep(2500) // until what is read is kept
    t.equal(await quality(), undefined)
    t.equal(await quality(), undefined)
    const wrong: number[] = []
    for (let i = 0; i < 300; i++) {
      setXattr(real, 'user.quality', Buffer.from(String(i)))
      if ((await quality()) !== String(i)) wrong.push(i)
      removeXattr(real, 'user.quality')
      if ((await quality()) !== undefined) wrong.push(-i)
    }
    t.same(wrong, [])
    chmodSync(real, 0o755)
    t.equal((await entryAt(b, p('/c')))?.access.isPublic, true)
    await b.set({ path: p('/c') }, { properties: new Map([['quality', 'set']]) })
    t.equal(await quality(), 'set')
    await b.remove(p('/c'), 'container')
    mkdirSync(real)
    t.equal(await quality(), undefined, 'another one of that name')
    await b.stop()
    dispose()
  })
}
