/**
 * A link's text (what readlink answers, byte for byte) and its target (the URI of a LinkNode), one from the other.
 * Text that stays inside the space is a vos URI of this service; other URIs stand as they are; the rest is a `file:` URI,
 * which nothing in the gateway ever follows.
 */
import { Fault, isFault } from './fault.ts'
import { nodePath, parentOf, stepsOf, type NodePath } from './path.ts'
import { nodeUri, parseVosUri, type Service } from './uri.ts'

const SCHEME = /^[a-z][a-z0-9+.-]*:/i

/** The node a relative text leads to when read in the container of `link`; undefined: it leaves the space, or is no path of it. */
export function textPath(text: Buffer, link: NodePath): NodePath | undefined {
  const string = text.toString('utf8')
  if (!Buffer.from(string, 'utf8').equals(text) || string === '' || string.startsWith('/')) return undefined
  if (SCHEME.test(string) && string.includes('://')) return undefined
  const steps = stepsOf(parentOf(link))
  for (const step of string.split('/')) {
    if (step === '' || step === '.') continue
    if (step !== '..') steps.push(step)
    else if (steps.pop() === undefined) return undefined
  }
  try {
    return nodePath(`/${steps.join('/')}`)
  } catch (error) {
    if (isFault(error)) return undefined
    throw error
  }
}

/** The target URI of a link with this text. */
export function linkTarget(text: Buffer, link: NodePath, of: Service): string {
  const inside = textPath(text, link)
  if (inside !== undefined) return nodeUri(of, inside)
  const string = text.toString('utf8')
  if (SCHEME.test(string) && string.includes(':/')) return string
  const encoded = text
    .toString('latin1')
    .replace(
      /[^A-Za-z0-9._~!$&'()*+,;=:@/-]/g,
      (c) => `%${c.charCodeAt(0).toString(16).padStart(2, '0').toUpperCase()}`,
    )
  return encoded.startsWith('/') ? `file://${encoded}` : `file:${encoded}`
}

/**
 * The text of a link whose target is this URI: relative for a node of this service, an absolute path for `file:///`,
 * else the URI itself. Throws InvalidArgument for what is no URI, or has a NUL.
 */
export function linkText(target: string, link: NodePath, of: Service): Buffer {
  const uri = target.trim()
  if (!SCHEME.test(uri) || uri.includes('\0')) throw new Fault('InvalidArgument', `not a link target: ${target}`)
  if (/^vos:/i.test(uri)) {
    const parsed = parseVosUri(uri)
    return Buffer.from(parsed.authority === of.authority ? relative(parentOf(link), parsed.path) : uri)
  }
  if (/^file:\/\/\//i.test(uri)) return fileText(uri.slice('file://'.length))
  if (Buffer.byteLength(uri) > 4095)
    throw new Fault('InvalidArgument', 'link target too long', { errno: 'ENAMETOOLONG' })
  return Buffer.from(uri)
}

/** The text with which a link that comes from `from` to `to` leads where it has led: the same bytes where they still do. */
export function carriedText(text: Buffer, from: NodePath, to: NodePath, of: Service): Buffer {
  const target = textPath(text, from)
  if (target === undefined || target === textPath(text, to)) return text
  return linkText(nodeUri(of, target), to, of)
}

function fileText(encoded: string): Buffer {
  const bytes = encoded.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
  if (bytes.includes('\0')) throw new Fault('InvalidArgument', 'NUL in a link target')
  // a URI is ASCII: what is not came unencoded, as UTF-8
  return /^[\0-\xff]*$/.test(bytes) ? Buffer.from(bytes, 'latin1') : Buffer.from(bytes, 'utf8')
}

/** The shortest relative path from a container to a node. */
function relative(from: NodePath, to: NodePath): string {
  const a = stepsOf(from)
  const b = stepsOf(to)
  let same = 0
  while (same < a.length && same < b.length && a[same] === b[same]) same++
  const text = [...a.slice(same).map(() => '..'), ...b.slice(same)].join('/')
  return text === '' ? '.' : text
}
