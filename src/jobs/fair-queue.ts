/** Jobs that wait for a slot: owners take turns, each one's jobs come in their order. */
export class FairQueue {
  // the first owner is the next one; who was served goes to the end
  readonly #waiting = new Map<string | undefined, string[]>()

  add(owner: string | undefined, id: string): void {
    const own = this.#waiting.get(owner)
    if (own === undefined) this.#waiting.set(owner, [id])
    else own.push(id)
  }

  next(): string | undefined {
    const [first] = this.#waiting
    if (first === undefined) return undefined
    const [owner, ids] = first
    const id = ids.shift()
    this.#waiting.delete(owner)
    if (ids.length > 0) this.#waiting.set(owner, ids)
    return id
  }

  has(id: string): boolean {
    return [...this.#waiting.values()].some((ids) => ids.includes(id))
  }

  remove(owner: string | undefined, id: string): void {
    const left = (this.#waiting.get(owner) ?? []).filter((other) => other !== id)
    if (left.length > 0) this.#waiting.set(owner, left)
    else this.#waiting.delete(owner)
  }
}
