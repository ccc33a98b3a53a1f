import { createHash } from 'node:crypto'
import t from 'tap'
import { EXTENTS_TYPE, writeExtents, type WireExtent } from '../../src/codec/fs-v1.ts'
import { operation, overlay, startGateway } from './gateway.ts'
import { A, entryIn, get, post, put, refusal } from './fs-v1-calls.ts'

await t.test('names', async (t) => {
  const gateway = await startGateway(t)
  await t.test('mkdir is exclusive, and answers the entry', async (t) => {
    const reply = await post(gateway, 'mkdir', { path: `${A}/d`, mode: 0o2750 })
    t.equal(reply.status, 201)
    t.match(entryIn(reply), { path: `${A}/d`, type: 'container', mode: 0o2750, owner: 'alice', writable: true })
    t.match(await post(gateway, 'mkdir', { path: `${A}/d` }), refusal(409, 'DuplicateNode', 'EEXIST'))
    t.match(await post(gateway, 'mkdir', { path: `${A}/no/d` }), refusal(404, 'ContainerNotFound', 'ENOENT'))
    t.match(await post(gateway, 'mkdir', { path: '/home/bob/d' }), refusal(403, 'PermissionDenied', 'EACCES'))
  })
  await t.test('symlink keeps the text byte for byte', async (t) => {
    t.match(entryIn(await post(gateway, 'symlink', { path: `${A}/l`, text: '../x y' })), {
      type: 'link',
      text: '../x y',
    })
    const text64 = Buffer.from([0xff, 0xfe]).toString('base64')
    t.match(entryIn(await post(gateway, 'symlink', { path: `${A}/l2`, text64 })), { text64 })
    t.match(await post(gateway, 'symlink', { path: `${A}/l3`, text: 'a', text64 }), { status: 400 })
    t.match(await post(gateway, 'symlink', { path: `${A}/l3` }), { status: 400 })
    t.match(await post(gateway, 'symlink', { path: `${A}/l3`, text64: '*' }), { status: 400 })
  })
  await t.test('remove checks the type and is never recursive', async (t) => {
    await put(gateway, `${A}/d/f`, 'x')
    t.match(
      await post(gateway, 'remove', { path: `${A}/d`, type: 'container' }),
      refusal(409, 'ContainerNotEmpty', 'ENOTEMPTY'),
    )
    t.match(await post(gateway, 'remove', { path: `${A}/d`, type: 'leaf' }), { status: 400, text: /"errno":"EISDIR"/ })
    t.match(await post(gateway, 'remove', { path: `${A}/d/f`, type: 'container' }), {
      status: 400,
      text: /"errno":"ENOTDIR"/,
    })
    const reply = await post(gateway, 'remove', { path: `${A}/d/f`, type: 'leaf' })
    t.match(reply, { status: 204, text: '' })
    t.equal(reply.headers['content-length'], undefined)
    t.equal((await post(gateway, 'remove', { path: `${A}/d`, type: 'container' })).status, 204)
    t.match(
      await post(gateway, 'remove', { path: `${A}/d`, type: 'container' }),
      refusal(404, 'NodeNotFound', 'ENOENT'),
    )
  })
  await t.test('rename replaces, or does not, or exchanges', async (t) => {
    await put(gateway, `${A}/one`, '1')
    await put(gateway, `${A}/two`, '2')
    const rename = (flags?: string) => post(gateway, 'rename', { from: `${A}/one`, to: `${A}/two`, flags })
    t.match(await rename('noreplace'), refusal(409, 'DuplicateNode', 'EEXIST'))
    t.match(entryIn(await rename('exchange')), { path: `${A}/two`, size: 1 })
    t.equal((await rename()).status, 200)
    t.equal((await get(gateway, `data?path=${A}/two`)).text, '2')
    t.match(await rename('sideways'), { status: 400 })
  })
})

