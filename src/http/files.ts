/** `/files`: the bytes of data nodes, and pre-authorised URLs to them (wire.md 3.4; RFC 9110). */
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { callerOfGrant } from '../space/bearer.ts'
import { checkReadable, type FileGrant, headFile, openWrite, readFile, type WriteTicket } from '../space/files.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { type NodePath } from '../vospace/path.ts'
import { decodePath } from '../vospace/uri.ts'
import { authenticate, AUTHENTICATED_HEADER } from './authenticate.ts'
import { digestHeader, promisedMd5 } from './digest.ts'
import { sendFile, type Source } from './download.ts'
import { answerHead, endpoint, type Handler } from './endpoint.ts'
import { fileHeaders } from './file-headers.ts'
import { type Bearer, InFlight, type Recheck } from './in-flight.ts'
import { checkNoneMatch, checkUnchanged, entityTag, isUnmodified } from './preconditions.ts'
import { bodyLength, contentTypeOf, uploadOf } from './request-body.ts'
import { type HttpContext } from './services.ts'
import { refusePast, spaceOf } from './snapshots.ts'
import { parametersOf, targetOf } from './target.ts'

export function files(app: FastifyInstance, context: HttpContext): void {
  const inFlight = new InFlight(app, context.services)
  const get: Handler = async (request, reply) => {
    const { caller, path, grant } = await admit(context, request, reply, 'read')
    await context.services.pushes?.at(path)
    const space = await spaceOf(context.services.space, caller, path, parametersOf(request.raw))
    const granted = grant && { grant }
    const recheck: Recheck = (now) => checkReadable(space, now, path, granted)
    inFlight.watch(request, reply, recheck, grant && bearerOf(context, grant))
    const look: Source['look'] = async () => {
      const { entry, name } = await headFile(space, caller, path, granted)
      return { entry, headers: fileHeaders(entry, name) }
    }
    const open: Source['open'] = (options) => readFile(space, caller, path, { ...granted, ...options })
    const sent = (): void => tellJob(context, request, grant)
    return sendFile({ look, open, sent }, request, reply)
  }
  const head: Handler = async (request, reply) => {
    // with a URL to put to as well: Python asks before it sends
    const { caller, path, grant } = await admit(context, request, reply, 'any')
    await context.services.pushes?.at(path)
    const space = await spaceOf(context.services.space, caller, path, parametersOf(request.raw))
    const { entry, name } = await headFile(space, caller, path, grant && { grant })
    checkUnchanged(request.headers, entry)
    if (isUnmodified(request.headers, entry)) return answerHead(reply, 304, fileHeaders(entry, name))
    return answerHead(reply, 200, { ...fileHeaders(entry, name), 'Content-Length': entry.size })
  }
  const put: Handler = async (request, reply) => upload(context, inFlight, request, reply)
  // a pre-authorised URL needs no credentials, so who is asking is settled here
  endpoint(app, `${context.base}/files`, { GET: get, HEAD: head, PUT: put }, { open: true })
}

interface Admitted {
  readonly caller: Caller
  readonly path: NodePath
  readonly grant?: FileGrant
}

/**
 * Who asks for which file. `/preauth:<token>` in front of the path stands for all credentials, and acts for the user of the token as they are now;
 * without it the caller is whoever certificate or token say.
 */
async function admit(
  context: HttpContext,
  request: FastifyRequest,
  reply: FastifyReply,
  kind: FileGrant['kind'] | 'any',
): Promise<Admitted> {
  const { services } = context
  const { rest } = targetOf(request.raw)
  const token = /^\/preauth(?::|%3a)([^/]*)(\/.*)?$/i.exec(rest)
  if (token === null) {
    request.caller = await authenticate(request.raw, services.callers, { notes: request.log })
    if (request.caller.user !== undefined) reply.header(AUTHENTICATED_HEADER, request.caller.user)
    services.traffic?.enter(request.caller.user, request.raw, reply.raw)
    return { caller: request.caller, path: decodePath(rest) }
  }
  const path = decodePath(token[2] ?? '')
  const grant = services.preauth.verify(token[1] ?? '', path, kind)
  if (grant.user !== undefined) services.accounts?.checkActive(grant.user, grant.uid)
  services.traffic?.enterGranted(grant.user, request.raw, reply.raw)
  if (grant.user !== undefined) await services.people?.settled?.(grant.user)
  return { caller: bearerOf(context, grant).now(), path, grant }
}

