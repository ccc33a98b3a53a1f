/**
 * `/groups`, as JSON. `GET`: `{groups: [...]}`, the caller's own (`?all=true`: every one). `POST {name, owner?, description?, expires?}` makes one.
 * `GET`, `PATCH {owner?, description?, expires?}` and `DELETE /groups/NAME`; `PUT {expires?}` and `DELETE /groups/NAME/members/USER`,
 * `/groups/NAME/groups/NAME`, and without `expires` `/groups/NAME/admins/USER`. A name with `/` is percent-encoded; a time is ISO 8601 in
 * UTC; null: none any more.
 */
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { type GroupRules, type GroupView } from '../identity/groups.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { answer, answerHead, endpoint, type Handler } from './endpoint.ts'
import { Fields } from './json-body.ts'
import { JSON_TYPE } from './operation.ts'
import { readBody } from './request-body.ts'
import { type HttpContext } from './services.ts'
import { parametersOf, targetOf } from './target.ts'

type Method = 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE'

export function groups(app: FastifyInstance, context: HttpContext): void {
  const { groups: rules } = context.services
  if (rules === undefined) return
  const handler: Handler = async (request, reply) => {
    const [name, kind, member, ...more] = stepsOf(targetOf(request.raw).rest)
    const call: Call = { context, rules, caller: request.caller, request, reply }
    if (name === undefined) return methodOf(request, COLLECTION)(call)
    if (kind === undefined) return methodOf(request, GROUP)(call, name)
    const change = kind === 'members' || kind === 'admins' || kind === 'groups' ? CHANGES[kind] : undefined
    if (change === undefined || member === undefined || more.length > 0) throw nothingThere(request)
    return change[methodName(request, ['PUT', 'DELETE'])](call, name, member)
  }
  endpoint(app, `${context.base}/groups`, {
    GET: handler,
    POST: handler,
    PATCH: handler,
    PUT: handler,
    DELETE: handler,
  })
}

interface Call {
  readonly context: HttpContext
  readonly rules: GroupRules
  readonly caller: Caller
  readonly request: FastifyRequest
  readonly reply: FastifyReply
}

const COLLECTION: Partial<Record<Method, (call: Call) => Promise<unknown>>> = {
  GET: async ({ rules, caller, request, reply }) => {
    const all = parametersOf(request.raw).get('all') === 'true'
    const list = rules.list(caller, all).map((view) => documentOf(view, Date.now()))
    return answer(reply, 200, JSON_TYPE, JSON.stringify({ groups: list }))
  },
  POST: async (call) => {
    const { rules, caller, reply, context } = call
    const given = await fieldsOf(call, ['name', 'owner', 'description', 'expires'])
    const view = rules.create(caller, given.requiredText('name'), aboutIn(given))
    reply.header('Location', `${context.services.publicUrl}/groups/${encodeURIComponent(view.name)}`)
    return answer(reply, 201, JSON_TYPE, JSON.stringify(documentOf(view, Date.now())))
  },
}

const GROUP: Partial<Record<Method, (call: Call, name: string) => Promise<unknown>>> = {
  GET: async ({ rules, caller, reply }, name) =>
    answer(reply, 200, JSON_TYPE, JSON.stringify(documentOf(rules.show(caller, name), Date.now()))),
  PATCH: async (call, name) => {
    const given = await fieldsOf(call, ['owner', 'description', 'expires'])
    const view = call.rules.amend(call.caller, name, aboutIn(given))
    return answer(call.reply, 200, JSON_TYPE, JSON.stringify(documentOf(view, Date.now())))
  },
  DELETE: async ({ rules, caller, reply }, name) => {
    rules.delete(caller, name)
    return answerHead(reply, 204, {})
  },
}

type Change = (call: Call, name: string, member: string) => Promise<unknown>

