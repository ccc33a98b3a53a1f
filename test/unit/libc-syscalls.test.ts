// The numbers of both architectures beside the kernel's headers (Debian: linux-libc-dev), whichever this machine is.
import { existsSync, readFileSync } from 'node:fs'
import t from 'tap'
import { O_PATH } from '../../src/libc/openat.ts'
import { SYSCALL, SYSCALLS } from '../../src/libc/syscalls.ts'

const X64 = ['/usr/include/x86_64-linux-gnu/asm/unistd_64.h', '/usr/x86_64-linux-gnu/include/asm/unistd_64.h']
/** arm64 has the numbers of every new architecture, as they are; so these headers of any machine have them. */
const ARM64 = ['/usr/include/asm-generic/unistd.h']

function numbersIn(files: readonly string[]): ReadonlyMap<string, number> | undefined {
  const file = files.find((one) => existsSync(one))
  if (file === undefined) return undefined
  const defines = readFileSync(file, 'utf8').matchAll(/^#define __NR(?:3264)?_(\w+)\s+(\d+)$/gm)
  const numbers = new Map([...defines].map(([, name = '', number]) => [name, Number(number)]))
  numbers.delete('syscalls') // how many there are
  return numbers
}

for (const [arch, files] of [
  ['x64', X64],
  ['arm64', ARM64],
] as const) {
  // prettier-ignore
  const known = numbersIn(files)
  void t.test(`system calls of ${arch}`, { skip: known === undefined && `needs ${files[0]}` }, (t) => {
    const newest = Math.max(...(known?.values() ?? []))
    for (const [name, number] of Object.entries(SYSCALLS[arch])) {
      // headers that are older than the call
      if (number <= newest) t.equal(known?.get(name), number, name)
    }
    t.ok(known?.has('statx'), 'the headers were read')
    t.end()
  })
}

void t.test('this machine has its own', (t) => {
  t.equal(SYSCALL.statx, process.arch === 'arm64' ? 291 : 332)
  t.end()
})

const FLAGS = '/usr/include/asm-generic/fcntl.h'
void t.test('O_PATH, which node has no constant for', { skip: !existsSync(FLAGS) && `needs ${FLAGS}` }, (t) => {
  const octal = /^#define O_PATH\s+(0\d+)$/m.exec(readFileSync(FLAGS, 'utf8'))?.[1]
  t.equal(O_PATH, Number.parseInt(octal ?? '', 8))
  t.end()
})
