/**
 * The Python client `vos`, unmodified, against a quickstart of its own over TLS: every command, with a certificate and with a proxy.
 * What it did is looked at over HTTP, not through the client.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Quickstart } from '../service/running.ts'
import { ACCESS_CASES } from './access-cases.ts'
import { COPY_CASES } from './copy-cases.ts'
import { pythonEnvironment } from './environment.ts'
import { LIST_CASES } from './list-cases.ts'
import { SYNC_CASES } from './sync-cases.ts'
import { TREE_CASES } from './tree-cases.ts'
import { VosClient, type Case } from './vos-client.ts'

const CASES: readonly Case[] = [...LIST_CASES, ...COPY_CASES, ...TREE_CASES, ...ACCESS_CASES, ...SYNC_CASES]
const CREDENTIALS = ['certificate', 'proxy'] as const

const python = await pythonEnvironment()
if (typeof python === 'string') {
  for (const kind of CREDENTIALS)
    for (const { name } of CASES) t.test(`${name} (${kind})`, { skip: python }, () => undefined)
} else {
  const quickstart = new Quickstart(['--no-mount'])
  t.teardown(() => quickstart.dispose())
  const { users } = await quickstart.start()
  t.jobs = CREDENTIALS.length
  for (const kind of CREDENTIALS) {
    t.test(`with a ${kind}`, { buffered: true }, async (t) => {
      const folder = join(quickstart.folder, kind)
      mkdirSync(folder)
      const credential = users['alice']?.[kind] ?? ''
      const vos = new VosClient({ python, quickstart, credential, folder, home: `/home/alice/${kind}` })
      await vos.make(vos.home)
      for (const { name, run } of CASES) await t.test(`${name} (${kind})`, (t) => run(t, vos))
    })
  }
}
