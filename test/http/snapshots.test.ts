/** Snapshots where the storage has none: each way to one is refused, and none changes what is there now. CephFS has its own tests (npm run test:cephfs). */
import t from 'tap'
import { startGateway } from './gateway.ts'

t.test('it says that there are none', async (t) => {
  const gateway = await startGateway(t)
  const json = { as: 'alice', headers: { 'content-type': 'application/json' } } as const
  const none = { status: 400, text: /^OperationNotSupported: this storage has no snapshots/ }
  t.match(await gateway.call('/snapshots?path=/home/alice', { as: 'alice' }), none)
  const body = JSON.stringify({ path: '/home/alice', name: 'one' })
  t.match(await gateway.call('/snapshots', { ...json, method: 'POST', body }), none)
  t.match(await gateway.call('/snapshots?path=/home/alice&name=one', { as: 'alice', method: 'DELETE' }), none)
  for (const path of ['/nodes/home/alice?snapshot=one', '/nodes/home/alice?limit=0&snapshot=one']) {
    t.match(await gateway.call(path, { as: 'alice' }), none)
  }
  const put = { as: 'alice', method: 'PUT', body: 'now' } as const
  t.equal((await gateway.call('/files/home/alice/now', put)).status, 201)
  t.match(await gateway.call('/files/home/alice/now?snapshot=one', { as: 'alice' }), none)
  const unchanging = { status: 403, text: /what is in a snapshot does not change/ }
  t.match(await gateway.call('/files/home/alice/now?snapshot=one', { ...put, body: 'then' }), unchanging)
  t.match(await gateway.call('/nodes/home/alice/now?snapshot=one', { as: 'alice', method: 'DELETE' }), unchanging)
  t.equal((await gateway.call('/files/home/alice/now', { as: 'alice' })).text, 'now')
})

t.test('documents that are wrong are refused', async (t) => {
  const gateway = await startGateway(t)
  const post = { as: 'alice', method: 'POST', headers: { 'content-type': 'application/json' } } as const
  for (const body of ['{}', '[]', '{"path":"/home/alice","name":1}', '{"path":"/home/alice","name":"one","more":1}']) {
    t.match(await gateway.call('/snapshots', { ...post, body }), { status: 400, text: /^InvalidArgument/ }, body)
    t.match(
      await gateway.call('/snapshots/restore', { ...post, body }),
      { status: 400, text: /^InvalidArgument/ },
      body,
    )
  }
  const plain = { as: 'alice', method: 'POST', body: '{"path":"/home/alice","name":"one"}' } as const
  t.match(await gateway.call('/snapshots', { ...plain, headers: { 'content-type': 'text/plain' } }), { status: 400 })
  t.equal((await gateway.call('/snapshots/restore/none', { as: 'alice' })).status, 404)
})
