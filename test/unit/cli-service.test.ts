/** How commands ask a gateway: calls of a burst share a connection, and the credential is read again for the next. */
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { burstsAt } from '../../src/cli/service.ts'
import { issueServerCertificate, mintDevelopmentCa } from '../../src/identity/mint.ts'

t.test('a burst is one connection, and one with a new token comes after it', async (t) => {
  const dir = t.testdir()
  const authority = await mintDevelopmentCa('test')
  const { certificate, key } = await issueServerCertificate(authority, ['localhost'])
  const [ca, tokenFile] = [join(dir, 'ca.pem'), join(dir, 'token')]
  writeFileSync(ca, authority.certificate)
  writeFileSync(tokenFile, 'first')
  const seen: (string | undefined)[] = []
  let connections = 0
  const server = createServer({ cert: certificate, key }, (request, reply) => {
    seen.push(request.headers.authorization)
    reply.end(JSON.stringify({ path: request.url }))
  }).on('secureConnection', () => connections++)
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
  t.teardown(() => server.close())
  const url = `https://localhost:${(server.address() as AddressInfo).port}`
  const ask = burstsAt({ url, ca, 'token-file': tokenFile }, 50)
  const answers = await Promise.all(['/a', '/b', '/c'].map((path) => ask('POST', path, {})))
  t.same(answers, [{ path: '/a' }, { path: '/b' }, { path: '/c' }])
  t.equal(connections, 1)
  writeFileSync(tokenFile, 'second')
  await sleep(60)
  await ask('POST', '/d', {})
  t.same(seen, ['Bearer first', 'Bearer first', 'Bearer first', 'Bearer second'])
})
