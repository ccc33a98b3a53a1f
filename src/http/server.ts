/** The HTTP side of the gateway: one TLS listener, one plugin a family of endpoints, one place for refusals and for the log. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type RequestListener } from 'node:http'
import { type Server } from 'node:https'
import { type AddressInfo, type Socket } from 'node:net'
import fastify, { LogController, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { ANONYMOUS, type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { authenticate, AUTHENTICATED_HEADER } from './authenticate.ts'
import { bareNodes } from './bare-node.ts'
import { credentials } from './credentials.ts'
import { delegation } from './delegation.ts'
import { replyFault } from './fault-reply.ts'
import { files } from './files.ts'
import { fsV1 } from './fs-v1.ts'
import { gms } from './gms.ts'
import { groups } from './groups.ts'
import { healthChecks } from './health.ts'
import { createListener, refuseMalformed, reloadTls, type Listener, type TlsIdentity } from './listener.ts'
import { lists } from './lists.ts'
import { nodes } from './nodes.ts'
import { auditRefusal, within } from './origin.ts'
import { partitions } from './partitions.ts'
import { posix } from './posix.ts'
import { imports } from './imports.ts'
import { migrations } from './migrations.ts'
import { recursive } from './recursive.ts'
import { registry } from './registry.ts'
import { requestLine } from './request-log.ts'
import { HTTP_LIMITS, type HttpContext, type HttpServices } from './services.ts'
import { takeForwarded } from './shown-chain.ts'
import { sharing } from './sharing.ts'
import { synctrans } from './synctrans.ts'
import { loggedOf, routed, targetOf } from './target.ts'
import { transfers } from './transfers.ts'
import { snapshots } from './snapshots.ts'
import { trash } from './trash.ts'
import { users } from './users.ts'
import { vosi } from './vosi.ts'

export interface HttpServer {
  /** Rejects when the address cannot be had. Port 0: any that is free. */
  listen(port: number, host: string): Promise<void>
  readonly address: AddressInfo
  /** Stops accepting, lets requests finish for so long, then cuts them off. */
  close(drainSeconds: number): Promise<void>
  /** A renewed certificate, for connections to come. */
  reloadTls(tls: TlsIdentity): void
}

const FAMILIES = [
  nodes,
  files,
  synctrans,
  transfers,
  recursive,
  migrations,
  imports,
  sharing,
  trash,
  snapshots,
  users,
  groups,
  gms,
  posix,
  delegation,
  credentials,
  vosi,
  registry,
  lists,
  fsV1,
  partitions,
  healthChecks,
] as const

/** Composes the server; it does not listen yet. */
export async function createServer(services: HttpServices, tls: TlsIdentity): Promise<HttpServer> {
  const base = new URL(services.publicUrl).pathname.replace(/\/$/, '')
  const context: HttpContext = { services, limits: { ...HTTP_LIMITS, ...services.limits }, base }
  const { app, listener } = createApp(context, tls)
  const { server } = listener
  for (const family of FAMILIES) await app.register(async (scope) => family(scope, context))
  await app.ready()
  const sockets = track(server)
  services.traffic?.attach(server)
  return {
    async listen(port, host) {
      server.listen({ port, host })
      await once(server, 'listening')
    },
    get address() {
      const address = server.address()
      if (address === null || typeof address === 'string') throw new Error('not listening')
      return address
    },
    close: async (drainSeconds) => {
      // who waits for a lock or for changes asks elsewhere
      services.leases?.stop()
      services.changes?.stop()
      await close(app, listener, sockets, drainSeconds)
    },
    reloadTls: (renewed) => reloadTls(server, renewed),
  }
}

/** Twelve hex digits: some of this process, then a count. The log tells requests apart by them; random ones take longer than all of routing. */
function requestIds(): () => string {
  const process = randomBytes(3).toString('hex')
  let count = 0
  return () => process + (count++ & 0xffffff).toString(16).padStart(6, '0')
}

