/** Operation ids of the mount API: a call that is repeated happens once. */
import { randomBytes, randomUUID } from 'node:crypto'
import t from 'tap'
import { operation, overlay, startGateway } from './gateway.ts'
import { A, get, post, put, refusal } from './fs-v1-calls.ts'

await t.test('an operation id', async (t) => {
  let delay: Promise<void> | undefined
  let makes = 0
  let fail = false
  const gateway = await startGateway(t, {
    backend: (memory) =>
      overlay(memory, {
        async make(path, draft) {
          makes++
          await delay
          if (fail) throw new Error('the disk is on fire')
          return memory.make(path, draft)
        },
      }),
  })
  await t.test('is needed, and is a UUID', async (t) => {
    for (const id of [undefined, '', 'x', '1'.repeat(36)]) {
      const headers: Record<string, string> = id === undefined ? {} : { 'operation-id': id }
      const body = JSON.stringify({ path: `${A}/x` })
      const reply = await gateway.call('/fs/v1/mkdir', { method: 'POST', as: 'alice', headers, body })
      t.match(reply, refusal(400, 'InvalidArgument', 'EINVAL'), String(id))
    }
    t.equal(makes, 0)
  })
  await t.test('repeated gets the first answer and changes nothing', async (t) => {
    const id = randomUUID()
    const first = await post(gateway, 'mkdir', { path: `${A}/a` }, { id })
    const again = await post(gateway, 'mkdir', { path: `${A}/a` }, { id: id.toUpperCase() })
    t.match(again, { status: 201, text: first.text, headers: { 'content-type': 'application/json' } })
    t.equal(makes, 1)
    await post(gateway, 'remove', { path: `${A}/a`, type: 'container' })
    t.equal((await post(gateway, 'mkdir', { path: `${A}/a` }, { id })).status, 201)
    t.equal((await get(gateway, `entry?path=${A}/a`)).status, 404)
  })
  await t.test('repeated gets the first refusal too, though it would work now', async (t) => {
    const id = randomUUID()
    t.equal((await post(gateway, 'mkdir', { path: `${A}/no/a` }, { id })).status, 404)
    await post(gateway, 'mkdir', { path: `${A}/no` })
    t.match(await post(gateway, 'mkdir', { path: `${A}/no/a` }, { id }), refusal(404, 'ContainerNotFound', 'ENOENT'))
  })
  await t.test('repeated with 204 is 204, with an upload the stored entry, its body read and dropped', async (t) => {
    const id = randomUUID()
    const headers = operation(id)
    const bytes = randomBytes(3 << 20)
    const upload = () => gateway.call(`/fs/v1/data?path=${A}/up`, { method: 'PUT', as: 'alice', headers, body: bytes })
    const first = await upload()
    t.equal(first.status, 201)
    t.match(await upload(), { status: 201, text: first.text })
    const removal = randomUUID()
    for (let i = 0; i < 2; i++) {
      t.equal((await post(gateway, 'remove', { path: `${A}/up`, type: 'leaf' }, { id: removal })).status, 204)
    }
  })
  await t.test('used for another call is refused', async (t) => {
    const id = randomUUID()
    await post(gateway, 'mkdir', { path: `${A}/u` }, { id })
    t.match(await post(gateway, 'mkdir', { path: `${A}/v` }, { id }), refusal(400, 'InvalidArgument', 'EINVAL'))
    t.match(await post(gateway, 'remove', { path: `${A}/u`, type: 'leaf' }, { id }), { status: 400 })
    t.match(await put(gateway, `${A}/v`, 'x', operation(id)), { status: 400 })
  })
  await t.test('of another user is another one', async (t) => {
    const id = randomUUID()
    t.equal((await post(gateway, 'mkdir', { path: `${A}/mine` }, { id })).status, 201)
    t.equal((await post(gateway, 'mkdir', { path: '/home/bob/mine' }, { id, as: 'bob' })).status, 201)
    const stolen = await post(gateway, 'mkdir', { path: `${A}/mine` }, { id, as: 'carol' })
    t.match(stolen, refusal(403, 'PermissionDenied', 'EACCES'))
  })
  await t.test('of nobody is refused', async (t) => {
    const body = JSON.stringify({ path: '/pub/x' })
    const reply = await gateway.call('/fs/v1/mkdir', { method: 'POST', headers: operation(), body })
    t.match(reply, refusal(403, 'PermissionDenied', 'EACCES'))
  })
  await t.test('repeated while the first call is at work waits for it', async (t) => {
    const id = randomUUID()
    const before = makes
    const gate = Promise.withResolvers<void>()
    delay = gate.promise
    const calls = Array.from({ length: 5 }, () => post(gateway, 'mkdir', { path: `${A}/w` }, { id }))
    await t.resolveMatch(
      Promise.race([...calls, new Promise((resolve) => setTimeout(resolve, 200, 'waiting'))]),
      'waiting',
    )
    gate.resolve()
    delay = undefined
    t.same(
      (await Promise.all(calls)).map(({ status }) => status),
      [201, 201, 201, 201, 201],
    )
    t.equal(makes, before + 1)
  })
  await t.test('of a call that failed here is free again', async (t) => {
    const id = randomUUID()
    fail = true
    t.match(await post(gateway, 'mkdir', { path: `${A}/z` }, { id }), refusal(500, 'InternalFault', 'EIO'))
    fail = false
    t.equal((await post(gateway, 'mkdir', { path: `${A}/z` }, { id })).status, 201)
  })
  await t.test('of an upload that was cut is free again', async (t) => {
    const id = randomUUID()
    const socket = await gateway.raw('alice')
    const head = `PUT /karst/fs/v1/data?path=${A}/cut HTTP/1.1\r\nHost: x\r\nOperation-Id: ${id}\r\nContent-Length: 10\r\n\r\n`
    socket.write(`${head}12345`, () => setTimeout(() => socket.destroy(), 50))
    await new Promise((resolve) => socket.once('close', resolve))
    const reply = await gateway.call(`/fs/v1/data?path=${A}/cut`, {
      method: 'PUT',
      as: 'alice',
      headers: operation(id),
      body: '1234567890',
    })
    t.equal(reply.status, 201)
  })
})
