/**
 * Loaded into the process of a storage before anything else (NODE_OPTIONS): writes down each step by which it changes something of a restore, in
 * the file KARST_TEST_STEPS, and at the one that KARST_TEST_AT names (`3 before`, `3 after`) kills itself and its gateway; `3 refuse`: that step
 * is refused instead. Several are named with commas between.
 */
import { appendFileSync } from 'node:fs'
import { PosixBackend } from '../../src/backend/posix/posix.ts'
import { PosixTrash } from '../../src/backend/posix/trash.ts'
import { Fault } from '../../src/vospace/fault.ts'

const file = process.env['KARST_TEST_STEPS'] ?? ''
const ways = new Map((process.env['KARST_TEST_AT'] ?? '').split(',').map((one) => one.split(' ') as [string, string]))
const STAGED = '.karst-copy-'
const served = process.argv[1]?.includes('backend') === true
let count = 0

function kill(): never {
  process.kill(process.ppid, 'SIGKILL')
  process.kill(process.pid, 'SIGKILL')
  throw new Error('unreachable')
}

type Method = (...args: never[]) => Promise<unknown>

function watch<K extends string>(prototype: Record<K, Method>, name: K, concerns: (path: string) => boolean): void {
  const method = prototype[name]
  prototype[name] = async function (this: unknown, ...args: never[]) {
    const first: unknown = args[0]
    const path = typeof first === 'string' ? first : (first as { path: string }).path
    if (!served || !concerns(path)) return method.apply(this, args)
    const how = ways.get(String(++count))
    appendFileSync(file, `${name} ${path}\n`)
    if (how === 'refuse') throw new Fault('QuotaExceeded', 'as the test has it')
    if (how === 'before') kill()
    const result = await method.apply(this, args)
    if (how === 'after') kill()
    return result
  }
}

for (const name of ['make', 'put', 'set', 'move', 'remove'] as const) watch(PosixBackend.prototype, name, (path) => path.includes(STAGED)) // prettier-ignore
watch(PosixTrash.prototype, 'put', () => true)
