// A gateway, or what stands before it, answers rubbish: programs get the right bytes or an error, never wrong bytes, and never wait for ever.
import t from 'tap'
import { startGateway } from '../http/gateway.ts'
import { fuseSkip, js, run, sleep } from './driver-harness.ts'
import { GARBLES, GarblingProxy, type Garble } from './garbling-proxy.ts'
import { survivors } from './survival-harness.ts'
import { seeded } from './tree-harness.ts'

const skip = await fuseSkip()
t.setTimeout(300_000)

const KINDS = (Object.keys(GARBLES) as Garble[]).filter((kind) => kind !== 'silence')
const FILES = 6
/** Runs in a process of its own, like BYTES below. */
const BYTES = `const bytes = (i, round) => Buffer.alloc([0, 11, 5000, 200000][(i + round) % 4], 'file ' + i + ' ' + round + ';')`

async function garbled(t: Parameters<typeof survivors>[0]) {
  const gateway = await startGateway(t)
  const proxy = await new GarblingProxy(() => gateway.port).start(t)
  const home = await survivors(t, gateway)
  // nothing is believed, so that everything is asked for
  const dir = await home.mount('/home/alice', { url: proxy.url, timeout: 3, ttl: 0 })
  return { ...home, proxy, dir, gateway }
}

void t.test('what is read is right or an error, whatever comes', { skip }, async (t) => {
  const { proxy, dir, umount } = await garbled(t)
  await js(`${BYTES}; for (let i = 0; i < ${FILES}; i++) fs.writeFileSync(argv[0] + '/f' + i, bytes(i, 0))`, dir)
  const pick = seeded(3)
  const made = new Set<string>()
  proxy.garble = (method, target) => {
    if (pick(3) > 0) return undefined
    const kind = KINDS[pick(KINDS.length)]
    made.add(`${kind ?? ''} for ${method} ${/fs.v1.(\w+)/.exec(target)?.[1] ?? ''}`)
    return kind
  }
  const reading = `${BYTES}; const told = { right: 0, errors: {} }
    const note = (call) => { try { if (call() === true) told.right++; else return ['wrong'] } catch (error) { told.errors[error.code] = (told.errors[error.code] ?? 0) + 1 } }
    for (let n = 0; n < 40; n++) {
      const i = n % ${FILES}, f = argv[0] + '/f' + i, wanted = bytes(i, 0)
      const wrong = note(() => fs.readFileSync(f).equals(wanted)) ?? note(() => fs.statSync(f).size === wanted.length) ??
        (n % 5 ? undefined : note(() => fs.readdirSync(argv[0]).length === ${FILES}))
      if (wrong) return [f, n]
    }
    return told`
  const told = await js<{ right: number; errors: Record<string, number> }>(reading, dir)
  t.ok(told.right > 10, JSON.stringify(told))
  t.same(
    Object.keys(told.errors).filter((code) => !['EIO', 'EPROTO'].includes(code)),
    [],
    'errors say that the gateway is at fault',
  )
  t.comment(JSON.stringify(told), `${made.size} kinds of rubbish`)
  proxy.garble = () => undefined
  const whole = await js<{ right: number; errors: unknown }>(reading, dir)
  t.same(whole, { right: 88, errors: {} }, 'and all is as it was')
  t.same(await umount(dir), [])
})

void t.test('what is acknowledged is at the gateway whole, whatever comes', { skip }, async (t) => {
  const { proxy, dir, gateway, umount, state } = await garbled(t)
  await js(`${BYTES}; for (let i = 0; i < ${FILES}; i++) fs.writeFileSync(argv[0] + '/f' + i, bytes(i, 0))`, dir)
  const pick = seeded(4)
  proxy.garble = () => (pick(4) > 0 ? undefined : KINDS[pick(KINDS.length)])
  const told = await js<{ closed: Record<string, number[]>; failed: string[]; moved: string[] }>(
    `${BYTES}; const closed = {}, failed = [], moved = []
     for (let n = 0; n < 36; n++) {
       const name = 'f' + n % ${FILES}, f = argv[0] + '/' + name
       try { fs.writeFileSync(f, bytes(n % ${FILES}, n)); closed[name] = [n] }
       catch (error) { failed.push(error.code); (closed[name] ??= [0]).push(n) }
       if (n % 4 === 0) try { fs.mkdirSync(argv[0] + '/d' + n); moved.push('d' + n) } catch (error) { failed.push(error.code) }
     }
     return { closed, failed, moved }`,
    dir,
  )
  t.comment(`${told.failed.length} refusals: ${[...new Set(told.failed)].join()}`)
  proxy.garble = () => undefined
  for (const [name, rounds] of Object.entries(told.closed)) {
    const { body } = await gateway.call(`/files/home/alice/${name}`, { as: 'alice' })
    const fits = rounds.some((round) => body.equals(bytesOf(Number(name.slice(1)), round)))
    t.ok(fits, `${name} is as it was closed last, in round ${rounds.join(' or ')}: ${body.subarray(0, 20).toString()}`)
  }
  for (const name of told.moved) t.equal((await gateway.call(`/nodes/home/alice/${name}`, { as: 'alice' })).status, 200)
  t.same(await umount(dir), [], state)
})

function bytesOf(i: number, round: number): Buffer {
  return Buffer.alloc([0, 11, 5000, 200000][(i + round) % 4] ?? 0, `file ${i} ${round};`)
}

void t.test('an answer that never comes is an error in time, and ends with who waits for it', { skip }, async (t) => {
  const { proxy, dir, umount } = await garbled(t)
  await run('sh', ['-c', 'echo there > "$1/f"', 'sh', dir])
  proxy.garble = () => 'silence'
  t.match(await run('cat', [`${dir}/f`]), { status: 1, output: /Input\/output error/ })
  const reading = run('cat', [`${dir}/f`], (child) => void sleep(500).then(() => child.kill('SIGINT')))
  t.equal((await reading).status, null, 'killed')
  proxy.garble = () => undefined
  t.match(await run('cat', [`${dir}/f`]), { status: 0, output: 'there\n' })
  t.same(await umount(dir), [])
})