/** Whoever sends it, what may be done with a URL is what its user may: now, and in the groups of other services as far as it carries them. */
function bearerOf({ services }: HttpContext, grant: FileGrant): Bearer {
  return { user: grant.user, now: () => callerOfGrant(services, grant) }
}

async function upload(
  context: HttpContext,
  inFlight: InFlight,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const { space } = context.services
  const { caller, path, grant } = await admit(context, request, reply, 'write')
  refusePast(parametersOf(request.raw))
  if (request.headers['content-range'] !== undefined) {
    // RFC 9110, 14.5: taken for the whole it would destroy the rest
    throw new Fault('InvalidArgument', 'a part of a file cannot be put')
  }
  const md5 = promisedMd5(request.headers)
  const length = bodyLength(request.raw)
  // permission, type, lock, quota and conditions before the first byte
  const granted = grant && { grant }
  const ticket = await openWrite(space, caller, path, {
    ...granted,
    ...(length !== undefined && { length }),
  })
  const recheck: Recheck = (now) => openWrite(space, now, path, granted)
  inFlight.watch(request, reply, recheck, grant && bearerOf(context, grant))
  const condition = conditionOf(request, ticket)
  const contentType = contentTypeOf(request.raw)
  const encoding = request.headers['content-encoding']
  const options = {
    ...condition,
    ...(md5 !== undefined && { md5 }),
    ...(length !== undefined && { length }),
    ...(contentType !== undefined && { contentType }),
    ...(typeof encoding === 'string' && { contentEncoding: encoding }),
  }
  // no signal: when the client goes away, the body itself breaks off
  const { entry } = await put(ticket, uploadOf(request.raw, reply.raw), options)
  tellJob(context, request, grant)
  return reply
    .code(201)
    .headers({
      ETag: entityTag(entry.contentVersion),
      ...(entry.md5 !== undefined && { Digest: digestHeader(entry.md5) }),
      'Content-Length': 0,
    })
    .send()
}

/** The job that has negotiated the URL is over with its bytes (wire.md 4.3). */
function tellJob({ services }: HttpContext, { log }: FastifyRequest, grant: FileGrant | undefined): void {
  if (grant?.job === undefined) return
  try {
    services.jobs.bytesMoved(grant.job)
  } catch (error) {
    // the bytes have been moved: what the job says of them is no reason to refuse
    log.error({ err: error, job: grant.job }, 'a transfer job could not be completed')
  }
}

/** A file that came meanwhile makes `If-None-Match: *` fail, which HTTP calls a failed precondition. */
async function put(
  ticket: WriteTicket,
  ...[body, options]: Parameters<WriteTicket['put']>
): ReturnType<WriteTicket['put']> {
  try {
    return await ticket.put(body, options)
  } catch (error) {
    if (options?.ifAbsent !== true || !isFault(error, 'DuplicateNode')) throw error
    throw new Fault('PreconditionFailed', 'If-None-Match: the node exists', { cause: error })
  }
}

/** The conditions of the request held against the file as it stands; the put is then tied to that very version. */
function conditionOf(
  { headers }: FastifyRequest,
  { existing }: WriteTicket,
): { ifAbsent?: true; ifContentVersion?: string } {
  const isTied = checkUnchanged(headers, existing)
  const mustBeAbsent = checkNoneMatch(headers, existing) === 'absent'
  return {
    ...(mustBeAbsent && { ifAbsent: true as const }),
    ...(isTied && existing !== undefined && { ifContentVersion: existing.contentVersion }),
  }
}
