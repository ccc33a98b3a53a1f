// The record of a mount by itself: whatever a kill cuts off, what was whole before it counts, and the last answer with it.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { frame, readFrames, type Line } from '../../mount/record-lines.ts'
import { DescriptorStore, closeDevice, storeEnds } from '../../mount/fuse/descriptor-store.ts'
import { Latency } from '../../mount/fuse/latency.ts'
import { operationId, randomId, withinRequest } from '../../mount/operation-id.ts'

function folderOf(t: Test): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'karst-record-'))
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }))
  return folder
}

const handle = (fh: number): Line => ['h', { fh, nodeid: 1, readable: true, writable: false, append: false }]
const content: Line = [
  'c',
  1,
  {
    ...{ version: 'v', size: 10, length: 10, visible: 10, written: [], dirty: [], appended: true, touched: false },
    ...{ writtenAt: '5', unanswered: [{ length: 3, mtime: '7', visible: 2 }], unlinked: false },
  },
]

void t.test('a record that was cut off anywhere is what was whole before', async (t) => {
  const file = path.join(folderOf(t), 'record')
  const frames = [
    frame([['l', 9, 3, 0], handle(1), content], 0, [], 0),
    frame([handle(2), ['w', 1, 20, 30, '8', false, 4]], 77, [Buffer.from('header and more'), Buffer.from('body')], 19),
    frame(
      [
        ['H', 1],
        ['w', 1, 30, 35, '9', false, 4],
      ],
      78,
      [Buffer.from('answer longer than said')],
      6,
    ),
  ].map((pieces) => Buffer.concat(pieces))
  const whole = Buffer.concat(frames)
  const ends = frames.map((_, i) => Buffer.concat(frames.slice(0, i + 1)).length)
  for (let length = 0; length <= whole.length; length++) {
    fs.writeFileSync(file, whole.subarray(0, length))
    const read = readFrames(file)
    const count = ends.filter((end) => end <= length).length
    const handles = read?.handles.map(({ fh }) => fh)
    if (!t.same(handles, [undefined, [1], [1, 2], [2]][count], `${length} bytes`)) return
    t.same([...(read?.decided.keys() ?? [])], [[], [], [77], [78]][count])
  }
  const read = readFrames(file)
  t.equal(read?.decided.get(78)?.toString(), 'answer')
  t.same(read?.last, [9, 3, 0])
  t.match(read?.contents.get(1), {
    ...{ length: 35, dirty: [{ start: 20, end: 35 }], written: [{ start: 20, end: 35 }], touched: true, spool: 4 },
    ...{ writtenAt: 9n, appended: false, unanswered: [{ length: 3, mtime: 7n, visible: 2 }] },
  })
  fs.appendFileSync(file, Buffer.alloc(4000))
  t.same(readFrames(file)?.handles.length, 1, 'zeros that a file system left are no frame')
  t.equal(readFrames(`${file}.none`), undefined)
})

void t.test('devices in the store outlive who put them there, once each', async (t) => {
  const folder = folderOf(t)
  const ends = storeEnds()
  const first = new DescriptorStore(ends)
  const names = Array.from({ length: 40 }, (_, i) => `mount-${i}`)
  for (const name of names) {
    fs.writeFileSync(path.join(folder, name), name)
    const fd = fs.openSync(path.join(folder, name), 'r')
    first.keep(name, fd)
    fs.closeSync(fd)
  }
  const open = () => fs.readdirSync('/proc/self/fd').length
  const before = open()
  for (let round = 0; round < 3; round++) {
    const found = new DescriptorStore(ends).recover()
    t.same([...found.keys()], names)
    for (const [name, fd] of found) {
      t.equal(fs.readFileSync(`/proc/self/fd/${fd}`, 'utf8'), name)
      closeDevice(fd)
    }
  }
  first.drop('mount-7')
  t.notOk(new DescriptorStore(ends).recover().has('mount-7'))
  t.ok(open() >= before, "those that were recovered are the caller's")
  for (const end of ends) closeDevice(end)
})

void t.test('a change asked again for the same request has the same name, any other another', async (t) => {
  const ask = (mount: string, unique: number) =>
    withinRequest(mount, unique, () => [operationId('POST a'), operationId('POST a'), operationId('POST b')])
  const first = ask('m', 5)
  t.same(ask('m', 5), first)
  t.equal(new Set([...first, ...ask('m', 6), ...ask('n', 5), operationId('POST a'), operationId('POST a')]).size, 11)
  for (const id of [...first, randomId()]) t.match(id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
})

void t.test('the names of changes grow with the requests of a mount, and with time', async (t) => {
  const named = [5, 7, 300, 2 ** 33].map((unique) => withinRequest('m', unique, () => operationId('POST a')))
  t.same(named.toSorted(), named)
  const before = randomId()
  await sleep(2)
  t.ok(before < randomId())
})

void t.test('latencies are told to a fifth', async (t) => {
  const latency = new Latency()
  t.same(latency.summary, { count: 0, p50: 0, p95: 0, p99: 0, longest: 0 })
  for (let i = 1; i <= 1000; i++) latency.add(i)
  const { p50, p95, p99, longest, count } = latency.summary
  for (const [got, wanted] of [
    [p50, 500],
    [p95, 950],
    [p99, 990],
  ] as const)
    t.ok(got >= wanted && got <= wanted * 1.2)
  t.same([longest, count], [1000, 1000])
})
