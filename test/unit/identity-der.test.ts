// The strict reader: for each kind of value what it takes, and every other way of writing it that it does not.
import t from 'tap'
import { Certificate } from '../../src/identity/certificate.ts'
import { CertificateFault } from '../../src/identity/certificate-fault.ts'
import {
  readBitOctets,
  readBits,
  readBoolean,
  readCount,
  readDer,
  readInteger,
  readOid,
  readTime,
} from '../../src/identity/der.ts'
import {
  writeBitString,
  writeExtension,
  writeInteger,
  writeOid,
  writeSequence,
  writeTime,
  writeTlv,
} from '../../src/identity/der-writer.ts'
import { readName } from '../../src/identity/dn.ts'
import { OID } from '../../src/identity/oid.ts'
import { extension, resign } from '../fixtures/forge.ts'
import { alice, ca, keys, user } from '../fixtures/lab.ts'

const der = (hex: string) => readDer(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
const time = (tag: number, text: string) => readDer(writeTlv(tag, Buffer.from(text)))
const refused = (read: () => unknown): string => {
  try {
    return `accepted as ${String(read())}`
  } catch (error) {
    return error instanceof CertificateFault ? error.code : String(error)
  }
}

t.test('it reads object identifiers', async (t) => {
  for (const oid of [
    '0.0',
    '0.39',
    '1.39',
    '1.2.840.113549.1.1.11',
    '2.5.4.3',
    '2.39.1',
    '2.40',
    '2.999.3',
    '1.2.128.16384',
  ]) {
    t.equal(readOid(readDer(writeOid(oid))), oid)
  }
  t.equal(readOid(der('06 0a 69 83 80 80 80 80 80 80 80 01')), '2.25.216172782113783809', 'an arc beyond 2^53')
  for (const hex of ['06 00', '06 01 80', '06 02 2a 86', '06 03 2a 80 01', `06 41 ${'2a'.repeat(65)}`, '04 01 2a']) {
    t.equal(
      refused(() => readOid(der(hex))),
      'MALFORMED',
      hex,
    )
  }
})

t.test('it reads integers', async (t) => {
  t.equal(readInteger(der('02 02 00 80')).toString('hex'), '0080')
  t.equal(readInteger(der('02 02 ff 7f')).toString('hex'), 'ff7f')
  for (const count of [0, 1, 127, 128, 255, 256, 2 ** 31 - 1]) t.equal(readCount(readDer(writeInteger(count))), count)
  for (const hex of ['02 00', '02 02 00 7f', '02 02 ff 80', '02 02 00 00', '0a 01 01']) {
    t.equal(
      refused(() => readInteger(der(hex))),
      'MALFORMED',
      hex,
    )
  }
  for (const hex of ['02 01 ff', '02 05 00 80 00 00 00'])
    t.equal(
      refused(() => readCount(der(hex))),
      'MALFORMED',
      hex,
    )
})

t.test('it reads booleans and bit strings', async (t) => {
  t.equal(readBoolean(der('01 01 ff')), true)
  t.equal(readBoolean(der('01 01 00')), false)
  for (const hex of ['01 00', '01 01 01', '01 02 ff ff', '02 01 00']) {
    t.equal(
      refused(() => readBoolean(der(hex))),
      'MALFORMED',
      hex,
    )
  }
  t.same(readBits(der('03 02 07 80')), { octets: Buffer.from([0x80]), unused: 7 })
  t.same(readBits(der('03 01 00')), { octets: Buffer.alloc(0), unused: 0 })
  for (const hex of ['03 00', '03 02 08 00', '03 01 01', '03 02 07 c0', '03 02 01 01']) {
    t.equal(
      refused(() => readBits(der(hex))),
      'MALFORMED',
      hex,
    )
  }
  t.equal(
    refused(() => readBitOctets(der('03 02 04 80'))),
    'MALFORMED',
    'a signature of half octets',
  )
})

t.test('it reads times', async (t) => {
  const rows: [number, string, string][] = [
    [0x17, '491231235959Z', '2049-12-31T23:59:59.000Z'],
    [0x17, '500101000000Z', '1950-01-01T00:00:00.000Z'],
    [0x17, '240229000000Z', '2024-02-29T00:00:00.000Z'],
    [0x18, '20500101000000Z', '2050-01-01T00:00:00.000Z'],
    [0x18, '99991231235959Z', '9999-12-31T23:59:59.000Z'],
  ]
  for (const [tag, text, iso] of rows) t.equal(readTime(time(tag, text)).toISOString(), iso)
  for (const [, , iso] of rows)
    t.equal(readTime(readDer(writeTime(new Date(iso)))).getUTCMonth(), new Date(iso).getUTCMonth())
  const wrong: [number, string][] = [
    [0x17, '2601011200Z'],
    [0x17, '260230000000Z'],
    [0x17, '261301000000Z'],
    [0x17, '260100000000Z'],
    [0x17, '260101240000Z'],
    [0x17, '260101000060Z'],
    [0x17, '260101000000+0000'],
    [0x17, '20260101000000Z'],
    [0x18, '20260101000000.5Z'],
    [0x18, '99991332000000Z'],
    [0x13, '260101000000Z'],
  ]
  for (const [tag, text] of wrong)
    t.equal(
      refused(() => readTime(time(tag, text))),
      'MALFORMED',
      text,
    )
})

t.test('it reads lengths in the one form there is', async (t) => {
  for (const length of [0, 127, 128, 255, 256, 65_536]) {
    t.equal(readDer(writeTlv(4, Buffer.alloc(length))).value.length, length)
  }
  for (const hex of [
    '',
    '04',
    '04 80',
    '04 81',
    '04 81 7f',
    '04 82 00 ff',
    '04 85 00 00 00 00 01',
    '04 01',
    '04 00 00',
  ]) {
    t.equal(
      refused(() => der(hex)),
      'MALFORMED',
      hex,
    )
  }
})

t.test('it refuses names that are not names', async (t) => {
  const attribute = (...more: Buffer[]): Buffer =>
    writeSequence(writeOid(OID.commonName), writeTlv(0x13, Buffer.from('a')), ...more)
  const wrong = {
    'an empty RDN': writeSequence(writeTlv(0x31)),
    'a third field': writeSequence(writeTlv(0x31, attribute(writeInteger(1)))),
    'a sequence for the set': writeSequence(attribute()),
    'no value': writeSequence(writeTlv(0x31, writeSequence(writeOid(OID.commonName)))),
  }
  for (const [it, name] of Object.entries(wrong))
    t.equal(
      refused(() => readName(readDer(name))),
      'MALFORMED',
      it,
    )
})

t.test('it refuses certificates with fields that do not belong, though they are signed', async (t) => {
  const signed = (change: (fields: Buffer[]) => Buffer[]): Buffer => resign(alice.der, keys.ca.privateKey, change)
  const version =
    (...contents: Buffer[]) =>
    (fields: Buffer[]) => [writeTlv(0xa0, ...contents), ...fields.slice(1)]
  const wrong: Record<string, Buffer> = {
    'version 1 in so many octets': signed(version(writeInteger(0))),
    'version 4': signed(version(writeInteger(3))),
    'two versions': signed(version(writeInteger(2), writeInteger(2))),
    'a third time': signed((f) =>
      f.map((one, i) => (i === 4 ? writeSequence(readDer(one).value, writeTime(new Date())) : one)),
    ),
    'a field behind the extensions': signed((f) => [...f, writeInteger(1)]),
    'extensions twice': signed((f) => [...f, f.at(-1) ?? Buffer.alloc(0)]),
    'unique identifiers in the wrong order': signed((f) => [
      ...f.slice(0, 7),
      writeTlv(0x82, Buffer.from([0])),
      writeTlv(0x81, Buffer.from([0])),
    ]),
    'a field behind the signature': writeSequence(readDer(alice.der).value, writeInteger(1)),
    'no subject': signed((f) => f.slice(0, 5)),
  }
  t.equal(new Certificate(signed((f) => f)).name, '/C=CA/O=Lab/OU=People/CN=Alice', 'signing again is no harm')
  for (const [it, bytes] of Object.entries(wrong))
    t.equal(
      refused(() => new Certificate(bytes).name),
      'MALFORMED',
      it,
    )
})

t.test('it refuses extensions with fields that do not belong', async (t) => {
  const of = (bytes: Buffer): Certificate => new Certificate(user({ extensions: [bytes] }).der)
  const more = (oid: string, ...contents: Buffer[]): Certificate =>
    of(writeExtension(oid, true, writeSequence(...contents)))
  const language = writeSequence(writeOid(OID.inheritAll))
  const wrong: Record<string, () => unknown> = {
    'basicConstraints with a third field': () => more(OID.basicConstraints, writeInteger(1), writeInteger(1)).isCa,
    'basicConstraints of two booleans': () => more(OID.basicConstraints, der('0101ff').raw, der('0101ff').raw).isCa,
    'proxyCertInfo without a policy': () => more(OID.proxyInfo, writeInteger(1)).proxyInfo,
    'proxyCertInfo with a third field': () => more(OID.proxyInfo, writeInteger(1), language, language).proxyInfo,
    'proxyCertInfo with two policies': () =>
      more(OID.proxyInfo, writeSequence(writeOid(OID.limited), writeTlv(4), writeTlv(4))).proxyInfo,
    'proxyCertInfo with a policy that is no octets': () =>
      more(OID.proxyInfo, writeSequence(writeOid(OID.limited), writeInteger(1))).proxyInfo,
    'keyUsage that is no bit string': () => more(OID.keyUsage).keyUsage,
    'keyUsage with trailing bytes': () =>
      of(writeExtension(OID.keyUsage, true, Buffer.concat([writeBitString(Buffer.from([0x80])), Buffer.from([5, 0])])))
        .keyUsage,
    'a fourth field in an extension': () => of(writeSequence(readDer(extension.notCa).value, writeInteger(1))),
  }
  for (const [it, read] of Object.entries(wrong)) t.equal(refused(read), 'MALFORMED', it)
})

t.test('it takes the serial and the names of the certificate as they are', async (t) => {
  const certificate = new Certificate(alice.der)
  t.equal(certificate.subjectDer.toString('hex'), alice.name.toString('hex'))
  t.equal(certificate.issuerKey, new Certificate(ca.der).subjectKey)
  t.match(certificate.serial, /^([0-9a-f]{2})+$/)
})
