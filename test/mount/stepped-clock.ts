// Loaded into a driver before anything else (NODE_OPTIONS): its clock, but not its timers, stands as many milliseconds off as a file says.
import fs from 'node:fs'

const file = process.env['KARST_TEST_CLOCK'] ?? ''
const right = Date.now.bind(Date)

function stepped(): number {
  return right() + Number(fs.readFileSync(file, 'utf8'))
}

globalThis.Date = class extends Date {
  constructor(...args: [] | [number | string]) {
    if (args.length === 0) super(stepped())
    else super(...args)
  }
  static override now(): number {
    return stepped()
  }
} as DateConstructor
