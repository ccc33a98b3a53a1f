/** `/fs/v1`: the calls that change something, each done once for its operation id (schemas/fs-v1.md). */
import { type FastifyReply, type FastifyRequest } from 'fastify'
import {
  entryToJson,
  modeParameter,
  pathParameter,
  readExtents,
  type SeenEntry,
  textFromJson,
  timeParameter,
} from '../codec/fs-v1.ts'
import {
  checkData,
  link,
  make,
  mkdir,
  openAmend,
  openPut,
  remove,
  removeXattr,
  rename,
  setattr,
  setXattr,
  symlink,
  type PosixDraft,
} from '../space/filesystem.ts'
import { Fault } from '../vospace/fault.ts'
import { promisedMd5 } from './digest.ts'
import { type Handler } from './endpoint.ts'
import { refOf } from './fs-v1.ts'
import { type InFlight } from './in-flight.ts'
import { Fields, LAST_ID } from './json-body.ts'
import { type Answer, once } from './operation.ts'
import { namedVersion } from './preconditions.ts'
import { bodyLength, clientGone, readBody, uploadOf } from './request-body.ts'
import { type Attempt, type HttpContext } from './services.ts'
import { parametersOf } from './target.ts'

const entryAnswer = (status: number, entry: SeenEntry): Answer => ({ status, document: entryToJson(entry) })

/** Bytes: put in one step, or amended. No signal goes along: when the client goes away, the body itself breaks off. */
export function dataChanges(context: HttpContext, inFlight: InFlight): { PUT: Handler; PATCH: Handler } {
  const { space } = context.services
  return {
    PUT: async (request, reply) => {
      const ref = refOf(parametersOf(request.raw))
      const options = putOptions(request)
      const act = async (attempt: Attempt): Promise<Answer> => {
        const ticket = await openPut(space, request.caller, ref, { ...options, attempt })
        inFlight.watch(request, reply, (now) => openPut(space, now, ref))
        const { entry, created } = await ticket.put(uploadOf(request.raw, reply.raw))
        return entryAnswer(created ? 201 : 200, entry)
      }
      return once(context, request, reply, { act })
    },
    PATCH: async (request, reply) => {
      const ref = refOf(parametersOf(request.raw))
      const options = amendOptions(request)
      const act = async (attempt: Attempt): Promise<Answer> => {
        const ticket = await openAmend(space, request.caller, ref, { ...options, attempt })
        inFlight.watch(request, reply, (now) => checkData(space, now, ref, 'write'))
        return entryAnswer(200, await ticket.amend(readExtents(uploadOf(request.raw, reply.raw))))
      }
      return once(context, request, reply, { act })
    },
  }
}

function putOptions(request: FastifyRequest) {
  const parameters = parametersOf(request.raw)
  const mode = parameters.get('mode')
  const mtime = parameters.get('mtime')
  const md5 = promisedMd5(request.headers)
  const length = bodyLength(request.raw)
  const durable = parameters.get('durable')
  if (durable !== undefined && (durable !== 'false' || length !== 0)) {
    throw new Fault('InvalidArgument', 'durable is false or not said, and false of what is empty only')
  }
  const noneMatch = request.headers['if-none-match']
  if (noneMatch !== undefined && noneMatch.trim() !== '*') {
    throw new Fault('InvalidArgument', 'If-None-Match is * here')
  }
  return {
    ...versionCondition(request),
    ...(noneMatch !== undefined && { ifAbsent: true }),
    ...(mode !== undefined && { mode: modeParameter(mode) }),
    ...(mtime !== undefined && { mtime: timeParameter(mtime) }),
    ...(md5 !== undefined && { md5 }),
    ...(length !== undefined && { length }),
    ...(durable !== undefined && { durable: false }),
  }
}

function amendOptions(request: FastifyRequest) {
  const parameters = parametersOf(request.raw)
  const length = parameters.count('length')
  if (length === undefined) throw new Fault('InvalidArgument', 'parameter length is missing')
  const mtime = parameters.get('mtime')
  const bytes = bodyLength(request.raw)
  return {
    ...versionCondition(request),
    length,
    ...(bytes !== undefined && { bytes }),
    ...(mtime !== undefined && { mtime: timeParameter(mtime) }),
  }
}

function versionCondition({ headers }: FastifyRequest): { ifContentVersion?: string } {
  const ifContentVersion = namedVersion(headers['if-match'])
  return ifContentVersion === undefined ? {} : { ifContentVersion }
}

/** A call with a JSON document: its fields, and what is done with them. */
type Call = (fields: Fields, request: FastifyRequest, attempt: Attempt, reply: FastifyReply) => Promise<Answer>

