import t from 'tap'
import { startGateway } from './gateway.ts'

await t.test('/capabilities', async (t) => {
  const gateway = await startGateway(t)
  await t.test('row 48: it is open to all, and tells anonymous callers how they could authenticate', async (t) => {
    const reply = await gateway.call('/capabilities')
    t.equal(reply.status, 200)
    t.equal(reply.headers['content-type'], 'text/xml')
    t.equal(reply.headers['www-authenticate'], 'ivoa_x509')
    t.equal(reply.headers['x-vo-authenticated'], undefined)
    const nodes = /standardID="ivo:\/\/ivoa.net\/std\/VOSpace\/v2.0#nodes">.*?<accessURL[^>]*>([^<]*)</s.exec(
      reply.text,
    )
    t.equal(nodes?.[1], `${gateway.url}/nodes`, 'no slash at the end: clients append a path')
  })
  await t.test('it names who is authenticated, and challenges them no more', async (t) => {
    const reply = await gateway.call('/capabilities', { as: 'alice' })
    t.equal(reply.headers['x-vo-authenticated'], 'alice')
    t.equal(reply.headers['www-authenticate'], undefined)
  })
  await t.test('a slash at the end does not matter', async (t) => {
    t.equal((await gateway.call('/capabilities/')).status, 200)
    t.equal((await gateway.call('//reg/resource-caps/')).status, 200)
  })
  await t.test('it has a HEAD', async (t) => {
    const reply = await gateway.call('/capabilities', { method: 'HEAD' })
    t.equal(reply.status, 200)
    t.equal(reply.body.length, 0)
  })
  await t.test(
    'row 62: trap 18: the Server header names karst and nothing a client would take for another service',
    async (t) => {
      const { headers } = await gateway.call('/capabilities')
      t.equal(headers['server'], 'karst/0.0.0')
      t.equal((await gateway.call('/nowhere')).headers['server'], 'karst/0.0.0')
    },
  )
})

await t.test('/availability', async (t) => {
  const state = { available: true, upSince: Date.now(), notes: ['all is well'] }
  const gateway = await startGateway(t, { services: { health: { check: async () => state } } })
  await t.test('row 48: it says since when the service is up, and whose address asks', async (t) => {
    const reply = await gateway.call('/availability')
    t.equal(reply.headers['content-type'], 'text/xml')
    t.match(reply.text, /<vosi:available>true</)
    t.match(reply.text, /<clientip>127.0.0.1<\/clientip>/)
  })
  await t.test('it is a bare heartbeat with detail=min, 503 when the store is down', async (t) => {
    t.equal((await gateway.call('/availability?DETAIL=min')).status, 200)
    state.available = false
    t.equal((await gateway.call('/availability?detail=min')).status, 503)
    t.equal((await gateway.call('//readyz')).status, 503)
    t.equal((await gateway.call('//livez')).status, 200, 'the process itself is alive')
  })
})

await t.test('it has a registry of itself, with one "=" a line', async (t) => {
  const gateway = await startGateway(t)
  const reply = await gateway.call('//reg/resource-caps')
  t.equal(reply.headers['content-type'], 'text/plain')
  const own = `ivo://karst.local/karst = ${gateway.url}/capabilities\n`
  const gms = `ivo://karst.local/gms = ${gateway.url}/gms/capabilities\n`
  t.equal(reply.text, `${own}${gms}ivo://karst.local/posix-mapper = ${gateway.url}/posix/capabilities\n`)
})

await t.test('row 47: it lists protocols, views and properties', async (t) => {
  const gateway = await startGateway(t)
  for (const [name, uri] of [
    ['protocols', 'ivo://ivoa.net/vospace/core#httpsput'],
    ['views', 'ivo://ivoa.net/vospace/core#defaultview'],
    ['properties', 'ivo://ivoa.net/vospace/core#title'],
  ] as const) {
    const reply = await gateway.call(`/${name}`)
    t.equal(reply.status, 200)
    t.equal(reply.headers['content-type'], 'text/xml')
    t.match(reply.text, `uri="${uri}"`)
  }
})

await t.test('methods and paths that are not there', async (t) => {
  const gateway = await startGateway(t)
  for (const target of [
    '/nowhere',
    '//',
    '//karst',
    '/nodesx',
    '/transfers/../nodes',
    '/transfers/%2e%2e',
    '/capabilities//',
  ]) {
    const reply = await gateway.call(target)
    t.equal(reply.status, 404, target)
    t.equal(reply.headers['content-type'], 'text/plain')
    t.match(reply.text, /^NodeNotFound: /)
  }
  for (const [method, target] of [
    ['OPTIONS', '/nodes'],
    ['PATCH', '/nodes/a'],
    ['POST', '/files/a'],
    ['DELETE', '/capabilities'],
    ['PROPFIND', '/nodes/a'],
    ['TRACE', '/files/a'],
    ['HEAD', '/nodes/a'],
  ] as const) {
    const reply = await gateway.call(target, { method })
    t.equal(reply.status, 405, `${method} ${target}`)
  }
  const reply = await gateway.call('/capabilities', { method: 'PUT', body: 'x'.repeat(100_000) })
  t.equal(reply.status, 405)
  t.equal(reply.headers['allow'], 'GET, HEAD')
})
