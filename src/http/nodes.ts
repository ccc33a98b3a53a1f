/** `/nodes`: the documents of nodes (VOSpace 2.1 sections on nodes; wire.md 3.1). */
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { readNode } from '../codec/node-reader.ts'
import { allocationUsage, describe, type Detail } from '../space/describe.ts'
import { createNode, deleteNode, getNode, listNode, type NodeListOptions, setNode } from '../space/nodes.ts'
import { type SeenEntry, type Space } from '../space/space.ts'
import { type Caller } from '../vospace/caller.ts'
import { type NodeDocument } from '../vospace/document.ts'
import { Fault, type FaultName } from '../vospace/fault.ts'
import { nameOf, parentOf, type NodePath } from '../vospace/path.ts'
import { PROPERTY } from '../vospace/property.ts'
import { encodePath, localPath, nodeUri, type Service } from '../vospace/uri.ts'
import { writtenText } from './bare-node.ts'
import { answer, endpoint, type Handler, seeOther, takeOver } from './endpoint.ts'
import { detailOf, nodeFormat, type NodeFormat } from './node-format.ts'
import { Pace } from './pace.ts'
import { clientGone, readBody } from './request-body.ts'
import { type HttpContext } from './services.ts'
import { refusePast, spaceOf } from './snapshots.ts'
import { type Parameters, parametersOf, pathOf } from './target.ts'

export function nodes(app: FastifyInstance, context: HttpContext): void {
  const { services, limits, base } = context
  const { space } = services
  const document = async (request: FastifyRequest, reply: FastifyReply): Promise<NodeDocument> =>
    readNode(await readBody(request.raw, reply.raw, { limit: limits.document, timeout: limits.documentTimeout }))

  const put: Handler = async (request, reply) => {
    refusePast(parametersOf(request.raw))
    const path = pathOf(request.raw)
    const format = formatOf(request)
    const node = await document(request, reply)
    checkSameNode(node, path, services.service, 'InvalidURI')
    const created = await createNode(space, request.caller, path, node)
    return answer(reply, 201, format.type, format.node(await documentOf(space, created, 'none')))
  }
  const post: Handler = async (request, reply) => {
    refusePast(parametersOf(request.raw))
    const path = pathOf(request.raw)
    const format = formatOf(request)
    const node = await document(request, reply)
    checkSameNode(node, path, services.service, 'InvalidArgument')
    const changed = await setNode(space, request.caller, path, node)
    return answer(reply, 200, format.type, format.node(await documentOf(space, changed, 'none')))
  }
  const remove: Handler = async (request, reply) => {
    refusePast(parametersOf(request.raw))
    await deleteNode(space, request.caller, pathOf(request.raw), { signal: clientGone(reply.raw) })
    // the standard says 204, its examples and every client 200 (wire.md trap 1)
    return reply.code(services.strict ? 204 : 200).send()
  }
  endpoint(app, `${base}/nodes`, {
    GET: async (request, reply) => get(context, request, reply),
    PUT: put,
    POST: post,
    DELETE: remove,
  })
}

async function get({ services }: HttpContext, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { publicUrl } = services
  const path = pathOf(request.raw)
  const parameters = parametersOf(request.raw)
  const space = await spaceOf(services.space, request.caller, path, parameters)
  await services.pushes?.at(path)
  const view = parameters.get('view')
  if (view?.toLowerCase() === 'data')
    return seeOther(reply, `${publicUrl}/files${encodePath(path)}${snapshotQuery(parameters)}`)
  const detail = detailOf(parameters)
  const format = formatOf(request)
  const options = await listOptions(space, request, path, parameters)
  // what clients ask most needs no stream (wire.md trap 12), and is over before anybody could give up
  if (options.limit === 0)
    return answer(reply, 200, format.type, await bareText(space, request.caller, path, detail, format))
  const signal = clientGone(reply.raw)
  const { node, children } = await listNode(space, request.caller, path, { ...options, signal })
  const document = await documentOf(space, node, detail)
  if (node.type !== 'container') return answer(reply, 200, format.type, format.node(document))
  const listing = format.listing({
    node: document,
    children: described(space, children, detail),
  })
  return sendListing(listing, format, reply)
}

const snapshotQuery = (parameters: Parameters): string => {
  const name = parameters.get('snapshot')
  return name === undefined ? '' : `?snapshot=${encodeURIComponent(name)}`
}