/** The handlers of `POST <call>`, by name. */
export function nodeChanges(context: HttpContext): Record<string, Handler> {
  const { space } = context.services
  const call = (allowed: readonly string[], act: Call): Handler => handlerOf(context, allowed, act)
  return {
    mkdir: call(['path', 'mode'], async (fields, { caller }, attempt) => {
      const mode = fields.mode('mode')
      const options = { ...(mode !== undefined && { mode }), attempt }
      return entryAnswer(201, await mkdir(space, caller, fields.path('path'), options))
    }),
    symlink: call(['path', 'text', 'text64'], async (fields, { caller }, attempt) =>
      entryAnswer(201, await symlink(space, caller, fields.path('path'), linkText(fields), { attempt })),
    ),
    mknod: call(
      ['path', 'mode', 'uid', 'gid', 'umask', 'device', 'text', 'text64'],
      async (fields, { caller }, attempt) =>
        entryAnswer(201, await make(space, caller, fields.path('path'), posixDraft(fields), { attempt })),
    ),
    link: call(['from', 'id', 'to'], async (fields, { caller }, attempt) => {
      const id = fields.text('id')
      const from = { path: fields.path('from'), ...(id !== undefined && { id }) }
      return entryAnswer(201, await link(space, caller, from, fields.path('to'), { attempt }))
    }),
    remove: call(['path', 'type'], async (fields, { caller }, attempt) => {
      const type = fields.oneOf('type', ['container', 'data', 'link', 'leaf'])
      if (type === undefined) throw new Fault('InvalidArgument', 'type is missing')
      await remove(space, caller, fields.path('path'), type, { attempt })
      return { status: 204 }
    }),
    rename: call(['from', 'to', 'flags'], async (fields, { caller }, attempt) => {
      const flags = fields.oneOf('flags', ['replace', 'noreplace', 'exchange'])
      return entryAnswer(200, await rename(space, caller, fields.path('from'), fields.path('to'), flags, { attempt }))
    }),
    setattr: call(['path', 'id', ...Object.keys(ATTRIBUTES)], async (fields, { caller }, _attempt, reply) => {
      const id = fields.text('id')
      const ref = { path: fields.path('path'), ...(id !== undefined && { id }) }
      const attributes = Object.fromEntries(
        Object.entries(ATTRIBUTES).flatMap(([name, read]) => (fields.has(name) ? [[name, read(fields)]] : [])),
      )
      return entryAnswer(200, await setattr(space, caller, ref, attributes, { signal: clientGone(reply.raw) }))
    }),
  }
}

/** Everything a trusted mount makes: type and bits in `mode`. */
function posixDraft(fields: Fields): PosixDraft {
  const required = (name: string, most: number): number => {
    const value = fields.count(name, most)
    if (value === undefined) throw new Fault('InvalidArgument', `${name} is missing`)
    return value
  }
  const device = fields.count('device', 0xffffffff)
  const mode = required('mode', 0o177777)
  if (!FORMATS.has(mode & 0o170000)) throw new Fault('InvalidArgument', `mode ${mode} says no type`)
  return {
    mode,
    uid: required('uid', LAST_ID),
    gid: required('gid', LAST_ID),
    umask: fields.count('umask', 0o777) ?? 0,
    ...(device !== undefined && { device }),
    ...((mode & 0o170000) === 0o120000 && { text: linkText(fields) }),
  }
}

/** directory, file, link, FIFO, socket, character and block device */
const FORMATS = new Set([0o040000, 0o100000, 0o120000, 0o010000, 0o140000, 0o020000, 0o060000])

const ATTRIBUTES = {
  mode: (fields: Fields) => fields.mode('mode'),
  uid: (fields: Fields) => fields.userId('uid'),
  gid: (fields: Fields) => fields.userId('gid'),
  mtime: (fields: Fields) => fields.time('mtime'),
  atime: (fields: Fields) => fields.time('atime'),
  size: (fields: Fields) => fields.count('size'),
} as const

function handlerOf(context: HttpContext, allowed: readonly string[], act: Call): Handler {
  const { json, documentTimeout } = context.limits
  return async (request, reply) => {
    const body = await readBody(request.raw, reply.raw, { limit: json, timeout: documentTimeout })
    const fields = new Fields(body, allowed)
    return once(context, request, reply, { body, act: (attempt) => act(fields, request, attempt, reply) })
  }
}

/** `text`, or `text64` when it is not UTF-8; exactly one of them. */
function linkText(fields: Fields): Buffer {
  const text = fields.text('text')
  const text64 = fields.text('text64')
  if ((text === undefined) === (text64 === undefined)) throw new Fault('InvalidArgument', 'one of text and text64')
  if (text64 !== undefined && !/^[A-Za-z0-9+/]*={0,2}$/.test(text64)) {
    throw new Fault('InvalidArgument', 'text64 is not base64')
  }
  return (
    textFromJson({ ...(text !== undefined && { text }), ...(text64 !== undefined && { text64 }) }) ?? Buffer.alloc(0)
  )
}

/** Extended attributes of a node. */
export function xattrChanges(context: HttpContext): { PUT: Handler; DELETE: Handler } {
  const { services, limits } = context
  const { space } = services
  return {
    PUT: async (request, reply) => {
      const parameters = parametersOf(request.raw)
      const path = pathParameter(parameters.get('path'))
      const name = parameters.require('name')
      const flags = xattrFlags(parameters.get('flags'))
      const value = await readBody(request.raw, reply.raw, { limit: limits.json, timeout: limits.documentTimeout })
      const act = async (attempt: Attempt): Promise<Answer> => {
        await setXattr(space, request.caller, path, name, value, flags, { attempt })
        return { status: 204 }
      }
      return once(context, request, reply, { body: value, act })
    },
    DELETE: async (request, reply) => {
      const parameters = parametersOf(request.raw)
      const path = pathParameter(parameters.get('path'))
      const name = parameters.require('name')
      const act = async (attempt: Attempt): Promise<Answer> => {
        await removeXattr(space, request.caller, path, name, { attempt })
        return { status: 204 }
      }
      return once(context, request, reply, { act })
    },
  }
}

function xattrFlags(value: string | undefined): 'create' | 'replace' | undefined {
  if (value === undefined || value === 'create' || value === 'replace') return value
  throw new Fault('InvalidArgument', `flags is create or replace, not ${value}`)
}