function createApp(context: HttpContext, tls: TlsIdentity): { app: FastifyInstance; listener: Listener } {
  const { services, limits, base } = context
  const serverHeader = `karst/${services.version}`
  const made: { listener?: Listener } = {}
  const { http2 = true, proxyProtocol } = services
  const nextId = requestIds()
  const make = (handler: RequestListener): Listener =>
    createListener(tls, { limits, http2, ...(proxyProtocol && { proxyProtocol }) }, bareNodes(context, nextId, handler))
  const app = fastify({
    loggerInstance: services.logger,
    logController: new LogController({ disableRequestLogging: true }),
    exposeHeadRoutes: false,
    return503OnClosing: false,
    genReqId: nextId,
    rewriteUrl: (request) => routed(request, base),
    serverFactory: (handler) => (made.listener = make(handler)).server,
    clientErrorHandler: (error, socket) => refuseMalformed(error, socket, serverHeader),
  })
  if (made.listener === undefined) throw new Error('fastify made no server')
  const instance = app as unknown as FastifyInstance
  instance.removeAllContentTypeParsers()
  // handlers read the body themselves: some documents, some streams
  instance.addContentTypeParser('*', (_request, _payload, done) => done(null))
  instance.decorateRequest('caller')
  instance.decorate('signature', serverHeader)
  // what does not go out by fastify says it itself (endpoint.ts)
  instance.addHook('onSend', (_request, reply, _payload, done) => {
    reply.raw.setHeader('Server', serverHeader)
    done()
  })
  instance.addHook('onRequest', (request, reply, done) => admit(request, reply, context, done))
  instance.setErrorHandler(async (error, request, reply) => replyFault(error, request, reply, context))
  instance.setNotFoundHandler(async (request, reply) =>
    replyFault(notThere(request, instance), request, reply, context),
  )
  return { app: instance, listener: made.listener }
}

/** On one response: whoever streams by pipeline has several, and Node warns of a leak beyond ten. */
const LISTENERS = 20

/** Settles who is asking and starts the line in the log. */
function admit(
  request: FastifyRequest,
  reply: FastifyReply,
  context: HttpContext,
  next: (error?: Error) => void,
): void {
  const { services } = context
  const done = (error?: Error): void => within(request, () => next(error))
  const started = performance.now()
  reply.raw.setMaxListeners(LISTENERS).once('close', () => {
    request.log.info(requestLine(request.raw, reply.raw, request.caller.user, started), 'request')
    auditRefusal(services, request, reply.raw.statusCode)
  })
  request.caller = ANONYMOUS
  takeForwarded(request.raw, services.forwardedCertificates)
  const { open, localGroups = false } = request.routeOptions.config
  if (request.is404 || open === true) {
    done()
    return
  }
  try {
    const caller = authenticate(request.raw, services.callers, { notes: request.log, localGroups })
    if (caller instanceof Promise)
      caller.then((known) => admitted(request, reply, known, context)).then(() => done(), done)
    else {
      admitted(request, reply, caller, context)
      done()
    }
  } catch (error) {
    done(error as Error)
  }
}

/** ServiceBusy: too many of theirs at once. PermissionDenied: the credential of a partition where it is not taken. */
function admitted(
  request: FastifyRequest,
  reply: FastifyReply,
  caller: Caller,
  { services: { traffic }, base }: HttpContext,
): void {
  request.caller = caller
  if (caller.scope !== undefined && !isDoorOfPartitions(request, base))
    throw new Fault(
      'PermissionDenied',
      `the credential of a partition is for its files alone, not for ${loggedOf(request.raw)}`,
    )
  if (caller.user !== undefined) reply.header(AUTHENTICATED_HEADER, caller.user)
  traffic?.enter(caller.user, request.raw, reply.raw)
}

/** Where the credential of a partition is taken: every door to files, where the rules confine it, and no other. */
const DOORS_OF_PARTITIONS: readonly string[] = ['/nodes', '/files', '/capabilities']

function isDoorOfPartitions(request: FastifyRequest, base: string): boolean {
  const { route, isMount } = targetOf(request.raw)
  return isMount || DOORS_OF_PARTITIONS.some((door) => route === base + door)
}

function notThere(request: FastifyRequest, app: FastifyInstance): Fault {
  const known: readonly string[] = app.supportedMethods
  if (!known.includes(request.method)) return new Fault('MethodNotAllowed', request.method)
  return new Fault('NodeNotFound', `there is nothing at ${loggedOf(request.raw)}`)
}

function track(server: Server): Set<Socket> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  return sockets
}

async function close(
  app: FastifyInstance,
  { server, drain }: Listener,
  sockets: Set<Socket>,
  drainSeconds: number,
): Promise<void> {
  const closed = server.listening ? new Promise<void>((resolve) => server.close(() => resolve())) : Promise.resolve()
  drain()
  // a connection kept alive is idle as soon as its last request is answered
  const sweep = setInterval(() => server.closeIdleConnections(), 50)
  const deadline = setTimeout(() => sockets.forEach((socket) => socket.destroy()), drainSeconds * 1000)
  await closed
  clearInterval(sweep)
  clearTimeout(deadline)
  await app.close()
}
