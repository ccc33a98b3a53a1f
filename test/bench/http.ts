/**
 * The gateway beside the programs one would use instead, on the same files in the page cache: nginx for bytes, getfattr and getfacl for a
 * listing. The gateway is the quickstart, a process of its own; curl is the client of both.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type QuickstartReport } from '../../src/cli/quickstart.ts'
import { median, type BenchRow } from './row.ts'

const ROUNDS = 5
const MIB = 1 << 20
const DOWNLOAD = 1024
const STREAMED = 2048
const CHILDREN = 10_000
const RSS_LIMIT = 150
const LAUNCHER = join(import.meta.dirname, '..', '..', 'bin', 'karst')
const NGINX = '/usr/sbin/nginx'

interface Bench {
  readonly folder: string
  readonly home: string
  readonly report: QuickstartReport
}

/** The rows; where a peer is missing its row is left out, with the reason on stderr. */
export async function httpBench(): Promise<BenchRow[]> {
  const folder = mkdtempSync(join(tmpdir(), 'karst-bench-'))
  const gateway = spawn(LAUNCHER, ['quickstart'], {
    env: { ...process.env, KARST_STATE: join(folder, 'state'), KARST_PORT: '0' },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  try {
    const report = await started(join(folder, 'state', 'quickstart.json'), gateway)
    const bench = { folder, report, home: join(folder, 'state', 'tree', 'home', 'alice') }
    return [...(await downloads(bench)), ...(await listings(bench)), ...(await streaming(bench))]
  } finally {
    await ended(gateway)
    rmSync(folder, { recursive: true, force: true })
  }
}

async function started(file: string, gateway: ChildProcess): Promise<QuickstartReport> {
  for (let i = 0; i < 600; i++) {
    if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as QuickstartReport
    if (gateway.exitCode !== null) throw new Error(`the quickstart ended with ${gateway.exitCode}`)
    await sleep(100)
  }
  throw new Error('the quickstart did not start within a minute')
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGTERM')
  await exit
}

function why(reason: string): BenchRow[] {
  console.error(`HTTP benchmark, a case skipped: ${reason}`)
  return []
}

async function downloads(bench: Bench): Promise<BenchRow[]> {
  if (!existsSync(NGINX)) return why('nginx is not installed')
  const name = 'large.bin'
  await writeZeros(join(bench.home, name), DOWNLOAD)
  const port = await freePort()
  const nginx = spawn(NGINX, ['-c', nginxConfig(bench, port), '-p', bench.folder], { stdio: 'inherit' })
  try {
    await sleep(500)
    const ours = `${bench.report.url}/files/home/alice/${name}`
    const theirs = `https://localhost:${port}/${name}`
    const [mine = NaN, peer = NaN, mine2 = NaN, peer2 = NaN] = await interleaved([
      () => curlSeconds(bench, ours),
      () => curlSeconds(bench, theirs),
      () => curlSeconds(bench, ours, '--http2'),
      () => curlSeconds(bench, theirs, '--http2'),
    ])
    return [
      rateRow('GET of 1 GiB over TLS beside nginx', 'MiB/s', DOWNLOAD, mine, peer, '>= 0.9'),
      rateRow('GET of 1 GiB by HTTP/2 beside nginx', 'MiB/s', DOWNLOAD, mine2, peer2, '>= 0.9'),
    ]
  } finally {
    await ended(nginx)
  }
}

function nginxConfig({ folder, home }: Bench, port: number): string {
  const file = join(folder, 'nginx.conf')
  const pem = join(folder, 'state', 'server.pem')
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((what) => `${what}_temp_path ${join(folder, 'nginx')};`)
    .join(' ')
  const user = process.getuid?.() === 0 ? 'user root;' : ''
  writeFileSync(
    file,
    `${user} worker_processes 1; daemon off; pid ${join(folder, 'nginx.pid')}; error_log stderr error;
    events {}
    http { access_log off; sendfile on; ${temporary}
      server { listen 127.0.0.1:${port} ssl http2; ssl_certificate ${pem}; ssl_certificate_key ${pem};
        ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets off; root ${home}; } }\n`,
  )
  return file
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

async function listings(bench: Bench): Promise<BenchRow[]> {
  const many = join(bench.home, 'many')
  mkdirSync(many)
  for (let i = 0; i < CHILDREN; i++) writeFileSync(join(many, `file-${String(i).padStart(5, '0')}`), 'x')
  try {
    execFileSync('sh', ['-c', 'ls -A | xargs setfattr -n user.quality -v good; setfacl -R -m g:90000:r .'], {
      cwd: many,
    })
  } catch (error) {
    return why(`getfattr and getfacl (Debian: attr, acl) are not there: ${String(error)}`)
  }
  execFileSync('chown', ['-R', `--reference=${bench.home}`, many])
  const url = `${bench.report.url}/nodes/home/alice/many`
  const listed = execFileSync('curl', [...curlArguments(bench), url], { maxBuffer: 1 << 28 }).toString()
  const count = listed.split('xsi:type="vos:DataNode"').length - 1
  if (count !== CHILDREN) throw new Error(`${count} children listed`)
  const peer = 'getfattr -R -d . >/dev/null; getfacl -R . >/dev/null'
  const [mine = NaN, theirs = NaN] = await interleaved([
    () => curlSeconds(bench, url),
    () => seconds(() => run('sh', ['-c', peer], { cwd: many })),
  ])
  console.error(`a listing of ${CHILDREN} children takes ${Math.round(mine * 1000)} ms`)
  return [rateRow('listing of 10,000 children beside getfattr and getfacl', 'nodes/s', CHILDREN, mine, theirs, '>= 1')]
}

/** Up and down, with nobody else at it: what the gateway's resident memory grows by. */
async function streaming(bench: Bench): Promise<BenchRow[]> {
  const url = `${bench.report.url}/files/home/alice/streamed.bin`
  const before = residentMebibytes(bench.report.pid)
  let most = before
  const watch = setInterval(() => (most = Math.max(most, residentMebibytes(bench.report.pid))), 100)
  const source = `head -c ${STREAMED}M /dev/zero`
  const up = ['--http1.1', '-T', '-', url]
  const upload = [source, ['curl', ...curlArguments(bench), ...up].join(' ')].join(' | ')
  const upSeconds = await seconds(() => run('sh', ['-c', upload]))
  const downSeconds = await curlSeconds(bench, url)
  clearInterval(watch)
  console.error(`2 GiB up ${rate(upSeconds)} MiB/s, down ${rate(downSeconds)} MiB/s`)
  const grown = Math.max(most - before, 0.1)
  const name = 'RSS growth, 2 GiB up and down (peer: the limit)'
  return [{ name, ours: grown, peer: RSS_LIMIT, unit: 'MiB', ratio: RSS_LIMIT / grown, target: '> 1' }]
}

const rate = (time: number): number => Math.round(STREAMED / time)

function residentMebibytes(pid: number): number {
  const kibibytes = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]
  return Number(kibibytes) / 1024
}

async function writeZeros(file: string, mebibytes: number): Promise<void> {
  const out = createWriteStream(file)
  const block = Buffer.alloc(MIB)
  for (let i = 0; i < mebibytes; i++) if (!out.write(block)) await once(out, 'drain')
  out.end()
  await once(out, 'close')
  execFileSync('chown', [`--reference=${join(file, '..')}`, file])
}

/** Medians of each, the runs in turns. */
async function interleaved(cases: readonly (() => Promise<number>)[]): Promise<number[]> {
  const times = cases.map((): number[] => [])
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, measure] of cases.entries()) times[i]?.push(await measure())
  }
  return times.map(median)
}

function rateRow(name: string, unit: string, amount: number, mine: number, theirs: number, target: string): BenchRow {
  return { name, ours: amount / mine, peer: amount / theirs, unit, ratio: theirs / mine, target }
}

function curlArguments({ report }: Bench): string[] {
  return ['--silent', '--fail', '--cacert', report.ca, '--cert', report.users['alice']?.proxy ?? '']
}

async function curlSeconds(bench: Bench, url: string, protocol = '--http1.1'): Promise<number> {
  return seconds(() => run('curl', [...curlArguments(bench), protocol, '--output', '/dev/null', url]))
}

async function seconds(work: () => Promise<void>): Promise<number> {
  const since = performance.now()
  await work()
  return (performance.now() - since) / 1000
}

async function run(program: string, args: readonly string[], options: { cwd?: string } = {}): Promise<void> {
  const child = spawn(program, args, { ...options, stdio: ['ignore', 'ignore', 'inherit'] })
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== 0) throw new Error(`${program} ended with ${String(code)}`)
}
