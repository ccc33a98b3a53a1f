/** `node stat-peer.ts CERTIFICATE KEY BYTES`: a bare fastify route over TLS that answers a constant of so many bytes. Its port is written to stdout. */
import { readFileSync } from 'node:fs'
import { type AddressInfo } from 'node:net'
import fastify from 'fastify'

const [cert = '', key = '', bytes = '0'] = process.argv.slice(2)
const body = 'x'.repeat(Number(bytes))
const app = fastify({ https: { cert: readFileSync(cert), key: readFileSync(key) } })
app.get('/constant', async (_request, reply) => reply.type('text/xml').send(body))
await app.listen({ port: 0, host: '127.0.0.1' })
console.log((app.server.address() as AddressInfo).port)
