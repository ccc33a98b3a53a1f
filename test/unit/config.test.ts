/** The configuration: all mistakes at once, defaults, file names relative to the file, frozen. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { loadConfig, readConfig, standApart, type ConfigDocument } from '../../src/config.ts'
import { ConfigError, quickstartEnvironment, version } from '../../src/environment.ts'

const good = (): ConfigDocument => ({
  service: { resourceId: 'ivo://karst.local/karst', url: 'https://karst.example.org:8443/karst' },
  tls: { certificate: 'server.pem', key: '/etc/server.key' },
  state: 'state',
  backends: { main: { type: 'posix', root: 'tree' } },
  namespace: [{ path: '/', backend: 'main' }],
  users: [{ name: 'alice', x509: ['/C=CA/CN=alice'] }],
})

const mistakes = (document: unknown): string[] => {
  try {
    readConfig(document, '/conf')
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.message.split('\n')
  }
}

t.test('defaults are filled in and files are relative to the configuration', async (t) => {
  const config = readConfig(good(), '/conf')
  t.same(config.tls, { certificate: '/conf/server.pem', key: '/etc/server.key' })
  t.same(config.listen, { host: '127.0.0.1', port: 8443, http2: true })
  t.equal(config.state, '/conf/state')
  const quotas = { keptBy: 'auto', projects: { first: 1_000_000, last: 1_999_999 } }
  t.same(config.backends['main'], { type: 'posix', root: '/conf/tree', mode: 'auto', quotas })
  t.same([config.strict, config.preauthorizedSeconds, config.trust, config.allocations], [false, 3600, [], []])
  t.throws(() => {
    Object.assign(config.listen, { port: 1 })
  }, TypeError)
})

t.test('a bucket is what it is said to be, with safe defaults', async (t) => {
  const bucket = { type: 's3', endpoint: 'http://127.0.0.1:7480', bucket: 'data', credentials: 's3.json' } as const
  const s3 = (more: object) => ({ ...good(), backends: { main: { ...bucket, ...more } } })
  t.match(readConfig(s3({}), '/conf').backends['main'], {
    credentials: '/conf/s3.json',
    prefix: 'karst/',
    checksums: 'when-required',
    etag: 'md5',
    partBytes: 8 * 2 ** 20,
  })
  t.match(readConfig(s3({ ca: 'ca.pem' }), '/conf').backends['main'], {
    ca: '/conf/ca.pem',
  })
  for (const wrong of [
    { prefix: '/x' },
    { prefix: 'x' },
    { partBytes: 5 * 2 ** 20 - 1 },
    { endpoint: 'http://h/p' },
    { root: '/x' },
  ]) {
    t.equal(mistakes(s3(wrong)).length, 1, JSON.stringify(wrong))
  }
})

t.test('every mistake is told, each with its place', async (t) => {
  const document = {
    ...good(),
    service: { resourceId: 'ivo://Karst/x', url: 'http://x' },
    backends: { main: { type: 'tape', root: '' }, second: { type: 'posix', root: '' } },
    colour: 'blue',
    listen: { port: 0 },
  }
  const told = mistakes(document)
  for (const part of [
    'resourceId',
    'service.url',
    'backends.main.type',
    'backends.second.root',
    'colour',
    'listen.port',
  ]) {
    t.ok(
      told.some((line) => line.includes(part)),
      `${part} is told in:\n${told.join('\n')}`,
    )
  }
})

t.test('what a schema cannot say is told too', async (t) => {
  const document = {
    ...good(),
    backends: { main: { type: 'posix', root: 'tree', quotas: { projects: { first: 9, last: 8 } } } },
    namespace: [{ path: '/', backend: 'gone' }],
    groups: [{ uri: 'ivo://a/gms?b', owner: 'mallory', members: ['alice', 'bob'] }],
    administrators: ['carol'],
    mounts: { trusted: ['carol', 'alice'] },
    allocations: ['/home/..'],
  }
  t.same(mistakes(document).length, 7, mistakes(document).join('\n'))
})

t.test('a missing document, a wrong type and a broken file are refused', async (t) => {
  for (const document of [null, [], 'x', {}]) t.ok(mistakes(document).length > 0)
  const folder = mkdtempSync(join(tmpdir(), 'karst-config-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  t.throws(() => loadConfig(join(folder, 'none.json')), ConfigError)
  writeFileSync(join(folder, 'broken.json'), '{')
  t.throws(() => loadConfig(join(folder, 'broken.json')), { name: 'ConfigError', message: /broken\.json: .*JSON/ })
  writeFileSync(join(folder, 'good.json'), JSON.stringify(good()))
  t.equal(loadConfig(join(folder, 'good.json')).state, join(folder, 'state'))
})

t.test(
  'groups are kept by the site, by its aliases, or by services that are listed, and by one of them each',
  async (t) => {
    const cadc = 'ivo://cadc.nrc.ca/gms'
    const url = 'https://ws.example.org/ac/capabilities'
    const config = readConfig({ ...good(), groupServices: [{ authority: cadc, url, ca: 'ca.pem' }] }, '/conf')
    t.same(config.gms, { resourceId: 'ivo://karst.local/gms', aliases: [] })
    const defaults = { timeout: 3, ttl: 300, staleIfError: 0 }
    t.same(config.groupServices, [{ authority: cadc, url, ca: '/conf/ca.pem', ...defaults }])
    const gms = (one: object, ...services: object[]): string[] =>
      mistakes({ ...good(), gms: one, groupServices: services })
    t.same(gms({ resourceId: 'ivo://karst.local/groups', aliases: [cadc] }, { authority: 'ivo://a/gms', url }), [])
    t.match(gms({ aliases: [cadc] }, { authority: cadc, url }), [/cadc.nrc.ca\/gms is there twice/])
    t.match(gms({}, { authority: 'ivo://karst.local/gms', url }), [/twice/])
    t.match(gms({ resourceId: 'ivo://karst.local/karst' }), [/twice/])
    for (const wrong of [
      { authority: 'ivo://CADC/gms', url },
      { authority: `${cadc}?x`, url },
      { authority: cadc, url: 'http://ws.example.org/ac/search' },
      { authority: cadc, url: 'https://user@ws.example.org/search' },
      { authority: cadc, url: 'https://ws.example.org/search?x' },
      { authority: cadc, url, ttl: 301 },
      { authority: cadc, url, timeout: 0 },
      { authority: cadc },
    ])
      t.not(gms({}, wrong).length, 0, JSON.stringify(wrong))
  },
)

t.test('a place of trust is a name, or says what is asked of it', async (t) => {
  const trust = (...listed: unknown[]): unknown => readConfig({ ...good(), trust: listed }, '/conf').trust
  const site = { kind: 'site', signingPolicy: 'if-present', crl: 'if-present', pollSeconds: 60 }
  t.same(trust('ca.pem', { path: '/etc/ca' }), [
    { path: '/conf/ca.pem', ...site },
    { path: '/etc/ca', ...site },
  ])
  t.same(trust({ path: 'grid', kind: 'grid' }), [
    { ...site, path: '/conf/grid', kind: 'grid', signingPolicy: 'require' },
  ])
  t.same(trust({ path: 'grid', kind: 'grid', signingPolicy: 'off', crl: 'require', pollSeconds: 0 }), [
    { path: '/conf/grid', kind: 'grid', signingPolicy: 'off', crl: 'require', pollSeconds: 0 },
  ])
  for (const wrong of ['', {}, { path: '' }, { path: 'x', crl: 'yes' }, { path: 'x', kind: 'web' }, 7, null]) {
    t.not(mistakes({ ...good(), trust: [wrong] }).length, 0, JSON.stringify(wrong))
  }
})

t.test('fronts are addresses and networks', async (t) => {
  const with_ = (forwardedCertificates: unknown) => ({ ...good(), forwardedCertificates })
  t.equal(readConfig(good(), '/conf').forwardedCertificates, undefined)
  t.same(readConfig(with_({ from: ['10.0.0.0/8', '::1', 'fd00::/8'] }), '/conf').forwardedCertificates, {
    from: ['10.0.0.0/8', '::1', 'fd00::/8'],
    header: 'Client-Cert',
  })
  for (const wrong of ['front.example.org', '10.0.0.0/33', '10.0.0.0/', '::/129', '10.0.0.0/8/8', '*', '10.0.0']) {
    t.match(mistakes(with_({ from: [wrong] })), [/forwardedCertificates\.from/], wrong)
  }
  t.not(mistakes(with_({ from: [] })).length, 0)
  t.not(mistakes(with_({ from: ['::1'], header: 'a b' })).length, 0)
})

t.test('HTTP/2 and balancers that speak the PROXY protocol', async (t) => {
  const with_ = (listen: unknown) => ({ ...good(), listen })
  t.same(readConfig(with_({ http2: false }), '/conf').listen, { host: '127.0.0.1', port: 8443, http2: false })
  const proxyProtocol = { from: ['10.0.0.0/8', 'fd00::1'] }
  t.same(readConfig(with_({ proxyProtocol }), '/conf').listen.proxyProtocol, proxyProtocol)
  for (const wrong of ['', 'example.org', '10.0.0.0/33', '10.0.0', 'fd00::/129'])
    t.match(mistakes(with_({ proxyProtocol: { from: [wrong] } })), [/listen\.proxyProtocol\.from/], wrong)
  t.match(mistakes(with_({ proxyProtocol: { from: [] } })), [/listen\.proxyProtocol\.from/])
  t.match(mistakes(with_({ http2: 'yes' })), [/listen\.http2/])
})

t.test('partitions live where accounts have their homes, and in places of their own', async (t) => {
  const of = (more: object) => readConfig({ ...good(), ...more }, '/conf').partitions
  t.match(of({}), { user: ['/home'], project: ['/projects'], scratch: ['/scratch'], credentialSeconds: 3600 })
  t.match(of({ accounts: { home: { path: '/users', quota: 7 } } }), { user: ['/users'], homeQuota: 7 })
  t.match(of({ partitions: { dataset: { paths: ['/a', '/b'] }, scratch: { hours: 1 } } }), {
    dataset: ['/a', '/b'],
    scratchHours: 1,
  })
  t.equal(of({ partitions: false }), undefined)
  const wrong = (partitions: unknown) => mistakes({ ...good(), partitions })
  t.match(wrong({ user: { paths: ['/a'] }, scratch: { paths: ['/a'] } }), [/partitions\.scratch: \/a is there twice/])
  t.match(wrong({ project: { paths: ['a/../b'] } }), [/partitions\.project: /])
  for (const one of [true, { user: { paths: [] } }, { home: {} }, { credentialSeconds: 1 }])
    t.not(wrong(one).length, 0, JSON.stringify(one))
})

t.test('the quickstart’s environment', async (t) => {
  for (const env of [{}, { KARST_PORT: '', KARST_STATE: '' }]) {
    t.match(quickstartEnvironment(env), { port: 8443, state: /\/\.karst$/ })
  }
  t.match(quickstartEnvironment({ KARST_PORT: '0', KARST_STATE: '/x' }), { port: 0, state: '/x' })
  for (const KARST_PORT of ['x', '-1', '70000']) t.throws(() => quickstartEnvironment({ KARST_PORT }), ConfigError)
})

t.test('the version is that of the package', async (t) => {
  t.match(version(), /^\d+\.\d+\.\d+$/)
})

t.test('folders stand apart when neither holds the other', async (t) => {
  for (const [a, b] of [
    ['/a', '/b'],
    ['/a', '/ab'],
    ['/a/b', '/a/c'],
    ['/a', '/..a'],
  ] as const)
    t.ok(standApart(a, b), `${a} ${b}`)
  for (const [a, b] of [
    ['/a', '/a'],
    ['/a', '/'],
    ['/a/b', '/a'],
    ['/', '/'],
    ['/a', '/a/..b'],
  ] as const) {
    t.notOk(standApart(a, b), `${a} ${b}`)
    t.notOk(standApart(b, a))
  }
})

t.test('the configuration that the guide for sites begins with is one', (t) => {
  const [, example = ''] = /```json\n([^`]*)```/.exec(readFileSync('schemas/site.md', 'utf8')) ?? []
  t.same(mistakes(JSON.parse(example)), [])
  t.end()
})
