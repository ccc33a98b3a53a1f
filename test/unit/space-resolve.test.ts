import t from 'tap'
import { find, resolve } from '../../src/space/resolve.ts'
import { alice, at, bob, file, folder, link, nobody, outcome, refusal, world } from './space-world.ts'

const follow = { leaf: 'target', way: 'follow' } as const
const itself = { leaf: 'itself', way: 'follow' } as const

t.test('it follows links on the way and answers where the node really stands', async (t) => {
  const { space, backend } = await world()
  await folder(backend, '/home/alice/data', { isPublic: true })
  await file(backend, '/home/alice/data/f', { isPublic: true })
  await link(backend, '/home/alice/relative', 'data')
  await link(backend, '/home/alice/uri', 'vos://karst.local!karst/home/alice/relative')
  const place = await resolve(space, nobody, at('/home/alice/uri/f'), follow)
  t.equal(place.path, '/home/alice/data/f')
  t.same(
    place.parents.map(({ path }) => path),
    ['/', '/home', '/home/alice', '/home/alice/data'],
  )
  t.equal(place.link, undefined)
  const missing = await resolve(space, nobody, at('/home/alice/uri/new'), follow)
  t.match(missing, { path: '/home/alice/data/new', node: undefined })
})

t.test('a link at the end is itself or its target, as asked', async (t) => {
  const { space, backend } = await world()
  await file(backend, '/home/alice/f', { isPublic: true })
  await link(backend, '/home/alice/a', 'b')
  await link(backend, '/home/alice/b', './../alice/f')
  t.equal((await find(space, nobody, at('/home/alice/a'), itself)).node.type, 'link')
  const place = await find(space, nobody, at('/home/alice/a'), follow)
  t.equal(place.node.path, '/home/alice/f')
  t.equal(place.link?.path, '/home/alice/a')
})

t.test('a cycle, a long chain and a broken link are UnreadableLinkTarget', async (t) => {
  const { space, backend } = await world()
  await link(backend, '/home/alice/self', 'self')
  await link(backend, '/home/alice/ping', 'pong')
  await link(backend, '/home/alice/pong', 'ping')
  await link(backend, '/home/alice/grow', 'grow/more')
  await link(backend, '/home/alice/broken', 'nothing')
  await link(backend, '/home/alice/deeper', 'nothing/at/all')
  for (let i = 0; i < 25; i++) await link(backend, `/home/alice/l${i}`, `l${i + 1}`)
  await file(backend, '/home/alice/l25', { isPublic: true })
  for (const name of ['self', 'ping', 'grow', 'broken', 'deeper', 'l0', 'broken/x', 'deeper/x', 'self/x']) {
    t.equal(
      await outcome(resolve(space, nobody, at(`/home/alice/${name}`), follow)),
      'UnreadableLinkTarget ELOOP',
      name,
    )
  }
  t.equal((await find(space, nobody, at('/home/alice/l5'), follow)).node.type, 'data', 'twenty links are not too many')
  t.equal(await outcome(resolve(space, nobody, at('/home/alice/l4'), follow)), 'UnreadableLinkTarget ELOOP')
})

t.test('a link that leaves the space is never followed', async (t) => {
  const { space, backend } = await world()
  const texts = [
    '/etc/passwd',
    '../../../etc/passwd',
    'file:///etc',
    'https://localhost/x',
    'vos://other.org~x/home/alice',
  ]
  for (const [i, text] of texts.entries()) {
    await link(backend, `/home/alice/${i}`, text)
    t.equal(await outcome(resolve(space, nobody, at(`/home/alice/${i}`), follow)), 'InvalidArgument EINVAL', text)
    t.equal(await outcome(resolve(space, nobody, at(`/home/alice/${i}/x`), follow)), 'UnreadableLinkTarget ELOOP')
    t.equal((await find(space, nobody, at(`/home/alice/${i}`), itself)).node.type, 'link')
  }
})

t.test('a link shows nobody more than they may see', async (t) => {
  const { space, backend } = await world()
  await folder(backend, '/home/alice/secret')
  await file(backend, '/home/alice/secret/f', { isPublic: true })
  await folder(backend, '/home/bob', { owner: 'bob', isPublic: true })
  await link(backend, '/home/bob/peek', '../alice/secret', { owner: 'bob' })
  await link(backend, '/home/bob/mine', '../alice', { owner: 'bob', isPublic: false })
  t.equal(await outcome(resolve(space, bob, at('/home/bob/peek/f'), follow)), 'PermissionDenied EACCES')
  t.equal((await find(space, alice, at('/home/bob/peek/f'), follow)).node.path, '/home/alice/secret/f')
  t.equal(
    await outcome(resolve(space, alice, at('/home/bob/mine/secret'), follow)),
    'PermissionDenied EACCES',
    'a private link is not followed',
  )
})

t.test(
  'a gap is ContainerNotFound on the way and no node at the end; under a private container both are refused alike',
  async (t) => {
    const { space, backend } = await world()
    await file(backend, '/home/alice/f', { isPublic: true })
    await folder(backend, '/home/alice/private')
    await file(backend, '/home/alice/private/f')
    t.equal((await resolve(space, nobody, at('/home/alice/none'), follow)).node, undefined)
    t.equal(await outcome(resolve(space, nobody, at('/home/alice/no/ne'), follow)), 'ContainerNotFound ENOENT')
    t.equal(await outcome(resolve(space, nobody, at('/home/alice/f/x'), follow)), 'ContainerNotFound ENOTDIR')
    t.equal(await outcome(find(space, nobody, at('/home/alice/no/ne'), follow)), 'NodeNotFound ENOENT')
    t.equal(await outcome(find(space, nobody, at('/home/alice/f/x'), follow)), 'NodeNotFound ENOTDIR')
    for (const name of ['f', 'none', 'f/x', 'no/ne']) {
      t.equal(
        await outcome(resolve(space, bob, at(`/home/alice/private/${name}`), follow)),
        'PermissionDenied EACCES',
        name,
      )
    }
    t.equal((await resolve(space, nobody, at('/'), follow)).node?.path, '/')
  },
)

t.test('where links on the way are refused it is LinkFound', async (t) => {
  const { space, backend } = await world()
  await link(backend, '/home/alice/l', '.')
  const refuse = { leaf: 'itself', way: 'refuse' } as const
  t.equal(await outcome(resolve(space, alice, at('/home/alice/l/x'), refuse)), 'LinkFound ELOOP')
  t.equal((await find(space, alice, at('/home/alice/l'), refuse)).node.type, 'link')
})

t.test('what stands in a private container is told to nobody else, not even whether it is there', async (t) => {
  const { space, backend } = await world()
  await folder(backend, '/home/alice/private')
  await folder(backend, '/home/alice/private/there')
  await file(backend, '/home/alice/private/f')
  await link(backend, '/home/alice/private/l', 'there')
  await link(backend, '/home/alice/in', 'private/there')
  const told = async (path: string): Promise<string> => (await refusal(resolve(space, bob, at(path), follow))).detail
  const sentence = await told('/home/alice/private/absent/x')
  t.match(sentence, '/home/alice/private')
  for (const path of ['private/there', 'private/there/x', 'private/f/x', 'private/l/x', 'private/absent', 'in', 'in/x'])
    t.equal(await told(`/home/alice/${path}`), sentence, path)
})
