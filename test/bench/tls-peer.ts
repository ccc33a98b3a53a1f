// The peer of the identity bench: a Node server that asks for a certificate, looks at nothing, and answers every request with a word.
// Its argument is a PEM file with certificate and key; the port is its first line.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { type AddressInfo } from 'node:net'

const pem = readFileSync(process.argv[2] ?? '')
const server = createServer(
  { cert: pem, key: pem, requestCert: true, rejectUnauthorized: false },
  (_request, response) => void response.end('welcome\n'),
)
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port))
