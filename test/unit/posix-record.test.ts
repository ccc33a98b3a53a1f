import t from 'tap'
import { type NodeRecord, parseRecord, recordBytes } from '../../src/backend/posix/record.ts'

const ORDINARY = {
  self: `${(2n ** 32n - 1n).toString(36)}-${1764467000123456789n.toString(36)}`,
  size: 2 ** 40 + 1,
  mtime: '1764467000987654321',
  cv: 'Az_-09azAZ12-_xy',
  md5: '00112233445566778899aabbccddeeff',
} satisfies NodeRecord

/** Bytes that ext4 has for the value, where inodes have 256 and nothing else is kept in them. */
const ROOM = 60

t.test('the record of an ordinary file has room in its inode, and says the same', (t) => {
  const bytes = recordBytes(ORDINARY)
  t.ok(bytes.length <= ROOM, `${bytes.length} bytes`)
  // in the same order too: by that it is told whether anything has changed
  t.equal(JSON.stringify(parseRecord(bytes)), JSON.stringify(ORDINARY))
  const least = { self: '0-0', size: 0, mtime: '-1', cv: 'A'.repeat(16), md5: '0'.repeat(32) }
  t.same(parseRecord(recordBytes(least)), least)
  t.ok(recordBytes(least).length <= ROOM)
  t.end()
})

t.test('any other is JSON, and says the same', (t) => {
  const others: Record<string, NodeRecord> = {
    'one with more': { ...ORDINARY, locked: true },
    'one with less': { self: ORDINARY.self, id: ORDINARY.self },
    'a version of another form': { ...ORDINARY, cv: '1-2.3.4' },
    'a version of 16 characters that are no base64url': { ...ORDINARY, cv: '1-2.3.4567890123' },
    'a self of another form': { ...ORDINARY, self: '01-1' },
    'a self of more than 64 bits': { ...ORDINARY, self: `1-${(2n ** 63n).toString(36)}` },
    'a file of more than 2^48 bytes': { ...ORDINARY, size: 2 ** 48 },
    'a size below zero': { ...ORDINARY, size: -1 },
    'a time of more than 64 bits': { ...ORDINARY, mtime: String(2n ** 63n) },
  }
  for (const [what, record] of Object.entries(others)) {
    const bytes = recordBytes(record)
    t.equal(bytes.toString('utf8', 0, 1), '{', what)
    t.same(parseRecord(bytes), record, what)
  }
  t.end()
})

t.test('bytes of another length or beginning are no record', (t) => {
  const bytes = recordBytes(ORDINARY)
  for (const other of [
    bytes.subarray(1),
    bytes.subarray(0, -1),
    Buffer.concat([bytes, bytes]),
    Buffer.from([1]),
    Buffer.alloc(0),
  ])
    t.same(parseRecord(other), {})
  t.end()
})