await t.test('a document', async (t) => {
  const gateway = await startGateway(t)
  const bad: Record<string, unknown> = {
    'is no JSON': '{"path":',
    'is empty': '',
    'is a list': [],
    'is null': 'null',
    'is not UTF-8': undefined,
    'has a field too many': { path: `${A}/d`, colour: 'red' },
    'has no path': { mode: 0 },
    'has a path of another type': { path: 7 },
    'has null for a path': { path: null },
    'has a mode of another type': { path: `${A}/d`, mode: '0755' },
    'has a mode of 13 bits': { path: `${A}/d`, mode: 0o10000 },
    'has a mode below zero': { path: `${A}/d`, mode: -1 },
    'has half a surrogate': '{"path":"/home/alice/\\ud800"}',
    'has a path with a dot step': { path: `${A}/../bob/d` },
    'has a path that is relative': { path: 'd' },
    'has a NUL': { path: `${A}/a\0b` },
    'has __proto__': '{"path":"/home/alice/d","__proto__":{"mode":1}}',
  }
  for (const [what, document] of Object.entries(bad)) {
    const body = document === undefined ? Buffer.from('{"path":"\xff"}', 'latin1') : document
    const reply = Buffer.isBuffer(body)
      ? await gateway.call('/fs/v1/mkdir', { method: 'POST', as: 'alice', headers: operation(), body })
      : await post(gateway, 'mkdir', body)
    t.match(reply, { status: 400, headers: { 'content-type': 'application/json' } }, what)
    t.match(JSON.parse(reply.text), { errno: 'EINVAL' })
  }
  await t.test('of more than 64 KiB is refused', async (t) => {
    const reply = await post(gateway, 'mkdir', { path: `${A}/d`, mode: 0, pad: 'x'.repeat(70_000) })
    t.match(reply, refusal(413, 'RequestEntityTooLarge', 'EFBIG'))
  })
  t.equal((await get(gateway, `entry?path=${A}/d`)).status, 404, 'nothing was made')
})

