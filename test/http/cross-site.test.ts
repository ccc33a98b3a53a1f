/** A page of another site makes a browser ask for changes, and the browser shows the certificate of whoever reads the page. */
import t from 'tap'
import { node, property, startGateway, VOS, type Call, type Gateway } from './gateway.ts'

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const target = encodeURIComponent(`${VOS}/home/alice/f`)

/** What a form or a script can send without asking first (Fetch, "CORS-safelisted"): POST, and nothing unusual in it. */
const CHANGES: readonly (readonly [string, Call])[] = [
  ['/async-delete?PHASE=RUN', { body: `target=${target}&PHASE=RUN`, headers: FORM }],
  [
    '/nodes/home/alice/f',
    { body: node('/home/alice/f', 'DataNode', property('ivo://ivoa.net/vospace/core#ispublic', 'true')) },
  ],
  ['/groups', { body: '{"name":"theirs"}' }],
  ['/share', { body: '{"path":"/home/alice/f","public":true}' }],
]

const FROM_ELSEWHERE: readonly Record<string, string>[] = [
  { 'sec-fetch-site': 'cross-site', origin: 'https://elsewhere.example' },
  { 'sec-fetch-site': 'same-site', origin: 'https://localhost:1' },
  { 'sec-fetch-site': 'cross-site' },
  { origin: 'https://elsewhere.example' },
  { origin: 'null' },
]

const post = (gateway: Gateway, [place, call]: (typeof CHANGES)[number], from: Record<string, string>) =>
  gateway.call(place, { method: 'POST', as: 'alice', ...call, headers: { ...call.headers, ...from } })

for (const http2 of [false, true]) {
  await t.test(`a page of another site, by HTTP/${http2 ? 2 : 1}`, async (t) => {
    const gateway = await startGateway(t, { http2 })
    await gateway.call('/files/home/alice/f', { method: 'PUT', as: 'alice', body: 'content' })
    const read = () => gateway.call('/nodes/home/alice/f?detail=properties', { as: 'alice' })
    const before = (await read()).text
    await t.test('changes nothing with the certificate of its reader', async (t) => {
      for (const change of CHANGES) {
        for (const from of FROM_ELSEWHERE) {
          const reply = await post(gateway, change, from)
          t.match(
            reply,
            { status: 403, text: /^PermissionDenied: a page of another site/ },
            `${change[0]} ${JSON.stringify(from)}`,
          )
        }
      }
      t.equal((await read()).text, before)
      t.notMatch((await gateway.call('/groups', { as: 'alice' })).text, /theirs/)
    })
    await t.test('can be followed by a link to what is read', async (t) => {
      const headers = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }
      t.equal((await gateway.call('/files/home/alice/f', { as: 'alice', headers })).status, 200)
    })
    await t.test('is told apart from pages of the gateway itself, and from programs', async (t) => {
      // as these clients call it
      const own = `https://${http2 ? 'localhost' : '127.0.0.1'}:${gateway.port}`
      const friends = [
        {},
        { 'sec-fetch-site': 'same-origin', origin: own },
        { origin: own },
        { 'sec-fetch-site': 'none' },
      ]
      for (const [i, from] of friends.entries()) {
        const reply = await post(gateway, ['/groups', { body: JSON.stringify({ name: `own-${i}` }) }], from)
        t.equal(reply.status, 201, JSON.stringify(from))
      }
    })
  })
}
