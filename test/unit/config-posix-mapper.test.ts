/** What the configuration may say of a POSIX mapper. */
import t from 'tap'
import { posixMapperConfig } from '../../src/config-posix-mapper.ts'
import { readConfig } from '../../src/config.ts'

const SITE = {
  service: { resourceId: 'ivo://karst.local/karst', url: 'https://karst.example.org:8443/karst' },
  tls: { certificate: 'server.pem', key: '/etc/server.key' },
  state: 'state',
  backends: { main: { type: 'posix', root: 'tree' } },
  namespace: [{ path: '/', backend: 'main' }],
}

t.test('the configuration names it by one URL or two', async (t) => {
  const file = (name: string): string => `/conf/${name}`
  t.same(posixMapperConfig({ url: 'https://m.example/posix/', ca: 'ca.pem', certificate: 'gateway.pem' }, file), {
    uid: 'https://m.example/posix/uid',
    gid: 'https://m.example/posix/gid',
    ca: '/conf/ca.pem',
    certificate: '/conf/gateway.pem',
    timeoutSeconds: 30,
    refreshSeconds: 3600,
    required: true,
  })
  const of = (posixMapper: object, accounts?: object): string => {
    try {
      readConfig({ ...SITE, posixMapper, ...(accounts && { accounts }) }, '/conf')
      return 'good'
    } catch (error) {
      return (error as Error).message
    }
  }
  const url = 'https://m.example/posix'
  t.equal(of({ url }), 'good')
  t.equal(of({ uid: `${url}/uidmap`, gid: `${url}/gidmap`, required: false }), 'good')
  for (const wrong of [
    {},
    { url, uid: url },
    { url, uid: url, gid: url },
    { uid: url },
    { url: 'http://m.example/posix' },
    { url: 'https://user:secret@m.example/' },
    { url, refreshSeconds: 0 },
    { url, colour: 'blue' },
  ])
    t.match(of(wrong), /posixMapper/, JSON.stringify(wrong))
  t.match(of({ url }, { autoprovision: ['x509'] }), /posixMapper.*autoprovision/)
  t.equal(of({ url }, { autoprovision: ['token'] }), 'good')
})