await t.test('bytes', async (t) => {
  const gateway = await startGateway(t)
  await t.test('PUT creates with mode and mtime, replaces, and answers the entry', async (t) => {
    const first = await put(gateway, `${A}/f&mode=0640&mtime=1234567890123456789`, 'hello')
    t.equal(first.status, 201)
    t.match(entryIn(first), { size: 5, mode: 0o640, mtime: '1234567890123456789', type: 'data' })
    const second = await put(gateway, `${A}/f`, 'again')
    t.equal(second.status, 200)
    t.equal(entryIn(second).id, entryIn(first).id)
    t.not(entryIn(second).contentVersion, entryIn(first).contentVersion)
  })
  await t.test('PUT holds its conditions', async (t) => {
    const { contentVersion } = entryIn(await put(gateway, `${A}/g`, 'one'))
    t.match(await put(gateway, `${A}/g`, 'x', { 'if-none-match': '*' }), refusal(409, 'DuplicateNode', 'EEXIST'))
    t.match(await put(gateway, `${A}/g`, 'x', { 'if-match': '"no"' }), refusal(412, 'PreconditionFailed', 'ESTALE'))
    t.equal((await put(gateway, `${A}/g`, 'two', { 'if-match': `"${contentVersion}"` })).status, 200)
    t.match(await put(gateway, `${A}/g`, 'x', { 'if-match': 'a, b' }), { status: 400 })
    t.match(await put(gateway, `${A}/g`, 'x', { 'if-match': '*' }), { status: 400 })
    t.match(await put(gateway, `${A}/g`, 'x', { 'if-none-match': '"a"' }), { status: 400 })
    t.match(await put(gateway, `${A}/empty&durable=false`, ''), { status: 201 })
    t.match(await put(gateway, `${A}/empty&durable=false`, 'x'), refusal(400, 'InvalidArgument', 'EINVAL'))
    t.match(await put(gateway, `${A}/empty&durable=true`, ''), refusal(400, 'InvalidArgument', 'EINVAL'))
    const wrong = `md5=${createHash('md5').update('y').digest('base64')}`
    t.match(await put(gateway, `${A}/g`, 'x', { digest: wrong }), { status: 412 })
    t.equal((await get(gateway, `data?path=${A}/g`)).text, 'two')
  })
  await t.test('PUT for a node by id finds it where it stands now, or is ESTALE', async (t) => {
    const { id } = entryIn(await put(gateway, `${A}/h`, 'one'))
    await post(gateway, 'rename', { from: `${A}/h`, to: `${A}/h2` })
    const moved = await put(gateway, `${A}/h&id=${id}`, 'two')
    t.ok(moved.status === 200 ? entryIn(moved).path === `${A}/h2` : moved.status === 404)
    t.match(await put(gateway, `${A}/h2&id=another`, 'three'), { status: 404, text: /"errno":"ESTALE"/ })
  })
  await t.test('parameters are checked', async (t) => {
    for (const query of [`${A}/p&mode=rw`, `${A}/p&mode=99999`, `${A}/p&mtime=now`, '', 'x', `${A}/../bob/x`]) {
      t.match(await put(gateway, query, 'x'), { status: 400, headers: { 'content-type': 'application/json' } }, query)
    }
    t.match(await get(gateway, 'data'), { status: 400, text: /path is missing/ })
  })
  await t.test('GET answers ranges, conditions and the ETag of the bytes', async (t) => {
    const { contentVersion } = entryIn(await put(gateway, `${A}/r`, '0123456789'))
    const whole = await get(gateway, `data?path=${A}/r`)
    t.match(whole, { status: 200, text: '0123456789', headers: { etag: `"${contentVersion}"` } })
    t.match(await get(gateway, `data?path=${A}/r`, { range: 'bytes=2-4' }), { status: 206, text: '234' })
    t.match(
      await get(gateway, `data?path=${A}/r`, { range: 'bytes=10-' }),
      refusal(416, 'RangeNotSatisfiable', 'EINVAL'),
    )
    t.match(
      await get(gateway, `data?path=${A}/r`, { 'if-match': '"no"' }),
      refusal(412, 'PreconditionFailed', 'ESTALE'),
    )
    t.match(await get(gateway, `data?path=${A}`), { status: 400, text: /"errno":"EISDIR"/ })
  })
  await t.test('PATCH amends ranges, and all or nothing', async (t) => {
    const { contentVersion } = entryIn(await put(gateway, `${A}/m`, '0123456789'))
    const patch = async (extents: WireExtent[], query: string, headers = {}, cut = 0) => {
      const parts: Uint8Array[] = []
      for await (const part of writeExtents(extents)) parts.push(part)
      const body = Buffer.concat(parts)
      return gateway.call(`/fs/v1/data?path=${A}/m${query}`, {
        method: 'PATCH',
        as: 'alice',
        headers: { ...operation(), 'content-type': EXTENTS_TYPE, ...headers },
        body: body.subarray(0, body.length - cut),
      })
    }
    const extents = [
      { offset: 2, bytes: Buffer.from('XY') },
      { offset: 8, hole: 4 },
    ]
    t.match(await patch(extents, '&length=12', { 'if-match': '"no"' }), refusal(412, 'PreconditionFailed', 'ESTALE'))
    t.match(await patch(extents, '&length=12', {}, 3), refusal(400, 'InvalidData', 'EINVAL'))
    t.match(await patch(extents, ''), { status: 400, text: /length is missing/ })
    t.equal((await get(gateway, `data?path=${A}/m`)).text, '0123456789')
    const reply = await patch(extents, '&length=12&mtime=5', { 'if-match': `"${contentVersion}"` })
    t.match(entryIn(reply), { size: 12, mtime: '5' })
    t.same((await get(gateway, `data?path=${A}/m`)).body, Buffer.from('01XY4567\0\0\0\0'))
  })
})

