/** Seeded random values for documents: the same seed, the same documents. */
import { NODE_CLASSES, type NodeDocument, type Property } from '../../src/vospace/document.ts'
import { type Param, type Protocol, type Transfer } from '../../src/vospace/transfer.ts'

export interface Random {
  /** An integer from 0 up to, but not, `below`. */
  below(below: number): number
  pick<T>(values: readonly [T, ...T[]]): T
  /** True once in `n`. */
  once(n: number): boolean
}

/** mulberry32 */
export function random(seed: number): Random {
  let state = seed
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let z = Math.imul(state ^ (state >>> 15), 1 | state)
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z
    return ((z ^ (z >>> 14)) >>> 0) / 4294967296
  }
  const below = (n: number): number => Math.floor(next() * n)
  return { below, pick: (values) => values[below(values.length)] ?? values[0], once: (n) => below(n) === 0 }
}

export function many<T>(random: Random, most: number, make: (n: number) => T): T[] {
  return Array.from({ length: random.below(most + 1) }, (_, n) => make(n))
}

/** Text that XML can say, with all it has to be careful about. */
export function text(random: Random): string {
  return many(random, 12, () =>
    random.pick(['a', ' ', '&', '<', '>', ']]>', '"', "'", '\r\n', '\n', '\t', '\r', '&amp;', 'é', '√', '🜁', '\x85', '\u2028', '<!--', '%']),
  ).join('') /* prettier-ignore */
}

/** Text with what XML cannot say. */
export function evilText(random: Random): string {
  return many(random, 12, () =>
    random.pick(['\0', '\x1b', '\x0b', '\ud800', '\udfff', '\uffff', '\ufffe', 'x', '🜁', ']]>']),
  ).join('')
}

export function nodeDocument(random: Random, valueOf: (random: Random) => string = text): NodeDocument {
  const nodeClass = random.pick(NODE_CLASSES)
  const hasViews = nodeClass !== 'Node' && nodeClass !== 'LinkNode'
  const views = (): string[] => many(random, 2, (n) => `ivo://ivoa.net/vospace/core#view${n}&<>`)
  const properties = many(random, 6, (n): Property => {
    const uri = `${random.pick(['ivo://ivoa.net/vospace/core#', 'urn:x:', 'word', 'custom:?a=1&b='])}${n}`
    const value = random.once(5) ? null : valueOf(random)
    return random.once(3) ? { uri, value, readOnly: true } : { uri, value }
  })
  return {
    uri: `vos://karst.local~karst/home/alice/${random.below(1000)}'%22&amp;`,
    class: nodeClass,
    properties: properties.sort((a, b) => (a.uri < b.uri ? -1 : 1)),
    ...(hasViews ? { accepts: views(), provides: views() } : {}),
    ...(hasViews && (nodeClass !== 'ContainerNode' || random.once(2)) ? { busy: random.once(2) } : {}),
    ...(nodeClass === 'LinkNode' ? { target: `vos://karst.local~karst/home/${random.below(9)}?a&b` } : {}),
  }
}

export function transfer(random: Random): Transfer {
  const version = random.pick<'2.0' | '2.1'>(['2.0', '2.1'])
  const params = (): { params?: Param[] } => {
    const list = many(random, 2, (n) => ({ uri: `ivo://ivoa.net/vospace/core#p${n}`, value: text(random) }))
    return list.length === 0 ? {} : { params: list }
  }
  const protocol = (n: number): Protocol => ({
    uri: `ivo://ivoa.net/vospace/core#https${n}`,
    ...(random.once(2) ? { endpoint: `https://localhost:8443/karst/files/preauth:${n}/a?b&c` } : {}),
    ...params(),
    securityMethods: version === '2.1' ? many(random, 2, (m) => `ivo://ivoa.net/sso#m${m}`) : [],
  })
  return {
    version,
    targets: ['vos://karst.local~karst/a', ...many(random, 2, (n) => `vos://karst.local~karst/b${n}`)],
    direction: random.pick(['pushToVoSpace', 'PULLFROMVOSPACE', 'vos://karst.local~karst/to']),
    ...(random.once(2) ? { view: { uri: 'ivo://ivoa.net/vospace/core#defaultview', ...params() } } : {}),
    protocols: many(random, 3, protocol),
    ...(random.once(2) ? { keepBytes: random.once(2) } : {}),
    ...(version === '2.1' ? params() : {}),
  }
}
