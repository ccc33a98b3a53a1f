// Two mounts of one home, through the kernel: whoever opens a name sees what was closed or renamed there last, through whichever mount.
import t from 'tap'
import { drive, fuseSkip, HOME, js } from './driver-harness.ts'
import { FakeRemote } from './fake-remote.ts'

const skip = await fuseSkip()

/** Runs in a process of its own. Only names of files that are there are used: absent ones may be believed for the time-to-live. */
const SCRIPT = String.raw`
  const [seed, count, ...dirs] = argv
  let state = Number(seed)
  const below = (n) => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return Math.floor((((x ^ (x >>> 14)) >>> 0) / 4294967296) * n)
  }
  const bytes = () => Buffer.alloc([0, 1, 100, 5000, 70000][below(5)] + below(100), 1 + below(255))
  const model = new Map()
  const done = []
  for (let i = 0; i < 6; i++) {
    model.set('f' + i, bytes())
    fs.writeFileSync(dirs[0] + '/f' + i, model.get('f' + i))
  }
  const steps = {
    anew(file, name) { const data = bytes(); fs.writeFileSync(file, data); model.set(name, data) },
    append(file, name) { const data = bytes(); fs.appendFileSync(file, data); model.set(name, Buffer.concat([model.get(name), data])) },
    within(file, name) {
      const old = model.get(name), data = bytes(), at = below(old.length + 1)
      const fd = fs.openSync(file, 'r+')
      fs.writeSync(fd, data, 0, data.length, at)
      fs.closeSync(fd)
      model.set(name, Buffer.concat([old.subarray(0, at), data, old.subarray(at + data.length)]))
    },
    cut(file, name) {
      const old = model.get(name), size = below(2 * old.length + 2), cut = Buffer.alloc(size)
      old.copy(cut)
      fs.truncateSync(file, size)
      model.set(name, cut)
    },
    exchange(file, name, dir) {
      const other = 'f' + below(6)
      if (other === name) return
      fs.renameSync(file, dir + '/aside')
      fs.renameSync(dir + '/' + other, file)
      fs.renameSync(dir + '/aside', dir + '/' + other)
      const kept = model.get(name)
      model.set(name, model.get(other))
      model.set(other, kept)
    },
    replace(file, name, dir) {
      const data = bytes()
      fs.writeFileSync(dir + '/new', data)
      fs.renameSync(dir + '/new', file)
      model.set(name, data)
    },
    read() {},
  }
  const kinds = Object.keys(steps)
  for (let i = 0; i < Number(count); i++) {
    const name = 'f' + below(6), dir = dirs[below(dirs.length)], kind = kinds[below(kinds.length)]
    done.push(kind + ' ' + name + ' in ' + dirs.indexOf(dir))
    try {
      steps[kind](dir + '/' + name, name, dir)
      const reader = dirs[below(dirs.length)]
      const seen = fs.readFileSync(reader + '/' + name)
      if (!seen.equals(model.get(name))) return [reader, name, seen.length, model.get(name).length, ...done.slice(-25)]
    } catch (error) {
      return [String(error), ...done.slice(-25)]
    }
  }
  return []`

for (const seed of ['1', '2', '3']) {
  void t.test(`two mounts agree on what is in a file whatever either does (seed ${seed})`, { skip }, async (t) => {
    const remote = new FakeRemote()
    const [one, other] = [await drive(t, { remote }), await drive(t, { remote })]
    t.same(await js(SCRIPT, seed, '250', one.dir, other.dir), [])
    t.same([await one.ask('log'), await other.ask('log')], [[], []])
    t.same(
      remote.paths().filter((path) => path.startsWith(`${HOME}/`)),
      [0, 1, 2, 3, 4, 5].map((i) => `${HOME}/f${i}`),
    )
  })
}
