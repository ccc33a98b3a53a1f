/** How many jobs may wait, through the real door. */
import t from 'tap'
import { type Gateway, node, startGateway, VOS } from './gateway.ts'
import { document, GET, JobCalls, PUT, type Who } from './job-calls.ts'

const push = document('/home/alice/f', 'pushToVoSpace', PUT)
const refused = { status: 503, headers: { 'content-type': 'text/plain' }, text: /^ServiceBusy: .*3 jobs that wait/ }
const transfers = (gateway: Gateway, as: Who = 'alice') => new JobCalls(gateway, as)

await t.test(
  'an owner with too many waiting jobs is told to come again, of whatever kind the next one is',
  async (t) => {
    const gateway = await startGateway(t, { waiting: 3 })
    const jobs = transfers(gateway)
    const first = await jobs.create(push)
    await new JobCalls(gateway, 'alice', 'async-delete').create(
      `target=${encodeURIComponent(`${VOS}/home/alice/none`)}`,
    )
    await new JobCalls(gateway, 'alice', 'async-setprops').create(node('/home/alice/none'))
    for (const query of ['', '?PHASE=RUN']) {
      const reply = await jobs.post(push, query)
      t.match(reply, refused)
      t.match(reply.headers['retry-after'], /^[1-9]\d*$/)
      t.equal(reply.headers.location, undefined)
    }
    const deletion = new JobCalls(gateway, 'alice', 'async-delete')
    t.match(await deletion.post('target=x'), refused)
    t.match(await new JobCalls(gateway, 'alice', 'async-setprops').post(node('/home/alice/none')), refused)
    t.equal((await jobs.get('/transfers')).text.split('<uws:jobref').length, 2, 'what was refused is not there')
    t.equal((await transfers(gateway, 'bob').post(push)).status, 303, 'others are not in the way')
    await t.test('one that has run, was aborted or deleted makes room', async (t) => {
      await jobs.form(`${first}/phase`, 'PHASE=RUN')
      const second = await jobs.create(push)
      t.match(await jobs.post(push), refused)
      await jobs.form(`${second}/phase`, 'PHASE=ABORT')
      const third = await jobs.create(push)
      t.match(await jobs.post(push), refused)
      await gateway.call(third, { method: 'DELETE', as: 'alice' })
      t.equal((await jobs.post(push)).status, 303)
    })
  },
)

await t.test('anonymous callers share one limit, and take nothing from anybody', async (t) => {
  const gateway = await startGateway(t, { waiting: 3 })
  const nobody = transfers(gateway, 'nobody')
  const pull = document('/pub', 'pullFromVoSpace', GET)
  for (let n = 0; n < 3; n++) await nobody.create(pull)
  t.match(await nobody.post(pull), refused)
  t.equal((await transfers(gateway).post(push)).status, 303)
})

await t.test('a transfer that is negotiated at once does not wait, and is never too many', async (t) => {
  const gateway = await startGateway(t, { waiting: 1 })
  await transfers(gateway).create(push)
  for (let n = 0; n < 4; n++) {
    const reply = await gateway.call('/synctrans', { method: 'POST', as: 'alice', body: push })
    t.match(reply.headers.location, /transferDetails$/)
    t.match((await gateway.call(reply.headers.location ?? '', { as: 'alice' })).text, '<vos:endpoint>')
  }
})

await t.test('a hundred creations at once do not overstep it', async (t) => {
  const gateway = await startGateway(t, { waiting: 40 })
  const replies = await Promise.all(Array.from({ length: 100 }, async () => transfers(gateway).post(push)))
  t.equal(replies.filter(({ status }) => status === 303).length, 40)
  t.equal(replies.filter(({ status }) => status === 503).length, 60)
})