const CHANGES: Readonly<Record<'members' | 'admins' | 'groups', { readonly PUT: Change; readonly DELETE: Change }>> = {
  members: {
    PUT: async (call, name, user) => {
      const expires = timeIn(await fieldsOf(call, ['expires']))
      call.rules.add(call.caller, name, user, expires ?? undefined)
      return answerHead(call.reply, 204, {})
    },
    DELETE: async ({ rules, caller, reply }, name, user) => {
      rules.remove(caller, name, user)
      return answerHead(reply, 204, {})
    },
  },
  admins: {
    PUT: async (call, name, user) => {
      await fieldsOf(call, [])
      call.rules.addAdmin(call.caller, name, user)
      return answerHead(call.reply, 204, {})
    },
    DELETE: async ({ rules, caller, reply }, name, user) => {
      rules.removeAdmin(caller, name, user)
      return answerHead(reply, 204, {})
    },
  },
  groups: {
    PUT: async (call, name, inner) => {
      const expires = timeIn(await fieldsOf(call, ['expires']))
      call.rules.nest(call.caller, name, inner, expires ?? undefined)
      return answerHead(call.reply, 204, {})
    },
    DELETE: async ({ rules, caller, reply }, name, inner) => {
      rules.unnest(caller, name, inner)
      return answerHead(reply, 204, {})
    },
  },
}

/** What is not for the caller is not in it. */
function documentOf({ uri, name, role, group, roll }: GroupView, now: number): object {
  const memberships = (list: readonly { readonly member: string; readonly expires?: number }[]): object[] =>
    list.map(({ member, expires }) => ({ name: member, ...ending(expires, now) }))
  return {
    uri,
    name,
    ...(role !== undefined && { role }),
    ...(group !== undefined && {
      owner: group.owner,
      gid: group.gid,
      ...(group.description !== undefined && { description: group.description }),
      ...ending(group.expires, now),
    }),
    ...(roll !== undefined && {
      admins: roll.admins,
      members: memberships(roll.users),
      groups: memberships(roll.groups),
    }),
  }
}

const ending = (expires: number | undefined, now: number): object =>
  expires === undefined ? {} : { expires: new Date(expires).toISOString(), ...(expires <= now && { expired: true }) }

/** Each decoded once. InvalidURI: empty ones, and what is not UTF-8. */
function stepsOf(rest: string): string[] {
  if (rest === '' || rest === '/') return []
  return rest
    .slice(1)
    .split('/')
    .map((step) => {
      try {
        if (step !== '') return decodeURIComponent(step)
      } catch (error) {
        throw new Fault('InvalidURI', `not percent-encoded UTF-8: ${step.slice(0, 100)}`, { cause: error })
      }
      throw new Fault('InvalidURI', 'an empty name')
    })
}

function methodName<M extends Method>({ method }: FastifyRequest, allowed: readonly M[]): M {
  const found = allowed.find((one) => one === method)
  if (found === undefined) throw new Fault('MethodNotAllowed', `${method} here; there is ${allowed.join(', ')}`)
  return found
}

function methodOf<T>(request: FastifyRequest, table: Partial<Record<Method, T>>): T {
  const found = table[methodName(request, Object.keys(table) as Method[])]
  if (found === undefined) throw nothingThere(request)
  return found
}

const nothingThere = ({ raw }: FastifyRequest): Fault =>
  new Fault('NodeNotFound', `there is nothing at /groups${targetOf(raw).rest.slice(0, 300)}`)

/** An empty body says nothing. */
async function fieldsOf({ request, reply, context }: Call, allowed: readonly string[]): Promise<Fields> {
  const { limits } = context
  const body = await readBody(request.raw, reply.raw, { limit: limits.json, timeout: limits.documentTimeout })
  return new Fields(body.length === 0 ? Buffer.from('{}') : body, allowed)
}

function aboutIn(given: Fields) {
  const owner = given.text('owner')
  const description = given.isNull('description') ? null : given.text('description')
  const expires = timeIn(given)
  return {
    ...(owner !== undefined && { owner }),
    ...(description !== undefined && { description }),
    ...(expires !== undefined && { expires }),
  }
}

/** Milliseconds since 1970; null when it is to be none. InvalidArgument. */
function timeIn(given: Fields): number | null | undefined {
  if (given.isNull('expires')) return null
  const text = given.text('expires')
  if (text === undefined) return undefined
  const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?Z$/.test(text) ? Date.parse(text) : NaN
  if (Number.isNaN(time))
    throw new Fault('InvalidArgument', `expires is a time as 2030-01-31T00:00:00Z, not ${text.slice(0, 50)}`)
  return time
}
