/**
 * VOSpace properties as extended attributes: `user.<URI or word>` is the property of that key. Stored properties are listed and may be set;
 * those the service computes, and sharing, can be read by name and are set by nobody this way. POSIX ACLs are in fs-acl.ts.
 */
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { type NodePath } from '../vospace/path.ts'
import { aclKindOf } from '../vospace/posix-acl.ts'
import { ACCESS_PROPERTIES, checkPropertyUri, NODE_CLASS, READ_ONLY } from '../vospace/property.ts'
import { authorize, type Verb } from './authorize.ts'
import { describe } from './describe.ts'
import { aclOf, setAcl } from './fs-acl.ts'
import { locate } from './fs-place.ts'
import { type Once } from './once.ts'
import { chainOf, type Found } from './resolve.ts'
import { checkPropertyRoom } from './sharing.ts'
import { capabilitiesOf, type Space } from './space.ts'

/** xattr(7): bytes of a name and of a value. */
const MAX_NAME = 255
const MAX_VALUE = 65_536

/** listxattr: PermissionDenied unless the node is readable. */
export async function xattrNames(space: Space, caller: Caller, path: NodePath): Promise<string[]> {
  const { node } = await holder(space, caller, path, 'read')
  const keys = [...node.properties.keys()].filter((key) => key !== NODE_CLASS)
  return keys.map((key) => `user.${key}`).filter((name) => Buffer.byteLength(name) <= MAX_NAME)
}

/** getxattr: NodeNotFound with ENODATA when there is none of that name. */
export async function xattr(space: Space, caller: Caller, path: NodePath, name: string): Promise<Buffer> {
  const kind = aclKindOf(name)
  if (kind !== undefined) return (await aclOf(space, caller, path, kind)) ?? missing(name)
  const found = await holder(space, caller, path, 'read')
  const key = keyOf(name)
  if (key === undefined || key === NODE_CLASS) throw none(name)
  const value = found.node.properties.get(key) ?? computed(space, found, key)
  if (value === undefined) throw none(name)
  return Buffer.from(value)
}

/**
 * setxattr: a value is text, since it is seen in XML. InvalidArgument (EINVAL; ERANGE and E2BIG: too long), PermissionDenied (EACCES;
 * EPERM: not a client's to set), DuplicateNode (create), NodeNotFound with ENODATA (replace), OperationNotSupported (another namespace).
 */
export async function setXattr(
  space: Space,
  caller: Caller,
  path: NodePath,
  name: string,
  value: Buffer,
  flags?: 'create' | 'replace',
  { attempt }: Once = {},
): Promise<void> {
  const kind = aclKindOf(name)
  if (kind !== undefined) return setAcl(space, caller, path, kind, value)
  const key = settable(name)
  const text = textOf(value)
  const { node } = await holder(space, caller, path, 'update')
  const has = node.properties.has(key)
  const isDone = attempt?.repeated === true && node.properties.get(key) === text
  if (flags === 'create' && has && !isDone) throw new Fault('DuplicateNode', `${path} has ${name}`)
  if (flags === 'replace' && !has) throw none(name)
  await change(space, node, key, text)
}

/** removexattr: NodeNotFound with ENODATA when there is none. */
export async function removeXattr(
  space: Space,
  caller: Caller,
  path: NodePath,
  name: string,
  { attempt }: Once = {},
): Promise<void> {
  const kind = aclKindOf(name)
  if (kind !== undefined) return setAcl(space, caller, path, kind, null)
  const key = settable(name)
  const { node } = await holder(space, caller, path, 'update')
  if (!node.properties.has(key)) {
    if (attempt?.repeated === true) return
    throw none(name)
  }
  await change(space, node, key, null)
}

function missing(name: string): never {
  throw none(name)
}

const none = (name: string): Fault => new Fault('NodeNotFound', `no attribute ${name}`, { errno: 'ENODATA' })

async function holder(space: Space, caller: Caller, path: NodePath, verb: Verb): Promise<Found> {
  const found = await locate(space, caller, { path })
  // Linux: user.* belongs to files and directories (xattr(7))
  if (found.node.type === 'link' && !capabilitiesOf(space, path).linkProperties) {
    throw new Fault('PermissionDenied', 'a link has no attributes here', { errno: 'EPERM' })
  }
  authorize(caller, verb, chainOf(found), space.rules)
  return found
}

async function change(space: Space, node: Found['node'], key: string, value: string | null): Promise<void> {
  const properties = new Map([[key, value]])
  checkPropertyRoom(node.properties, properties)
  const entry = await space.backend.set({ path: node.path, id: node.id }, { properties })
  space.changes.append({ id: entry.id, path: entry.path, kind: 'attributes' })
}

const keyOf = (name: string): string | undefined => (name.startsWith('user.') ? name.slice('user.'.length) : undefined)

function settable(name: string): string {
  const key = keyOf(name)
  if (key === undefined) throw new Fault('OperationNotSupported', `only attributes in user.* can be set, not ${name}`)
  if (Buffer.byteLength(name) > MAX_NAME) throw new Fault('InvalidArgument', 'name too long', { errno: 'ERANGE' })
  if (key.startsWith('karst.') || key === NODE_CLASS || READ_ONLY.has(key) || ACCESS_PROPERTIES.has(key)) {
    throw new Fault('PermissionDenied', `${name} is the service's`, { errno: 'EPERM' })
  }
  checkPropertyUri(key)
  return key
}

function textOf(value: Buffer): string {
  if (value.length > MAX_VALUE) throw new Fault('InvalidArgument', 'value too long', { errno: 'E2BIG' })
  const text = value.toString('utf8')
  // XML 1.0 has no other control characters, encoded or not
  const isText = Buffer.from(text).equals(value) && !/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/.test(text)
  if (!isText) throw new Fault('InvalidArgument', 'the value of a property is text in UTF-8 without control characters')
  return text
}

function computed(space: Space, found: Found, key: string): string | undefined {
  if (!READ_ONLY.has(key) && !ACCESS_PROPERTIES.has(key)) return undefined
  const { properties } = describe(space, { ...found.node, readable: true, writable: false }, 'properties')
  return properties.find(({ uri }) => uri === key)?.value ?? undefined
}
