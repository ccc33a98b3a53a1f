/** `karst serve`: the gateway of a site, with its configuration, signals and health. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { connect } from 'node:tls'
import t from 'tap'
import { issueServerCertificate } from '../../src/identity/mint.ts'
import { readCredential, writeCredential } from '../../src/identity/pem.ts'
import { Quickstart, request, run, type Answer, type Ended } from './running.ts'

const made = new Quickstart(['--no-mount'])
t.before(async () => {
  // the quickstart writes a configuration that a site could have: serve it
  await made.start()
  await made.stop()
})
t.teardown(() => made.dispose())

const configFile = (): string => join(made.state, 'config.json')
interface Written {
  service: { url: string }
  tls: { certificate: string }
}
const written = (): Written => JSON.parse(readFileSync(configFile(), 'utf8')) as Written
const host = (): string => new URL(written().service.url).origin

async function serving<T>(
  work: (pid: number, output: () => string) => Promise<T>,
): Promise<{ result: T; code: number | null }> {
  const child = spawn('bin/karst', ['serve', '--config', configFile()], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (output += String(part)))
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  try {
    for (let waited = 0; !output.includes('karst serves') && waited < 30_000; waited += 50) {
      if (child.exitCode !== null) throw new Error(output)
      await new Promise((done) => setTimeout(done, 50))
    }
    return { result: await work(child.pid ?? 0, () => output), code: await stopped() }
  } finally {
    await stopped()
  }

  async function stopped(): Promise<number | null> {
    child.kill('SIGTERM')
    return await ended
  }
}

const get = (path: string): Promise<Answer> => request(host() + path, join(made.state, 'ca.pem'))

const served = (): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ port: Number(new URL(host()).port), host: '127.0.0.1', rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().serialNumber)
      socket.destroy()
    })
    socket.once('error', reject)
  })

t.test('it is alive, ready, and ends with 0 on SIGTERM', async (t) => {
  const { code } = await serving(async () => {
    t.equal((await get('/livez')).status, 200)
    t.equal((await get('/readyz')).status, 200)
    t.match((await get('/karst/availability')).body.toString(), /<vosi:available>true</)
  })
  t.equal(code, 0)
})

t.test('SIGHUP reads the certificate anew, and a broken one is refused and the old one kept', async (t) => {
  const file = written().tls.certificate
  const kept = readFileSync(file)
  t.teardown(() => writeFileSync(file, kept))
  await serving(async (pid, output) => {
    const before = await served()
    const authority = await readCredential(join(made.state, 'ca-key.pem'))
    await writeCredential(file, await issueServerCertificate(authority, ['localhost']))
    process.kill(pid, 'SIGHUP')
    for (let waited = 0; waited < 10_000 && (await served()) === before; waited += 50)
      await new Promise((done) => setTimeout(done, 50))
    const renewed = await served()
    t.not(renewed, before)
    writeFileSync(file, 'not a certificate')
    process.kill(pid, 'SIGHUP')
    for (let waited = 0; waited < 10_000 && !output().includes('not reloaded'); waited += 50)
      await new Promise((done) => setTimeout(done, 50))
    t.match(output(), /not reloaded/)
    t.equal(await served(), renewed)
  })
})

t.test('all mistakes of a configuration are told at once, with exit code 1', async (t) => {
  const wrong = join(made.folder, 'wrong.json')
  writeFileSync(wrong, JSON.stringify({ ...written(), state: 7, colour: 'blue' }))
  const said = await run('bin/karst', ['serve', '--config', wrong, '--check'])
  t.equal(said.code, 1)
  t.match(said.stderr, /state must be string/)
  t.match(said.stderr, /colour/)
  t.equal((await run('bin/karst', ['serve', '--config', configFile(), '--check'])).code, 0)
})

t.test('--check looks at the files too, and a start at the place for homes', async (t) => {
  const file = join(made.folder, 'changed.json')
  const said = async (change: object, ...words: string[]): Promise<Ended> => {
    writeFileSync(file, JSON.stringify({ ...written(), ...change }))
    return run('bin/karst', ['serve', '--config', file, ...words])
  }
  const gone = join(made.folder, 'gone.pem')
  const { certificate } = written().tls
  t.match(await said({ tls: { certificate, key: gone } }, '--check'), { code: 1, stderr: /gone\.pem/ })
  const other = join(made.state, 'users', 'alice.pem')
  t.match(await said({ tls: { certificate, key: other } }, '--check'), {
    code: 1,
    stderr: /^karst serve: tls: [^\n]+\n$/,
  })
  t.match(await said({ trust: [gone] }, '--check'), { code: 1, stderr: /gone\.pem/ })
  const homeless = { accounts: { home: { path: '/people' } } }
  t.match(await said(homeless, '--check'), { code: 0 })
  t.match(await said(homeless), { code: 1, stderr: /no container \/people to make homes in; mkdir .*\/tree\/people/ })
})

t.test('a port in use, a missing tree and a missing CA are told in one sentence', async (t) => {
  await serving(async () => {
    const said = await run('bin/karst', ['serve', '--config', configFile()])
    t.equal(said.code, 1)
    t.match(said.stderr, /EADDRINUSE/)
  })
  const config = { ...written(), trust: ['nowhere.pem'] }
  writeFileSync(join(made.state, 'other.json'), JSON.stringify(config))
  const said = await run('bin/karst', ['serve', '--config', join(made.state, 'other.json')])
  t.match(said, { code: 1, stderr: /nowhere\.pem/ })
  t.notMatch(said.stderr, /\n\s+at /, 'no stack')
  t.ok(existsSync(made.state))
})