/** A node without its children. */
async function bareText(
  space: Space,
  caller: Caller,
  path: NodePath,
  detail: Detail,
  format: NodeFormat,
): Promise<string> {
  const { node, entry } = await listNode(space, caller, path, { limit: 0 })
  const usage = await allocationUsage(space, node)
  const document = (): NodeDocument => describe(space, node, detail, usage)
  // the rest is of the entry alone
  if (detail === 'max' || usage !== undefined) return format.node(document())
  return writtenText(space, entry, detail, format, document).text
}

const formatOf = (request: FastifyRequest): NodeFormat => nodeFormat(parametersOf(request.raw), request.headers.accept)

async function documentOf(space: Space, seen: SeenEntry, detail: Detail): Promise<NodeDocument> {
  return describe(space, seen, detail, await allocationUsage(space, seen))
}

async function* described(
  space: Space,
  children: AsyncIterable<SeenEntry>,
  detail: Detail,
): AsyncGenerator<NodeDocument> {
  for await (const child of children) yield describe(space, child, detail)
}

/**
 * A short listing goes out whole, so that its failure is a proper refusal. A long one is streamed as fast as the client reads; when it fails
 * midway the connection is cut, since a document that ends well would be taken for the whole.
 */
async function sendListing(
  listing: AsyncGenerator<string, void, undefined>,
  { type }: NodeFormat,
  reply: FastifyReply,
): Promise<unknown> {
  const first = await listing.next()
  const second = first.done === true ? first : await listing.next()
  if (second.done === true) return answer(reply, 200, type, first.value ?? '')
  const raw = takeOver(reply, 200, { 'Content-Type': type })
  const pace = new Pace(raw)
  try {
    await pace.write(first.value ?? '')
    await pace.write(second.value)
    for await (const chunk of listing) await pace.write(chunk)
    raw.end()
  } catch (error) {
    reply.log.warn({ err: error }, 'a listing was cut')
    raw.destroy()
  } finally {
    await listing.return()
  }
  return reply
}

/** limit, uri, sort and order (wire.md 3.1). */
async function listOptions(
  space: Space,
  request: FastifyRequest,
  path: NodePath,
  parameters: Parameters,
): Promise<NodeListOptions> {
  const limit = parameters.count('limit')
  const uri = parameters.get('uri')
  const from = uri === undefined || uri === '' ? undefined : await childName(space, request, path, uri)
  const sort = sortOf(parameters)
  return { ...(limit !== undefined && { limit }), ...(from !== undefined && { from }), ...(sort && { sort }) }
}

const SORTABLE: readonly string[] = [PROPERTY.length, PROPERTY.date]

function sortOf(parameters: Parameters): NodeListOptions['sort'] {
  const property = parameters.get('sort')
  const order = parameters.get('order')?.toLowerCase()
  if (property !== undefined && !SORTABLE.includes(property)) {
    // clients look for the phrase (wire.md 3.1)
    throw new Fault('OptionNotSupported', `sorting options not supported: sort=${property}`)
  }
  if (order !== undefined && order !== 'asc' && order !== 'desc') {
    throw new Fault('InvalidArgument', `order is asc or desc, not ${order}`)
  }
  if (property === undefined) return order === undefined ? undefined : { order }
  return { property, order: order ?? 'desc' }
}

/** The name of the child that `uri` means. InvalidURI for what is no child of the node, as asked for or as it really stands. */
async function childName(space: Space, request: FastifyRequest, path: NodePath, uri: string): Promise<string> {
  const child = localPath(space.service, uri)
  if (child !== '/') {
    if (parentOf(child) === path) return nameOf(child)
    // through a link the listing shows where its nodes really stand
    const node = await getNode(space, request.caller, path)
    if (parentOf(child) === node.path) return nameOf(child)
  }
  throw new Fault('InvalidURI', `${uri} is not a child of ${nodeUri(space.service, path)}`)
}

/** The document must speak of the node of the URL; both separators and both spellings of a name are one. */
function checkSameNode(document: NodeDocument, path: NodePath, service: Service, fault: FaultName): void {
  if (localPath(service, document.uri) === path) return
  throw new Fault(fault, `the document is of ${document.uri}, the URL of ${nodeUri(service, path)}`)
}
