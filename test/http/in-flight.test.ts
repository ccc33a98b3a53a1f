/** Bytes on their way when permission for them is withdrawn: the connection is cut, nothing of a cut upload is kept, and others go on. */
import { once } from 'node:events'
import { type TLSSocket } from 'node:tls'
import t from 'tap'
import { type AuditEvent } from '../../src/identity/audit.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { dnOf, type Name } from './people.ts'
import { type Gateway, GROUP, node, operation, property, startGateway } from './gateway.ts'

const CORE = 'ivo://ivoa.net/vospace/core#'
const LARGE = 64 << 20
t.setTimeout(300_000)

interface Site {
  readonly gateway: Gateway
  readonly audit: AuditEvent[]
}

/** `/home/alice/d`, which the group may pass, with `large` and `small` in it that the group may write. */
async function site(t: Parameters<typeof startGateway>[0]): Promise<Site> {
  const audit: AuditEvent[] = []
  const gateway = await startGateway(t, {
    rules: { allocationParents: [nodePath('/home')] },
    services: { audit: { note: (event) => void audit.push(event) } },
  })
  const shared = property(`${CORE}groupwrite`, GROUP)
  for (const path of ['/home/alice', '/home/alice/d']) {
    const method = path === '/home/alice' ? 'POST' : 'PUT'
    const body = node(path, 'ContainerNode', property(`${CORE}groupread`, GROUP))
    await gateway.call(`/nodes${path}`, { as: 'alice', method, body })
  }
  for (const [name, body] of [
    ['large', Buffer.alloc(LARGE, 'x')],
    ['small', 'before'],
  ] as const) {
    await gateway.call(`/files/home/alice/d/${name}`, { as: 'alice', method: 'PUT', body })
    const document = node(`/home/alice/d/${name}`, 'DataNode', shared)
    const reply = await gateway.call(`/nodes/home/alice/d/${name}`, { as: 'alice', method: 'POST', body: document })
    if (reply.status !== 200) throw new Error(reply.text)
  }
  return { gateway, audit }
}

/** A request of which neither side comes to its end by itself. */
class Going {
  readonly socket: TLSSocket
  cut = false
  text = ''

  constructor(socket: TLSSocket) {
    this.socket = socket
    socket.once('close', () => (this.cut = true))
    socket.on('error', () => undefined) // being cut is what is waited for
  }

  static async download({ gateway }: Site, as: Name, target: string): Promise<Going> {
    const going = new Going(await gateway.raw(as))
    going.socket.write(`GET /karst${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    await once(going.socket, 'readable')
    going.text = String(going.socket.read(12))
    return going
  }

  static async upload({ gateway }: Site, as: Name, target: string): Promise<Going> {
    const going = new Going(await gateway.raw(as))
    const id = operation()['operation-id']
    going.socket.on('data', (part: Buffer) => (going.text += part.toString()))
    going.socket.write(
      `PUT /karst${target} HTTP/1.1\r\nHost: localhost\r\nOperation-Id: ${id}\r\nContent-Length: 10\r\n\r\nafter`,
    )
    return going
  }

  /** True: cut within so many milliseconds. */
  async isCut(patience: number): Promise<boolean> {
    // what is buffered is taken, so that the end is seen
    this.socket.resume()
    for (let waited = 0; waited < patience && !this.cut; waited += 50) await new Promise((done) => setTimeout(done, 50))
    return this.cut
  }
}

const WITHDRAWN: Record<string, (site: Site) => Promise<unknown>> = {
  'who leaves the group': async ({ gateway }) => gateway.store.groups.remove(GROUP, 'bob'),
  'whose file is shared no more': ({ gateway }) =>
    Promise.all(
      ['large', 'small'].map((name) =>
        gateway.space.backend.set({ path: nodePath(`/home/alice/d/${name}`) }, { access: { groupWrite: [] } }),
      ),
    ),
  'whose way is closed': ({ gateway }) =>
    gateway.space.backend.set({ path: nodePath('/home/alice') }, { access: { groupRead: [] } }),
  'who is known by another credential now': async ({ gateway }) =>
    gateway.store.users.removeIdentity('bob', { kind: 'x509', value: dnOf('bob') }),
  'whose account is suspended': async ({ gateway }) => gateway.store.users.suspend('bob'),
}

for (const [who, withdraw] of Object.entries(WITHDRAWN)) {
  t.test(`the streams of one ${who} are cut`, async (t) => {
    const one = await site(t)
    const [read, readMount, replaced, written] = await Promise.all([
      Going.download(one, 'bob', '/files/home/alice/d/large'),
      Going.download(one, 'bob', '/fs/v1/data?path=/home/alice/d/large'),
      Going.upload(one, 'bob', '/files/home/alice/d/small'),
      Going.upload(one, 'bob', '/fs/v1/data?path=/home/alice/d/small'),
    ])
    const others = await Promise.all([
      Going.download(one, 'alice', '/files/home/alice/d/large'),
      Going.upload(one, 'alice', '/files/home/alice/d/own'),
    ])
    for (const going of [read, readMount]) t.equal(going.text, 'HTTP/1.1 200')
    await new Promise((done) => setTimeout(done, 500))
    await withdraw(one)
    const cuts = (): number => one.audit.filter(({ act, by }) => act === 'stream.cut' && by === 'bob').length
    // not before: a download that is read on would come to its end
    for (let waited = 0; waited < 60_000 && cuts() < 4; waited += 50) await new Promise((done) => setTimeout(done, 50))
    for (const [name, going] of Object.entries({ read, readMount, replaced, written }))
      t.ok(await going.isCut(60_000), name)
    t.same([replaced.text, written.text], ['', ''], 'no answer says that it was taken')
    t.equal((await one.gateway.call('/files/home/alice/d/small', { as: 'alice' })).text, 'before')
    t.equal((await one.gateway.call('/files/home/alice/d/small', { as: 'bob' })).status, 403, 'and at the next request')
    t.equal(cuts(), 4)
    const [download, upload] = others
    t.notOk(download?.cut, 'a download of hers goes on')
    upload?.socket.write('-all')
    upload?.socket.write('!')
    for (let waited = 0; upload?.text === '' && waited < 60_000; waited += 50)
      await new Promise((done) => setTimeout(done, 50))
    t.match(upload?.text, /^HTTP\/1.1 201/, 'and an upload of hers ends')
    for (const going of others) going.socket.destroy()
  })
}

t.test('the streams of pre-authorised URLs are cut when their user may not any more', async (t) => {
  const one = await site(t)
  const { gateway, audit } = one
  const signed = (kind: 'read' | 'write', name: string): string => {
    const path = nodePath(`/home/alice/d/${name}`)
    return `/files/preauth:${gateway.preauth.issue({ service: gateway.space.service, path, kind, user: 'bob' })}${path}`
  }
  // who sends them may what they like: they are bob's
  const read = await Going.download(one, 'alice', signed('read', 'large'))
  const written = await Going.upload(one, 'alice', signed('write', 'small'))
  t.equal(read.text, 'HTTP/1.1 200')
  await new Promise((done) => setTimeout(done, 500))
  gateway.store.groups.remove(GROUP, 'bob')
  const cuts = (): number => audit.filter(({ act, by }) => act === 'stream.cut' && by === 'bob').length
  for (let waited = 0; waited < 60_000 && cuts() < 2; waited += 50) await new Promise((done) => setTimeout(done, 50))
  t.equal(cuts(), 2)
  for (const going of [read, written]) t.ok(await going.isCut(60_000))
  t.equal(written.text, '')
  t.equal((await gateway.call('/files/home/alice/d/small', { as: 'alice' })).text, 'before')
})
