/**
 * `node stat-peer.ts CERTIFICATE KEY BYTES [log]`: a bare fastify route that answers a constant of so many bytes, over TLS as the gateway has it
 * (client certificates asked for); with `log` it writes a line for each request to the null device. Its port is written to stdout.
 */
import { readFileSync } from 'node:fs'
import { type AddressInfo } from 'node:net'
import fastify from 'fastify'
import { pino } from 'pino'
import { TLS_OPTIONS } from '../../src/identity/peer.ts'
import { LogFile } from '../../src/log-file.ts'

const [cert = '', key = '', bytes = '0', log] = process.argv.slice(2)
const body = 'x'.repeat(Number(bytes))
const app = fastify({ https: { ...TLS_OPTIONS, cert: readFileSync(cert), key: readFileSync(key) } })
if (log !== undefined) {
  const logger = pino({}, new LogFile('/dev/null'))
  app.addHook('onResponse', async ({ method, url }, { statusCode }) =>
    logger.info({ method, target: url, status: statusCode, user: 'alice' }, 'request'),
  )
}
app.get('/constant', async (_request, reply) => reply.type('text/xml').send(body))
await app.listen({ port: 0, host: '127.0.0.1' })
console.log((app.server.address() as AddressInfo).port)
