/** How an endpoint is declared: a handler for each method it has; every other method is refused with 405. */
import { type OutgoingHttpHeaders, type ServerResponse } from 'node:http'
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** settled before any handler of an endpoint that asks who is calling */
    caller: Caller
  }
  interface FastifyInstance {
    /** what the Server header says */
    signature: string
  }
  interface FastifyContextConfig {
    /** nobody is asked who they are: a bad certificate does not matter here */
    open?: boolean
    /** no other service is asked in which of its groups they are */
    localGroups?: boolean
  }
}

export type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>

export type Methods = Partial<Record<'GET' | 'HEAD' | 'PUT' | 'POST' | 'PATCH' | 'DELETE', Handler>>

/** Declares what stands at `url`. */
export function endpoint(
  app: FastifyInstance,
  url: string,
  methods: Methods,
  { open = false, localGroups = false }: { readonly open?: boolean; readonly localGroups?: boolean } = {},
): void {
  const config = { open, localGroups }
  for (const [method, handler] of Object.entries(methods)) app.route({ method, url, handler, config })
  const others = app.supportedMethods.filter((method) => !(method in methods))
  const allow = Object.keys(methods).join(', ')
  const refuse: Handler = async (request, reply) => {
    reply.header('Allow', allow)
    throw new Fault('MethodNotAllowed', `${request.method} here; there is ${allow}`)
  }
  app.route({ method: others, url, handler: refuse, config: { open: true } })
}

/** An answer that is at hand whole. The content type is sent exactly as it stands here (wire.md trap 2). */
export function answer(reply: FastifyReply, status: number, type: string, body: string | Buffer): FastifyReply {
  // not by fastify, which adds a charset; text goes out in one write with its headers
  const headers = { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) }
  const set = Object.entries(reply.getHeaders())
  const [name = '', value] = set[0] ?? []
  // as a list they are written as they stand, at a fraction of the price; nearly always there is but one besides
  if (set.length > 1 || (set.length === 1 && name !== AUTHENTICATED) || Array.isArray(value))
    takeOver(reply, status, headers).end(body)
  else {
    const list = ['Server', reply.server.signature, 'Content-Type', type, 'Content-Length', headers['Content-Length']]
    if (value !== undefined) list.push(name, value)
    reply.hijack().raw.writeHead(status, list).end(body)
  }
  return reply
}

const AUTHENTICATED = 'x-vo-authenticated'

export const XML = 'text/xml'
export const TEXT = 'text/plain'

/** 303 to an absolute URL (wire.md 59). */
export function seeOther(reply: FastifyReply, url: string): FastifyReply {
  return reply.code(303).header('Location', url).header('Content-Length', 0).send()
}

/** Takes the reply out of fastify's hands for what it would slow down or change, with all headers set so far. The caller ends the response. */
export function takeOver(reply: FastifyReply, status: number, headers: OutgoingHttpHeaders): ServerResponse {
  reply.hijack().raw.setHeader('Server', reply.server.signature)
  return reply.raw.writeHead(status, { ...(reply.getHeaders() as OutgoingHttpHeaders), ...headers })
}

/** An answer without a body whose headers stand as they are: to HEAD, 204 and 304. */
export function answerHead(reply: FastifyReply, status: number, headers: OutgoingHttpHeaders): FastifyReply {
  takeOver(reply, status, headers).end()
  return reply
}
