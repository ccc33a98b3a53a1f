/** Pre-authorised URLs whose user may not any more: refused from the next use on, and good again when they may. */
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { Preauth } from '../../src/space/preauth.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { type Gateway, GROUP, type GatewayOptions, node, property, startGateway, VOS } from './gateway.ts'

const CORE = 'ivo://ivoa.net/vospace/core#'
const REMOTE = 'ivo://remote.example/gms?far'
const PATH = '/pub/d/f'

/** `/pub/d/f` of alice's, which GROUP may read and write, in a container that everybody may pass. */
async function site(t: Parameters<typeof startGateway>[0], options: GatewayOptions = {}): Promise<Gateway> {
  const gateway = await startGateway(t, options)
  await gateway.call('/nodes/pub/d', { method: 'PUT', as: 'alice', body: node('/pub/d') })
  await gateway.call(`/files${PATH}`, { method: 'PUT', as: 'alice', body: 'content' })
  await share(gateway, '/pub/d', GROUP)
  await open(gateway, '/pub/d', true)
  await share(gateway, PATH, GROUP)
  return gateway
}

const share = (gateway: Gateway, path: string, ...groupWrite: string[]) =>
  gateway.space.backend.set({ path: nodePath(path) }, { access: { groupWrite } })

const open = (gateway: Gateway, path: string, isPublic: boolean) =>
  gateway.space.backend.set({ path: nodePath(path) }, { access: { isPublic } })

async function negotiated(gateway: Gateway, direction: 'pull' | 'push', as?: 'bob', path = PATH): Promise<string> {
  const [to, protocol] = direction === 'pull' ? ['pullFromVoSpace', 'httpsget'] : ['pushToVoSpace', 'httpsput']
  const query = new URLSearchParams({ TARGET: `${VOS}${path}`, DIRECTION: to, PROTOCOL: `${CORE}${protocol}` })
  const { text } = await gateway.call(`/synctrans?${query.toString()}`, { ...(as && { as }) })
  return /<vos:endpoint>([^<]*preauth[^<]*)</.exec(text)?.[1] ?? text
}

/** What each use of the two is answered with. */
async function uses(gateway: Gateway, pull: string, push: string): Promise<Record<string, number>> {
  const status = async (url: string, method: string, body?: string): Promise<number> =>
    (await gateway.call(url, { method, ...(body && { body }) })).status
  return {
    get: await status(pull, 'GET'),
    head: await status(pull, 'HEAD'),
    headToPut: await status(push, 'HEAD'),
    put: await status(push, 'PUT', 'x'),
  }
}

const GOOD = { get: 200, head: 200, headToPut: 200, put: 201 }
const REFUSED = { get: 403, head: 403, headToPut: 403, put: 403 }

const WITHDRAWN: Record<string, [withdraw: (gateway: Gateway) => unknown, restore: (gateway: Gateway) => unknown]> = {
  'the file is shared no more': [
    async (gateway) => [await share(gateway, '/pub/d'), await share(gateway, PATH)],
    async (gateway) => [await share(gateway, '/pub/d', GROUP), await share(gateway, PATH, GROUP)],
  ],
  'they leave the group': [
    ({ store }) => store.groups.remove(GROUP, 'bob'),
    ({ store }) => store.groups.add(GROUP, 'bob'),
  ],
  'the way is closed': [
    async (gateway) => [await share(gateway, '/pub/d'), await open(gateway, '/pub/d', false)],
    (gateway) => open(gateway, '/pub/d', true),
  ],
  'their account is suspended': [({ store }) => store.users.suspend('bob'), ({ store }) => store.users.resume('bob')],
}

for (const [why, [withdraw, restore]] of Object.entries(WITHDRAWN)) {
  t.test(`the URLs of one are refused when ${why}, and good when it is so no more`, async (t) => {
    const gateway = await site(t)
    const [pull, push] = [await negotiated(gateway, 'pull', 'bob'), await negotiated(gateway, 'push', 'bob')]
    t.same(await uses(gateway, pull, push), GOOD)
    await withdraw(gateway)
    t.same(await uses(gateway, pull, push), REFUSED)
    await restore(gateway)
    t.same(await uses(gateway, pull, push), GOOD)
  })
}

t.test('as alice withdraws it by its properties: at the next use, and whoever holds the URL', async (t) => {
  const gateway = await site(t)
  const url = await negotiated(gateway, 'pull', 'bob')
  const post = (uri: string) =>
    gateway.call(`/nodes${PATH}`, { method: 'POST', as: 'alice', body: node(PATH, 'DataNode', uri) })
  await share(gateway, PATH)
  t.equal((await post(property(`${CORE}groupread`, GROUP))).status, 200)
  t.match(await gateway.call(url), { status: 200, text: 'content' })
  const nil = `<vos:properties><vos:property uri="${CORE}groupread" xsi:nil="true"/></vos:properties>`
  t.equal((await post(nil)).status, 200)
  for (const as of [undefined, 'bob', 'alice'] as const)
    t.match(await gateway.call(url, { ...(as && { as }) }), { status: 403, text: /^PermissionDenied: / })
})

t.test('what was to be made: leave to create it is asked again', async (t) => {
  const gateway = await site(t)
  const push = await negotiated(gateway, 'push', 'bob', '/pub/d/new')
  await gateway.space.backend.remove(nodePath('/pub/d/new'), 'leaf')
  gateway.store.groups.remove(GROUP, 'bob')
  const put = () => gateway.call(push, { method: 'PUT', body: 'x' })
  t.equal((await put()).status, 403)
  t.equal((await gateway.call('/nodes/pub/d/new', { as: 'alice' })).status, 404)
  gateway.store.groups.add(GROUP, 'bob')
  t.equal((await put()).status, 201)
})

t.test('a URL given to nobody by name is good while the node is public', async (t) => {
  const gateway = await site(t)
  const set = (isPublic: boolean) => Promise.all(['/pub/d', PATH].map((path) => open(gateway, path, isPublic)))
  await set(true)
  const url = await negotiated(gateway, 'pull')
  t.equal((await gateway.call(url)).status, 200)
  await set(false)
  t.equal((await gateway.call(url, { as: 'alice' })).status, 403)
  await set(true)
  t.equal((await gateway.call(url)).status, 200)
})

t.test(
  'who is let in by a group of another service: for as long as a membership counts, and while it is shared',
  async (t) => {
    const preauth = new Preauth(randomBytes(32), {
      seconds: 3600,
      membershipSeconds: (group) => (group === REMOTE ? 300 : 0),
    })
    const gateway = await site(t, { services: { preauth } })
    await share(gateway, '/pub/d', REMOTE)
    await share(gateway, PATH, REMOTE)
    const url = (ago: number): string => {
      const parts = { service: gateway.space.service, path: nodePath(PATH), kind: 'read', user: 'bob' } as const
      return `/files/preauth:${preauth.issue({ ...parts, groups: [REMOTE], now: Date.now() - ago })}${PATH}`
    }
    t.equal((await gateway.call(url(200_000))).status, 200)
    t.equal((await gateway.call(url(301_000))).status, 403)
    await share(gateway, PATH)
    t.equal((await gateway.call(url(0))).status, 403)
  },
)
