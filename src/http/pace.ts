/** A long text sent as fast as its client takes it: no more than a piece of it is ever held, however slow they are. */
import { type ServerResponse } from 'node:http'

/** Bytes of memory for a piece; a longer one gets its own. */
const PIECE = 1 << 18

export class Pace {
  readonly #response: ServerResponse
  readonly #bytes = Buffer.allocUnsafeSlow(PIECE)

  constructor(response: ServerResponse) {
    this.#response = response
  }

  /** Resolves when the kernel has it. Rejects when the connection is closed. To be waited for before the next one. */
  write(text: string): Promise<void> {
    // what was put together of pieces is put into one, and its memory used again
    const bytes = text.length * 3 <= PIECE ? this.#bytes.subarray(0, this.#bytes.write(text)) : Buffer.from(text)
    return new Promise((resolve, reject) => {
      const onClose = (): void => reject(new Error('the client went away'))
      this.#response.once('close', onClose)
      this.#response.write(bytes, (error) => {
        this.#response.off('close', onClose)
        if (error) reject(error)
        else resolve()
      })
    })
  }
}
