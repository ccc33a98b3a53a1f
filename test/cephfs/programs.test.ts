// Programs on the mounts of a home that is kept on CephFS.
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { worksOver } from '../programs/works.ts'
import { MOUNT, skip } from './tree.ts'

t.setTimeout(20 * 60_000)

void t.test('programs on mounts over CephFS', { skip }, async (t) => {
  const root = mkdtempSync(join(MOUNT ?? '', 'programs-'))
  t.teardown(() => rmSync(root, { recursive: true, force: true }))
  await worksOver(t, { name: 'CephFS', backend: { type: 'cephfs', root } })
})
