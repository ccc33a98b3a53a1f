/**
 * Sidecars: what extended attributes cannot hold (long values and names; anything of a symlink when we are not root),
 * one JSON file a node in `.karst/sidecar`, named after its inode so that renames need not touch it.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { codeOf } from '../../libc/errno.ts'
import { checkedRecord, type NodeRecord } from './record.ts'

export interface Sidecar {
  readonly record?: NodeRecord
  readonly properties: ReadonlyMap<string, string>
}

/** undefined: there is none. `folder` is the sidecar folder. */
export function readSidecar(folder: string, self: string): Sidecar | undefined {
  let text: string
  try {
    text = readFileSync(`${folder}/${self}`, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
  return parsedSidecar(text)
}

/** A damaged one is as good as none: it must not make its node unreadable. */
function parsedSidecar(text: string): Sidecar | undefined {
  try {
    const value = JSON.parse(text) as { record?: unknown; properties?: Record<string, string> }
    return { record: checkedRecord(value.record), properties: new Map(Object.entries(value.properties ?? {})) }
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined
    throw error
  }
}

/** Replaces it in one step. */
export function writeSidecar(folder: string, self: string, { record, properties }: Sidecar): void {
  const staged = `${folder}/.${self}`
  try {
    const fd = openSync(staged, 'w', 0o600)
    try {
      writeFileSync(fd, JSON.stringify({ record, properties: Object.fromEntries(properties) }))
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(staged, `${folder}/${self}`)
  } catch (error) {
    rmSync(staged, { force: true })
    throw error
  }
}

export function removeSidecar(folder: string, self: string): void {
  rmSync(`${folder}/${self}`, { force: true })
}
