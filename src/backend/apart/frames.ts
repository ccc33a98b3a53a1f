/** Values on a stream of bytes, each after its length. */
import { deserialize, serialize } from 'node:v8'

const HEAD = 4

export function frameOf(value: unknown): Buffer {
  const body = serialize(value)
  const head = Buffer.alloc(HEAD)
  head.writeUInt32LE(body.length)
  return Buffer.concat([head, body])
}

/** Puts together what arrives in parts. */
export class Frames {
  #bytes = Buffer.alloc(0)

  take(part: Uint8Array): unknown[] {
    const whole: unknown[] = []
    this.#bytes = Buffer.concat([this.#bytes, part])
    while (this.#bytes.length >= HEAD) {
      const end = HEAD + this.#bytes.readUInt32LE()
      if (this.#bytes.length < end) break
      whole.push(deserialize(this.#bytes.subarray(HEAD, end)))
      this.#bytes = this.#bytes.subarray(end)
    }
    return whole
  }
}
