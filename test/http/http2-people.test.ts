/** Who may what, and for how long, over HTTP/2. */
import { againByHttp2 } from './http2-again.ts'

await againByHttp2('users', 'users-ended', 'revoked', 'cross-site', 'bad-input')
