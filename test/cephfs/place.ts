/** A gateway over a tree and CephFS, as `karst serve` starts it: `/project` is a folder of the CephFS, and alice has allocations there. */
import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Quickstart, request, type Answer, type Asking } from '../service/running.ts'
import { Serving } from '../service/serving.ts'
import { MOUNT } from './tree.ts'

interface Written {
  service: { url: string }
  backends: Record<string, unknown>
  namespace: { path: string; backend: string }[]
  allocations: string[]
}

export interface CephSite {
  readonly ca: string
  readonly url: string
  /** alice's, and bob's */
  readonly proxy: string
  readonly other: string
}

export class CephPlace {
  readonly karst = new Quickstart(['--no-mount'])
  /** the folder of CephFS that is served */
  readonly root = mkdtempSync(join(MOUNT ?? '', 'gateway-'))
  #site: CephSite = { ca: '', url: '', proxy: '', other: '' }
  #serving: Serving | undefined

  get #file(): string {
    return join(this.karst.state, 'config.json')
  }

  /** As the quickstart has made it, with `/project` on CephFS: `survey` and `open` are alice's. */
  async configure(): Promise<CephSite> {
    const { ca, users } = await this.karst.start()
    await this.karst.stop()
    const config = JSON.parse(readFileSync(this.#file, 'utf8')) as Written
    const { uid } = statSync(join(this.karst.state, 'tree/home/alice'))
    config.backends['ceph'] = { type: 'cephfs', root: this.root }
    config.namespace.push({ path: '/project', backend: 'ceph' })
    config.allocations.push('/project')
    writeFileSync(this.#file, JSON.stringify(config))
    for (const name of ['project/survey', 'project/open']) {
      mkdirSync(join(this.root, name), { recursive: true })
      chownSync(join(this.root, name), uid, uid)
    }
    const [proxy, other] = [users['alice']?.proxy ?? '', users['bob']?.proxy ?? '']
    this.#site = { ca, url: config.service.url, proxy, other }
    return this.#site
  }

  async serve(env: Readonly<Record<string, string>> = {}): Promise<Serving> {
    this.#serving = await Serving.start(this.#file, env)
    return this.#serving
  }

  async stop(): Promise<void> {
    await this.#serving?.stop()
  }

  /** By alice. */
  readonly ask = async (path: string, asking: Asking = {}): Promise<Answer> =>
    request(this.#site.url + path, this.#site.ca, this.#site.proxy, asking)

  async dispose(): Promise<void> {
    await this.stop()
    await this.karst.dispose()
    rmSync(this.root, { recursive: true, force: true })
  }
}