await t.test('what is read', async (t) => {
  const gateway = await startGateway(t)
  for (let i = 0; i < 5; i++) await put(gateway, `${A}/n${i}`, 'x'.repeat(i))
  const list = async (query: string) => {
    const { text, headers } = await get(gateway, `list?path=${query}`)
    t.equal(headers['content-type'], 'application/x-ndjson')
    const values = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    return { end: values.pop(), names: values.map(({ path }) => String(path).slice(A.length + 1)) }
  }
  await t.test('list gives entries in order, and a cursor to go on from', async (t) => {
    t.same(await list(A), { names: ['n0', 'n1', 'n2', 'n3', 'n4'], end: { cursor: null } })
    t.same(await list(`${A}&limit=2`), { names: ['n0', 'n1'], end: { cursor: 'n2' } })
    t.same(await list(`${A}&limit=9&cursor=n3`), { names: ['n3', 'n4'], end: { cursor: null } })
    t.match(await get(gateway, `list?path=${A}/n1`), { status: 400, text: /"errno":"ENOTDIR"/ })
    t.match(await get(gateway, `list?path=${A}`, {}, 'bob'), refusal(403, 'PermissionDenied', 'EACCES'))
    t.match(await get(gateway, `list?path=${A}&limit=-1`), { status: 400 })
  })
  await t.test('entry, statfs and who I am', async (t) => {
    const entry = entryIn(await get(gateway, `entry?path=${A}/n3`))
    t.match(entry, { type: 'data', size: 3, nlink: 1, uid: 20000, access: { isPublic: false } })
    t.match(JSON.parse((await get(gateway, `statfs?path=${A}`)).text), { nameMax: 255 })
    t.match(await get(gateway, `entry?path=${A}/none`), refusal(404, 'NodeNotFound', 'ENOENT'))
    t.match(await get(gateway, `entry?path=${A}/n3&id=other`), { status: 404, text: /"errno":"ESTALE"/ })
    t.match(JSON.parse((await get(gateway, '')).text), { user: 'alice' })
  })
  await t.test('xattrs are properties', async (t) => {
    const xattr = (method: string, query: string, body: string | Buffer = '') =>
      gateway.call(`/fs/v1/xattr?path=${A}/n1${query}`, { method, as: 'alice', headers: operation(), body })
    t.match(await xattr('PUT', '&name=user.colour', 'blue'), { status: 204, text: '' })
    t.match(JSON.parse((await xattr('GET', '')).text), { names: ['user.colour'] })
    t.match(await xattr('GET', '&name=user.colour'), {
      text: 'blue',
      headers: { 'content-type': 'application/octet-stream' },
    })
    t.match(await xattr('PUT', '&name=user.colour&flags=create', 'red'), { status: 409, text: /EEXIST/ })
    t.match(await xattr('PUT', '&name=user.colour&flags=both', 'red'), { status: 400 })
    t.match(await xattr('DELETE', '&name=user.colour'), { status: 204 })
    t.match(await xattr('GET', '&name=user.colour'), { status: 404, text: /ENODATA/ })
    t.match(await xattr('DELETE', '&name=user.colour'), { status: 404, text: /ENODATA/ })
    t.match(await xattr('PUT', '', 'x'), { status: 400 })
  })
  await t.test('setattr changes what it is given and nothing else', async (t) => {
    const before = entryIn(await get(gateway, `entry?path=${A}/n4`))
    const set = (document: object) => post(gateway, 'setattr', { path: `${A}/n4`, ...document })
    t.match(entryIn(await set({ mode: 0o600, mtime: '42' })), { mode: 0o600, mtime: '42', size: 4, id: before.id })
    t.match(entryIn(await set({ id: before.id, size: 2 })), { size: 2 })
    t.match(await set({ mtime: 42 }), { status: 400 })
    t.match(await set({ uid: 2 ** 32 - 1 }), { status: 400 })
    t.match(await set({ id: 'another', mode: 0 }), { status: 404, text: /ESTALE/ })
  })
  await t.test('unknown calls and methods are refused as JSON', async (t) => {
    t.match(await get(gateway, 'nonsense'), { status: 404, headers: { 'content-type': 'application/json' } })
    t.match(await gateway.call('/fs/v1/mkdir', { as: 'alice' }), refusal(405, 'MethodNotAllowed', 'EOPNOTSUPP'))
  })
})

await t.test('a listing that fails midway ends with a refusal line', async (t) => {
  const gateway = await startGateway(t, {
    backend: (memory) =>
      overlay(memory, {
        async *list(container, options) {
          yield* memory.list(container, options)
          throw new Error('the disk is on fire')
        },
      }),
  })
  await put(gateway, `${A}/x`, 'x')
  const { status, text } = await get(gateway, `list?path=${A}`)
  t.equal(status, 200)
  const lines = text.trimEnd().split('\n')
  t.match(JSON.parse(lines.pop() ?? ''), { fault: 'InternalFault', errno: 'EIO' })
  t.equal(lines.length, 1)
})
