/** Tokens of a real OpenID Connect provider, through every door of a real gateway. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fuseSkip } from '../parts.ts'
import { run } from '../service/running.ts'
import { AUDIENCE, providerKey, Site } from './oidc-site.ts'

t.setTimeout(300_000)

// here, and not between two tests: tap takes a file that has nothing to do for a moment to be at its end
const skip = await fuseSkip()
const [first, second] = [await providerKey('first'), await providerKey('second', 'ES256')]
const site = await Site.start()
site.oidc.rotate(first)
await site.serve()
t.teardown(() => site.stop())

/** All tokens that were ever shown, for the search of the log at the end. */
const shown: string[] = []
const tokenOf = async (name: string, resource?: string): Promise<string> => {
  const token = await site.token(name, resource)
  shown.push(token)
  return token
}

const XML = { 'content-type': 'text/xml' }
const node = (path: string): string => `<vos:node xmlns:vos="http://www.ivoa.net/xml/VOSpace/v2.0"
  xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" uri="vos://karst.local~karst${path}" xsi:type="vos:ContainerNode"/>`

await t.test("a provider's token is its subject, through the whole service", async (t) => {
  const alice = await tokenOf('alice')
  const me = await site.as(alice, '/fs/v1')
  t.match(JSON.parse(me.text), { user: 'alice' })
  t.equal(me.headers['x-vo-authenticated'], 'alice')
  t.equal(
    (await site.as(alice, '/nodes/home/alice/d', { method: 'PUT', headers: XML, body: node('/home/alice/d') })).status,
    201,
  )
  t.equal((await site.as(alice, '/files/home/alice/d/f', { method: 'PUT', body: 'bytes' })).status, 201)
  t.equal((await site.as(alice, '/files/home/alice/d/f')).text, 'bytes')
  t.equal((await site.ask('/files/home/alice/d/f', { certificate: await site.certificate('alice') })).text, 'bytes')
  t.equal((await site.as(await tokenOf('bob'), '/files/home/alice/d/f')).status, 403)
  t.equal((await site.ask('/files/home/alice/d/f')).status, 403)
})

await t.test("jobs are their user's, and hold no token", async (t) => {
  const alice = await tokenOf('alice')
  const transfer = `<vos:transfer xmlns:vos="http://www.ivoa.net/xml/VOSpace/v2.0" version="2.1">
    <vos:target>vos://karst.local~karst/home/alice/d</vos:target>
    <vos:direction>vos://karst.local~karst/home/alice/e</vos:direction><vos:keepBytes>true</vos:keepBytes></vos:transfer>`
  const made = await site.as(alice, '/transfers?PHASE=RUN', { method: 'POST', headers: XML, body: transfer })
  t.equal(made.status, 303)
  const job = String(made.headers.location)
  let text = ''
  for (let tries = 0; tries < 20 && !/COMPLETED|ERROR/.test(text); tries++)
    text = (await site.as(alice, `${job}?WAIT=5`)).text
  t.match(text, /COMPLETED/)
  t.equal((await site.as(alice, '/files/home/alice/e/f')).text, 'bytes')
  t.equal((await site.as(await tokenOf('bob'), job)).status, 403)
  const database = readFileSync(join(site.folder, 'state', 'karst.db')).toString('latin1')
  for (const token of shown) t.notOk(database.includes(token.slice(0, 60)))
})

await t.test('a pre-authorised URL negotiated with a token needs none', async (t) => {
  const alice = await tokenOf('alice')
  const ask = `<vos:transfer xmlns:vos="http://www.ivoa.net/xml/VOSpace/v2.0" version="2.1">
    <vos:target>vos://karst.local~karst/home/alice/pushed</vos:target><vos:direction>pushToVoSpace</vos:direction>
    <vos:protocol uri="ivo://ivoa.net/vospace/core#httpsput"/></vos:transfer>`
  const made = await site.as(alice, '/synctrans', { method: 'POST', headers: XML, body: ask })
  const details = await site.as(alice, String(made.headers.location))
  const url = /<vos:endpoint>([^<]*)/.exec(details.text)?.[1] ?? ''
  t.match(url, /preauth:/)
  const put = await site.ask(url, { method: 'PUT', body: 'pushed' })
  t.equal(put.status, 201)
  t.notOk(put.headers['x-vo-authenticated'])
  t.equal((await site.as(alice, '/files/home/alice/pushed')).text, 'pushed')
})

await t.test('is refused where it proves nobody here', async (t) => {
  const other = await site.as(await tokenOf('alice', 'https://else.example.org/'), '/fs/v1')
  t.equal(other.status, 401)
  t.match(
    String(other.headers['www-authenticate']),
    /error="invalid_token".*its aud is not https:\/\/karst\.example\.org\//,
  )
  const stranger = await site.as(await tokenOf('eve'), '/fs/v1')
  t.equal(stranger.status, 403)
  t.match(stranger.text, /eve/)
  const alice = await tokenOf('alice')
  const [header = '', , signature = ''] = alice.split('.')
  const claims = Buffer.from(JSON.stringify({ iss: site.oidc.url, aud: AUDIENCE, sub: 'alice', exp: 9_999_999_999 }))
  const forged = await site.as(`${header}.${claims.toString('base64url')}.${signature}`, '/fs/v1')
  t.equal(forged.status, 401)
  t.match(forged.text, /signature/)
})

