/** Something at an https URL, for those who ask gateways, and who counts its connections. */
import { writeFileSync } from 'node:fs'
import { type RequestListener } from 'node:http'
import { createServer } from 'node:https'
import { type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type Test } from 'tap'
import { issueServerCertificate, mintDevelopmentCa } from '../../src/identity/mint.ts'

export interface Gateway {
  readonly url: string
  readonly ca: string
  readonly tokenFile: string
  /** connections there were */
  readonly count: () => number
}

/** With the files that it is asked with. */
export async function gateway(t: Test, answer: RequestListener): Promise<Gateway> {
  const dir = t.testdir()
  const authority = await mintDevelopmentCa('test')
  const { certificate, key } = await issueServerCertificate(authority, ['localhost'])
  const [ca, tokenFile] = [join(dir, 'ca.pem'), join(dir, 'token')]
  writeFileSync(ca, authority.certificate)
  writeFileSync(tokenFile, 'first')
  let connections = 0
  const server = createServer({ cert: certificate, key }, answer).on('secureConnection', () => connections++)
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const url = `https://localhost:${(server.address() as AddressInfo).port}`
  return { url, ca, tokenFile, count: () => connections }
}
