/** Jobs as documents that OpenCADC's job reader, which validates, takes. */
import t from 'tap'
import { readXml, type XmlElement } from '../../src/codec/xml-reader.ts'
import { writeJob, writeJobs, writeParameters, writeResults } from '../../src/codec/job-codec.ts'
import { readTransfer } from '../../src/codec/transfer-codec.ts'
import { type Job, PHASES } from '../../src/vospace/transfer.ts'
import { evilText, many, random, type Random, text, transfer } from './codec-random.ts'
import { validates } from './codec-validator.ts'

const CREATED = Date.UTC(2026, 2, 1, 10, 20, 30, 456)
const BASE = 'https://localhost:8443/karst/transfers'

const FAILED: Job = {
  id: 'k3x9',
  kind: 'transfers',
  owner: 'alice',
  phase: 'ERROR',
  created: CREATED,
  destruction: CREATED + 7 * 86_400_000,
  executionDuration: 43200,
  results: [{ id: 'transferDetails', href: `${BASE}/k3x9/results/transferDetails?a&b` }],
  error: 'PermissionDenied',
  transfer: {
    version: '2.1',
    targets: ['vos://karst.local~karst/home/bob/a'],
    direction: 'pullFromVoSpace',
    protocols: [],
  },
}

function job(random: Random): Job {
  const value = random.once(3) ? evilText : text
  return {
    id: `j${random.below(1000)}${value(random)}`,
    kind: 'transfers',
    ...(random.once(3) ? { parameters: { target: value(random), x: '' } } : {}),
    ...(random.once(3) ? { progress: { done: 3, ...(random.once(2) ? { total: 10 } : {}) } } : {}),
    owner: random.once(3) ? undefined : value(random),
    phase: random.pick(PHASES),
    created: CREATED,
    ...(random.once(2) ? { started: CREATED + 1 } : {}),
    ...(random.once(2) ? { ended: CREATED + 2000 } : {}),
    destruction: CREATED + 5,
    executionDuration: random.pick([0, 1, 43200.7, 2 ** 40, -1]),
    results: many(random, 2, (n) => ({ id: `r${n}`, href: `${BASE}/x/results/${n}?a=1&b="` })),
    ...(random.once(2) ? { error: value(random) } : {}),
    ...(random.once(2) ? { transfer: transfer(random) } : {}),
  }
}

const childNames = (element: XmlElement): string[] => element.children.map((child) => child.name)
const child = (element: XmlElement, name: string): XmlElement | undefined =>
  element.children.find((one) => one.name === name)

t.test('it writes the very job of wire.md 4.5', async (t) => {
  const xml = writeJob(FAILED)
  t.equal(
    xml,
    `<?xml version="1.0" encoding="UTF-8"?>
<uws:job xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0" xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" version="1.1">
  <uws:jobId>k3x9</uws:jobId>
  <uws:runId/>
  <uws:ownerId>alice</uws:ownerId>
  <uws:phase>ERROR</uws:phase>
  <uws:quote xsi:nil="true"/>
  <uws:creationTime>2026-03-01T10:20:30.456Z</uws:creationTime>
  <uws:startTime xsi:nil="true"/>
  <uws:endTime xsi:nil="true"/>
  <uws:executionDuration>43200</uws:executionDuration>
  <uws:destruction>2026-03-08T10:20:30.456Z</uws:destruction>
  <uws:parameters/>
  <uws:results>
    <uws:result id="transferDetails" xlink:href="${BASE}/k3x9/results/transferDetails?a&amp;b"/>
  </uws:results>
  <uws:errorSummary type="fatal" hasDetail="false"><uws:message>PermissionDenied</uws:message></uws:errorSummary>
  <uws:jobInfo>
    <vos:transfer xmlns:vos="http://www.ivoa.net/xml/VOSpace/v2.0" version="2.1">
      <vos:target>vos://karst.local~karst/home/bob/a</vos:target>
      <vos:direction>pullFromVoSpace</vos:direction>
    </vos:transfer>
  </uws:jobInfo>
</uws:job>
`,
  )
  await validates(t, 'job', [xml])
})

t.test('it writes valid jobs, lists, results and parameters whatever the values are', async (t) => {
  const jobs = Array.from({ length: 100 }, (_, seed) => job(random(seed)))
  await validates(t, 'job', [
    ...jobs.map(writeJob),
    ...jobs.slice(0, 20).map(writeResults),
    writeJobs(jobs, BASE),
    writeJobs([], BASE),
    writeParameters(FAILED),
    writeParameters({ ...FAILED, parameters: { target: 'a<b' } }),
  ])
})

t.test('it says nil for an anonymous owner and for times not known', async (t) => {
  const { owner: _, ...rest } = FAILED
  const root = readXml(Buffer.from(writeJob({ ...rest, owner: undefined, started: CREATED + 1 })))
  const nil = '{http://www.w3.org/2001/XMLSchema-instance}nil'
  t.equal(child(root, 'ownerId')?.attributes.get(nil), 'true')
  t.equal(child(root, 'endTime')?.attributes.get(nil), 'true')
  t.equal(child(root, 'startTime')?.text, '2026-03-01T10:20:30.457Z')
})

t.test('it leaves out errorSummary and jobInfo when there is nothing to say', async (t) => {
  const { error: _error, transfer: _transfer, ...rest } = FAILED
  t.equal(childNames(readXml(Buffer.from(writeJob(rest)))).at(-1), 'results')
})

t.test('it carries the transfer unchanged', async (t) => {
  for (let seed = 1; seed <= 50; seed++) {
    const asked = transfer(random(seed))
    const xml = /<vos:transfer[^]*<\/vos:transfer>/.exec(writeJob({ ...FAILED, transfer: asked }))?.[0] ?? ''
    t.strictSame(readTransfer(Buffer.from(xml)), asked, `seed ${seed}`)
  }
})

t.test('it links every job of a list', async (t) => {
  const root = readXml(Buffer.from(writeJobs([FAILED, { ...FAILED, id: 'a/b&c' }], BASE)))
  t.strictSame(
    root.children.map((ref) => ref.attributes.get('{http://www.w3.org/1999/xlink}href')),
    [`${BASE}/k3x9`, `${BASE}/a%2Fb%26c`],
  )
})
