/** A long listing goes out as fast as its client reads: what is not taken is not made, and what nobody waits for any more is let go. */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { type Entry } from '../../src/vospace/node.ts'
import { child, nodePath } from '../../src/vospace/path.ts'
import { overlay, startGateway } from './gateway.ts'

const MANY = 300_000

t.test('it waits for a client that does not read, goes on with them, and ends with them', async (t) => {
  const made = { count: 0, ended: false }
  const gateway = await startGateway(t, {
    backend: (memory) =>
      overlay(memory, {
        async *list(): AsyncGenerator<Entry> {
          const [, , file] = await memory.walk(nodePath('/pub/f'))
          if (file === undefined) throw new Error('there is no file')
          try {
            for (; made.count < MANY; made.count++) {
              yield { ...file, path: child(nodePath('/pub'), `n${made.count}`) }
            }
          } finally {
            made.ended = true
          }
        },
      }),
  })
  await gateway.call('/files/pub/f', { method: 'PUT', as: 'alice', body: 'abc' })
  const socket = await gateway.raw('alice')
  socket.write('GET /karst/nodes/pub HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await once(socket, 'data')
  socket.pause()
  const settled = async (): Promise<number> => {
    for (let before = -1; ; await sleep(500)) {
      if (made.count === before) return before
      before = made.count
    }
  }
  const held = await settled()
  t.ok(held < MANY / 2, `${held} of ${MANY} were made`)
  let bytes = 0
  socket.on('data', (part: Buffer) => (bytes += part.length))
  for (socket.resume(); bytes < 40e6;) await once(socket, 'data')
  socket.pause()
  const later = await settled()
  t.ok(later > held && later < MANY, `${later} of ${MANY} were made`)
  t.notOk(made.ended)
  socket.destroy()
  for (let i = 0; i < 600 && !made.ended; i++) await sleep(100)
  t.ok(made.ended)
  t.ok(made.count < MANY)
})