await t.test('rotation', async (t) => {
  const old = await tokenOf('alice')
  t.equal((await site.as(old, '/fs/v1')).status, 200)
  await t.test('to a new key is followed when a token of it comes, within the pause between two looks', async (t) => {
    site.oidc.rotate(second, first)
    const fresh = await tokenOf('alice')
    let status = 0
    // ten seconds, and what a busy machine takes
    for (let tries = 0; tries < 120 && status !== 200; tries++) {
      status = (await site.as(fresh, '/fs/v1')).status
      if (status !== 200) await new Promise((resolve) => setTimeout(resolve, 1000))
    }
    t.equal(status, 200)
    t.equal((await site.as(old, '/fs/v1')).status, 200, 'the old key is still published')
  })
  await t.test('away from a key is followed at once on SIGHUP', async (t) => {
    site.oidc.rotate(second)
    await site.reload()
    t.equal((await site.as(old, '/fs/v1')).status, 401)
    t.equal((await site.as(await tokenOf('alice'), '/fs/v1')).status, 200)
  })
  await t.test('a provider that is gone keeps nobody out whose key is known', async (t) => {
    const token = await tokenOf('alice')
    site.oidc.rotate()
    await site.reload()
    t.equal((await site.as(token, '/fs/v1')).status, 200)
    site.oidc.rotate(second)
  })
})

await t.test('a mount by a token of a file reads and writes, and takes up a renewed one', { skip }, async (t) => {
  const file = join(site.folder, 'token')
  const dir = join(site.folder, 'mount')
  mkdirSync(dir)
  writeFileSync(file, await tokenOf('alice'), { mode: 0o600 })
  const env = { KARST_MOUNT_STATE: join(site.folder, 'mount-state'), X509_USER_PROXY: '' }
  const where = ['--url', site.url, '--ca', site.ca]
  const mounted = await run(
    'bin/karst',
    ['mount', 'vos://karst.local~karst/home/alice', dir, '--token-file', file, ...where],
    { env },
  )
  t.equal(mounted.code, 0, mounted.stderr)
  t.teardown(async () => run('bin/karst', ['umount', dir], { env }))
  // by another process, since the gateway is in this one
  t.equal((await run('cat', [join(dir, 'pushed')])).stdout, 'pushed')
  t.equal((await run('sh', ['-c', `echo written > '${dir}/by-mount'`])).code, 0)
  t.equal((await site.as(await tokenOf('alice'), '/files/home/alice/by-mount')).text, 'written\n')
  await t.test('is refused with a token that is no longer good, and goes on with the next', async (t) => {
    writeFileSync(file, await tokenOf('alice', 'https://else.example.org/'))
    let refused = { code: 0 as number | null, stderr: '' }
    for (let tries = 0; tries < 60 && refused.code === 0; tries++) {
      refused = await run('sh', ['-c', `echo x > '${dir}/refused-${tries}'`])
      if (refused.code === 0) await new Promise((resolve) => setTimeout(resolve, 500))
    }
    t.not(refused.code, 0)
    t.match(refused.stderr, /denied/i)
    writeFileSync(file, await tokenOf('alice'))
    t.equal((await run('sh', ['-c', `echo again > '${dir}/again'`])).code, 0)
  })
  await t.test('umount sends all and takes it away', async (t) => {
    t.equal((await run('bin/karst', ['umount', dir], { env })).code, 0)
    t.equal((await site.as(await tokenOf('alice'), '/files/home/alice/again')).text, 'again\n')
    const log = readFileSync(join(site.folder, 'mount-state', 'driver.log'), 'utf8')
    for (const token of shown) for (const part of token.split('.')) t.notOk(log.includes(part))
  })
})

await t.test('a command of the client takes a token of a file, and not both credentials', async (t) => {
  const file = join(site.folder, 'token')
  writeFileSync(file, await tokenOf('alice'))
  const words = [
    'trash',
    'list',
    'vos://karst.local~karst/home/alice',
    '--url',
    site.url,
    '--ca',
    site.ca,
    '--token-file',
    file,
  ]
  const listed = await run('bin/karst', words)
  t.equal(listed.code, 0, listed.stderr)
  const both = await run('bin/karst', [...words, '--certificate', await site.certificate('alice')])
  t.equal(both.code, 2)
  t.match(both.stderr, /one of them is enough/)
})

await t.test('the log has no token in it, nor a part of one', async (t) => {
  const log = readFileSync(site.log, 'utf8')
  t.match(log, /"status":200/)
  t.ok(shown.length > 10)
  for (const token of shown) for (const part of token.split('.')) t.notOk(log.includes(part))
  t.notOk(log.includes('-secret'))
})
