/** The Range header (RFC 9110, 14.2): which bytes of a file are asked for. */
import { Fault } from '../vospace/fault.ts'

/** First and last byte, both inclusive. */
export interface WholeRange {
  readonly start: number
  readonly end: number
}

const SPEC = /^(\d{0,15})-(\d{0,15})$/

/**
 * The one range asked for; undefined: send the whole. Another unit than bytes is ignored, and so are several ranges (allowed by
 * RFC 9110, 14.2: no client of ours asks for them). RangeNotSatisfiable: beyond the end, or no range at all.
 */
export function readRange(header: string | undefined, size: number): WholeRange | undefined {
  if (header === undefined) return undefined
  const match = /^\s*bytes\s*=(.*)$/i.exec(header)
  if (match === null) return undefined
  const specs = (match[1] ?? '').split(',').map((spec) => spec.trim())
  if (specs.length > 1) return undefined
  const [, first = '', last = ''] = SPEC.exec(specs[0] ?? '') ?? []
  if (first === '' && last === '') return refuse(header)
  if (first === '') {
    const length = Math.min(Number(last), size)
    return length === 0 ? refuse(header) : { start: size - length, end: size - 1 }
  }
  const start = Number(first)
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1)
  if (start >= size || (last !== '' && Number(last) < start)) return refuse(header)
  return { start, end }
}

function refuse(header: string): never {
  throw new Fault('RangeNotSatisfiable', `cannot be satisfied: ${header.slice(0, 100)}`)
}
