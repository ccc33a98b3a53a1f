/** What suites say of the gateway holds over HTTP/2 as it does over HTTP/1.1: each is run again, its calls made by HTTP/2. */
import { againByHttp2 } from './http2-again.ts'

await againByHttp2(
  'authenticate',
  'downloads',
  'files',
  'fs-v1',
  'fs-v1-operations',
  'hostile',
  'nodes',
  'stat-again',
  'transfers',
)
