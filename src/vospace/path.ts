/** Node paths: where a node stands in the one namespace, as decoded UTF-8 text. */
import { Fault } from './fault.ts'

declare const checked: unique symbol
/** `/` or `/a/b`: absolute; no empty, `.` or `..` step, no NUL; each step 1 to 255 bytes of UTF-8. Made only here. */
export type NodePath = string & { readonly [checked]: true }

export const ROOT = '/' as NodePath

/** Longest path accepted, in bytes of UTF-8 (PATH_MAX of Linux). */
export const MAX_PATH = 4096

/** Checks and brands an absolute path; throws InvalidURI. A trailing slash is not accepted here: see uri.ts. */
export function nodePath(text: string): NodePath {
  if (text === '/') return ROOT
  const cut = text.lastIndexOf('/')
  if (cut > 0 && text.slice(0, cut) === lastParent) checkName(text.slice(cut + 1))
  else checkSteps(text)
  if (Buffer.byteLength(text) > MAX_PATH) throw new Fault('InvalidURI', 'path too long', { errno: 'ENAMETOOLONG' })
  lastParent = text.slice(0, cut)
  return text as NodePath
}

/** The last one that was found good: paths come by the folder, and its steps need be looked at once. */
let lastParent = ''

function checkSteps(text: string): void {
  const steps = text.split('/')
  if (steps.shift() !== '' || steps.length === 0) throw new Fault('InvalidURI', `not an absolute path: ${text}`)
  for (const step of steps) checkName(step)
}

/** A name a node can have: not empty, `.` or `..`, no slash, no NUL, well-formed, at most 255 bytes of UTF-8. */
export function isName(text: string): boolean {
  return (
    text !== '' &&
    text !== '.' &&
    text !== '..' &&
    !/[/\0]/.test(text) &&
    text.isWellFormed() &&
    Buffer.byteLength(text) <= 255
  )
}

/** Throws InvalidURI with the exact errno (ENAMETOOLONG apart from EINVAL). */
export function checkName(name: string): void {
  if (isName(name)) return
  if (Buffer.byteLength(name) > 255) {
    throw new Fault('InvalidURI', 'a name is at most 255 bytes of UTF-8', { errno: 'ENAMETOOLONG' })
  }
  throw new Fault('InvalidURI', `illegal path segment: ${JSON.stringify(name)}`)
}

export function parentOf(path: NodePath): NodePath {
  return (path.slice(0, path.lastIndexOf('/')) || '/') as NodePath
}

/** The last step; empty for the root. */
export function nameOf(path: NodePath): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** Throws InvalidURI when `name` is not a name. */
export function child(path: NodePath, name: string): NodePath {
  checkName(name)
  return (path === '/' ? `/${name}` : `${path}/${name}`) as NodePath
}

/** The steps from the root; empty for the root. */
export function stepsOf(path: NodePath): string[] {
  return path === '/' ? [] : path.slice(1).split('/')
}

/** True when `path` is `ancestor` or below it, by whole steps. */
export function isWithin(path: NodePath, ancestor: NodePath): boolean {
  return ancestor === '/' || path === ancestor || path.startsWith(`${ancestor}/`)
}

/** Order of the UTF-8 bytes, the order of every listing. */
export function byteOrder(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x !== y) return rank(x) - rank(y)
  }
  return a.length - b.length
}

// UTF-16 has the characters beyond U+FFFF, as surrogates, before U+E000; UTF-8 has them after all others.
const rank = (unit: number): number => (unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800)
