/** The containers that a recursive delete is in the midst of, each with what it knows of it. */
import { type Entry } from '../vospace/node.ts'
import { type Chain } from './authorize.ts'

/** Containers of one container that are remembered until its other nodes went; those beyond are listed again. */
const HELD = 512

/** A container that is being emptied. */
export interface Level {
  chain: Chain
  /** when the chain was looked at, milliseconds */
  seen: number
  /** something below stays */
  stuck: boolean
  readonly parent: Level | undefined
  round: number
}

/** Containers of a level. */
export interface Held {
  readonly names: Set<string>
  /** there are others, too many to be held */
  more: boolean
}

export function hold(held: Held, name: string): void {
  if (held.names.size < HELD) held.names.add(name)
  else held.more = true
}

export const levelOf = (chain: Chain, parent: Level | undefined): Level => ({
  chain,
  seen: parent?.seen ?? performance.now(),
  stuck: false,
  parent,
  round: 1,
})

/** What is in it stays, so it stays too, and so does what it is in. */
export function stick(level: Level | undefined): void {
  if (level !== undefined) level.stuck = true
}

export function nodeOf(chain: Chain): Entry {
  const node = chain.at(-1)
  if (node === undefined) throw new Error('a chain has at least the root')
  return node
}
