/** JSON documents of /fs/v1, read strictly: an object, no other field than the call has, each of its type. */
import { Fault } from '../vospace/fault.ts'
import { nodePath, type NodePath } from '../vospace/path.ts'

/** Largest uid and gid; the next means "no id". */
export const LAST_ID = 0xfffffffe

/** The fields of a document. Every reader throws InvalidArgument for a value of another type; absent and null are not the same. */
export class Fields {
  readonly #values: ReadonlyMap<string, unknown>

  constructor(body: Buffer, allowed: readonly string[]) {
    this.#values = new Map(Object.entries(objectOf(body)))
    for (const name of this.#values.keys()) {
      if (!allowed.includes(name)) throw new Fault('InvalidArgument', `there is no field ${name.slice(0, 100)} here`)
    }
  }

  has(name: string): boolean {
    return this.#values.has(name)
  }

  /** It is there, and null: for fields that can be taken away. */
  isNull(name: string): boolean {
    return this.#values.get(name) === null
  }

  text(name: string): string | undefined {
    const value = this.#values.get(name)
    if (value === undefined || (typeof value === 'string' && value.isWellFormed())) return value
    throw wrong(name, 'text')
  }

  requiredText(name: string): string {
    const value = this.text(name)
    if (value === undefined) throw new Fault('InvalidArgument', `${name} is missing`)
    return value
  }

  /** A list of texts. */
  texts(name: string): readonly string[] | undefined {
    const value = this.#values.get(name)
    if (value === undefined) return undefined
    const isText = (one: unknown): one is string => typeof one === 'string' && one.isWellFormed()
    if (Array.isArray(value) && value.every(isText)) return value
    throw wrong(name, 'a list of texts')
  }

  /** Throws InvalidURI for what is no node path. */
  path(name: string): NodePath {
    return nodePath(this.requiredText(name))
  }

  /** An integer of 0 to `most`. */
  count(name: string, most: number = Number.MAX_SAFE_INTEGER): number | undefined {
    const value = this.#values.get(name)
    if (value === undefined) return undefined
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= most) return value
    throw wrong(name, `an integer of 0 to ${most}`)
  }

  flag(name: string): boolean | undefined {
    const value = this.#values.get(name)
    if (value === undefined || typeof value === 'boolean') return value
    throw wrong(name, 'true or false')
  }

  /** 12 bits. */
  mode(name: string): number | undefined {
    return this.count(name, 0o7777)
  }

  userId(name: string): number | undefined {
    return this.count(name, LAST_ID)
  }

  /** Decimal nanoseconds since 1970, as text. */
  time(name: string): bigint | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    if (!/^-?\d{1,19}$/.test(value)) throw wrong(name, 'nanoseconds in decimal, as text')
    return BigInt(value)
  }

  oneOf<T extends string>(name: string, values: readonly T[]): T | undefined {
    const value = this.text(name)
    const found = values.find((one) => one === value)
    if (value !== undefined && found === undefined) throw wrong(name, `one of ${values.join(', ')}`)
    return found
  }
}

function wrong(name: string, what: string): Fault {
  return new Fault('InvalidArgument', `${name} is not ${what}`)
}

const UTF8 = new TextDecoder('utf-8', { fatal: true })

function objectOf(body: Buffer): object {
  let value: unknown
  try {
    value = JSON.parse(UTF8.decode(body))
  } catch (error) {
    throw new Fault('InvalidArgument', 'the body is not JSON in UTF-8', { cause: error })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Fault('InvalidArgument', 'the body is not a JSON object')
  }
  return value
}
