/** How commands ask a gateway: calls of a burst share a connection, and the credential is read again for the next. */
import { writeFileSync } from 'node:fs'
import { Agent } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { asking } from '../../mount/asking.ts'
import { burstsAt } from '../../src/cli/service.ts'
import { gateway } from './tls-gateway.ts'

t.test('a burst is one connection, and one with a new token comes after it', async (t) => {
  const seen: (string | undefined)[] = []
  const { url, ca, tokenFile, count } = await gateway(t, (request, reply) => {
    seen.push(request.headers.authorization)
    reply.end(JSON.stringify({ path: request.url }))
  })
  const ask = burstsAt({ url, ca, 'token-file': tokenFile }, 50)
  const answers = await Promise.all(['/a', '/b', '/c'].map((path) => ask('POST', path, {})))
  t.same(answers, [{ path: '/a' }, { path: '/b' }, { path: '/c' }])
  t.equal(count(), 1)
  writeFileSync(tokenFile, 'second')
  await sleep(60)
  await ask('POST', '/d', {})
  t.same(seen, ['Bearer first', 'Bearer first', 'Bearer first', 'Bearer second'])
})

t.test('where a kept connection has died the call is made again on a new one, once', async (t) => {
  const used = new WeakSet<object>()
  const { url, ca, tokenFile, count } = await gateway(t, ({ socket, url }, reply) => {
    if (used.has(socket) || url === '/never') socket.destroy()
    else reply.end(JSON.stringify({ path: url }))
    used.add(socket)
  })
  const ask = burstsAt({ url, ca, 'token-file': tokenFile })
  t.same(await ask('POST', '/a', {}), { path: '/a' })
  t.same(await ask('POST', '/b', {}), { path: '/b' })
  t.equal(count(), 2)
  await ask('POST', '/c', {})
  await t.rejects(ask('POST', '/never', {}), { message: /^ServiceBusy/ })
  t.equal(count(), 4)
  const once = await asking(url, { tokenFile }, ca, { agent: new Agent({ keepAlive: true }) })
  await once('POST', '/d', {})
  await t.rejects(once('POST', '/e', {}), { message: /^ServiceBusy/ }, 'not where it was not asked for')
})

t.test('a call has its time, also one that waits for a connection', async (t) => {
  const { url, ca, tokenFile } = await gateway(t, () => undefined)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const late = { message: /no answer in time: is a gateway running there\?/ }
  const patient = await asking(url, { tokenFile }, ca, { agent, signal: () => AbortSignal.timeout(5000) })
  const hasty = await asking(url, { tokenFile }, ca, { agent, signal: () => AbortSignal.timeout(100) })
  const began = performance.now()
  const first = patient('GET', '/a').catch(() => undefined)
  await t.rejects(hasty('GET', '/b'), late)
  t.ok(performance.now() - began < 3000)
  agent.destroy()
  await first
})
