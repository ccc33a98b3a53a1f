/** What the driver of a node does for sessions that begin, and what it leaves to them. */
import { utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { type AgreementRequest, marksOf } from '../../mount/session/agreement-request.ts'
import { Agreements } from '../../mount/session/agreements.ts'
import { gateway } from './tls-gateway.ts'

const TERMS = {
  ...{ name: 'home', kind: 'user', path: '/home/alice', uri: 'vos://karst.local~karst/home/alice', access: 'write' },
  ...{ mount: '/home/alice', notices: [], credential: { token: 'x', renew: '2030-01-01T00:00:00Z' } },
  user: { name: 'alice', uid: 1000, gid: 1000, groups: [] },
}

/** A gateway that agrees to everything, and says nothing of what mounts ask. */
async function agreeing(t: Test): Promise<{ request: AgreementRequest; agreements: Agreements; seen: string[] }> {
  const seen: string[] = []
  const { url, ca, tokenFile } = await gateway(t, ({ method, url }, reply) => {
    seen.push(`${method} ${url}`)
    if (url === '/partitions') reply.end(JSON.stringify(TERMS))
  })
  const agreements = new Agreements()
  t.teardown(() => agreements.close())
  const files = { ca, tokenFile }
  const plan = [{ partition: 'home' }]
  const name = { session: 'one', member: 'a' }
  return {
    request: { ...{ name, plan, binds: [], url, proxyHours: 1 }, ...files, marks: marksOf(files) },
    agreements,
    seen,
  }
}

t.test('a mount waits no second for what was asked ahead', async (t) => {
  const { request, agreements, seen } = await agreeing(t)
  const [outcome] = (await agreements.make(request))?.outcomes ?? []
  const ahead = outcome !== undefined && 'agreed' in outcome ? outcome.agreed.ahead : undefined
  const began = performance.now()
  t.equal(await agreements.take(ahead ?? ''), undefined)
  t.ok(performance.now() - began < 1500)
  t.same(seen.sort(), ['GET /fs/v1', 'GET /fs/v1/entry?path=%2Fhome%2Falice', 'POST /partitions'])
})

t.test('where files are others than the launcher has seen the gateway is asked for nothing', async (t) => {
  const { request, agreements, seen } = await agreeing(t)
  utimesSync(request.tokenFile ?? '', 1, 1)
  t.equal(await agreements.make(request), undefined)
  t.same(seen, [])
})

t.test('where files are of no use the launcher says why, and the gateway is asked for nothing', async (t) => {
  const { request, agreements, seen } = await agreeing(t)
  const certificate = join(dirname(request.ca ?? ''), 'certificate')
  writeFileSync(certificate, 'none')
  const asked = { ...request, certificate }
  t.equal(await agreements.make({ ...asked, marks: marksOf(asked) }), undefined)
  t.same(seen, [])
})
