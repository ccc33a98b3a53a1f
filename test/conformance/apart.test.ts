/** A storage in a process of its own keeps the contract of the one it has: here both ends are in one process, and all that goes between them is copied. */
import { deserialize, serialize } from 'node:v8'
import t from 'tap'
import { BackendApart, type Line } from '../../src/backend/apart/apart.ts'
import { Peer, type Message } from '../../src/backend/apart/peer.ts'
import { serveBackend } from '../../src/backend/apart/served.ts'
import { type Backend, type Capabilities, type Choose } from '../../src/backend/backend.ts'
import { backendConformance } from './backend.ts'
import { compareWithModel, SEED } from './model.ts'
import { directory, harness, isRoot, posix } from './posix-tree.ts'

/** Messages as they come out of a channel, each a turn later. */
function linked(backend: Backend): Line {
  const choosers = new Map<number, Choose>()
  const copied = (message: Message): Message => deserialize(serialize(message)) as Message
  const here: Peer = new Peer(
    (message) => {
      const sent = copied(message)
      setImmediate(() => there.receive(sent))
    },
    () => Promise.reject(new Error('nothing is served here')),
  )
  const there = new Peer(
    (message) => {
      const sent = copied(message)
      setImmediate(() => here.receive(sent))
    },
    serveBackend(backend, (call, page) => choosers.get(call)?.(page) ?? []),
  )
  const call: Line['call'] = (method, args, choose) =>
    here.call(method, args, (id) => void (choose !== undefined && choosers.set(id, choose)))
  return {
    call,
    start: async () => (await call('start', [])) as { capabilities: Capabilities },
    stop: async () => void (await call('stop', [])),
  }
}

const mode = isRoot ? 'root' : 'unprivileged'
const make = harness(undefined, { mode })
const apart = (backend: Backend): BackendApart => new BackendApart(linked(backend), backend)

backendConformance(
  'a POSIX tree in a process of its own',
  async () => {
    const { backend, ...more } = await make()
    return { ...more, backend: apart(backend) }
  },
  { atomicMove: true, linkProperties: true, hardLinks: true, quota: true, directUrl: false },
)

void t.test(`random operations, seed ${SEED}`, async (t) => {
  const { dir, dispose } = directory()
  await compareWithModel(t, apart(posix(dir, { mode })))
  dispose()
})
