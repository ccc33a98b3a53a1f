/**
 * The posix-mapper contract (auth.md D3). `GET /posix/uid[?user=|uid=]` and `/posix/gid[?group=|gid=]`, repeatable: `name TAB uid TAB gid` and
 * `URI TAB gid` as text/tab-separated-values, else lines of passwd and group; without a parameter everybody. Of those asked for, who is unknown is
 * left out, and 404 when nobody is known. Ours: `own=true`, what is the caller's own.
 */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { writeCapabilities } from '../codec/vosi.ts'
import {
  type Numbered,
  type NumbersAsked,
  POSIX_GROUPS,
  POSIX_USERS,
  type PosixMapping,
} from '../identity/posix-mapping.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { groupName } from '../vospace/group.ts'
import { answer, answerHead, endpoint, takeOver, TEXT, XML } from './endpoint.ts'
import { type HttpContext } from './services.ts'
import { parametersOf } from './target.ts'
import { signedOn } from './vosi.ts'

const TABLE = 'text/tab-separated-values'

/** How one line of each kind is written. */
const LINES = {
  user: {
    [TABLE]: ([name, uid]: Numbered) => `${name}\t${uid}\t${uid}\n`,
    [TEXT]: ([name, uid]: Numbered) => `${name}:x:${uid}:${uid}:::\n`,
  },
  group: {
    [TABLE]: ([uri, gid]: Numbered) => `${uri}\t${gid}\n`,
    [TEXT]: ([uri, gid]: Numbered) => `${groupName(uri)?.name ?? uri}:x:${gid}:\n`,
  },
} as const

/** Characters of what is written at a time. */
const PIECE = 1 << 15

export function posix(app: FastifyInstance, { services, base }: HttpContext): void {
  const { mapping } = services
  if (mapping === undefined) return
  const at = (path: string, kind: 'user' | 'group', names: string, numbers: string): void => {
    const tell = async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> =>
      send(request, reply, kind, rowsOf(mapping, kind, request.caller, askedIn(request, names, numbers)))
    endpoint(app, `${base}/posix/${path}`, { GET: tell, HEAD: tell })
  }
  at('uid', 'user', 'user', 'uid')
  at('gid', 'group', 'group', 'gid')
  const capabilities = async (_request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const { publicUrl } = services
    const open = { securityMethods: [] }
    const document = writeCapabilities([
      { ...open, standardId: 'ivo://ivoa.net/std/VOSI#capabilities', url: `${publicUrl}/posix/capabilities` },
      { ...open, standardId: 'ivo://ivoa.net/std/VOSI#availability', url: `${publicUrl}/availability` },
      { standardId: POSIX_USERS, url: `${publicUrl}/posix/uid`, securityMethods: signedOn(services) },
      { standardId: POSIX_GROUPS, url: `${publicUrl}/posix/gid`, securityMethods: signedOn(services) },
    ])
    return answer(reply, 200, XML, document)
  }
  endpoint(app, `${base}/posix/capabilities`, { GET: capabilities, HEAD: capabilities }, { open: true })
}

const rowsOf = (mapping: PosixMapping, kind: 'user' | 'group', caller: Caller, asked: NumbersAsked) =>
  kind === 'user' ? mapping.users(caller, asked) : mapping.groups(caller, asked)

function askedIn(request: FastifyRequest, names: string, numbers: string): NumbersAsked {
  const parameters = parametersOf(request.raw)
  return {
    names: parameters.all(names),
    numbers: parameters.all(numbers).map((text) => {
      if (/^\d{1,10}$/.test(text)) return Number(text)
      throw new Fault('InvalidArgument', `${numbers} is a number, not ${text.slice(0, 50)}`)
    }),
    own: parameters.get('own') === 'true',
  }
}

/** Piece by piece: a whole map may be of hundreds of thousands. */
async function send(
  request: FastifyRequest,
  reply: FastifyReply,
  kind: 'user' | 'group',
  rows: Iterable<Numbered>,
): Promise<unknown> {
  const type = wantsTable(request.headers.accept) ? TABLE : TEXT
  const headers = { 'Content-Type': type, 'Cache-Control': 'private, no-cache', Vary: 'Accept' }
  if (request.method === 'HEAD') return answerHead(reply, 200, headers)
  const raw = takeOver(reply, 200, headers)
  try {
    await pipeline(Readable.from(pieces(rows, LINES[kind][type]), { objectMode: true }), raw)
  } catch (error) {
    // the last piece never comes: the client sees that it does not have the whole
    reply.log.info({ reason: String(error) }, 'a map was cut')
    raw.destroy()
  }
  return reply
}

function* pieces(rows: Iterable<Numbered>, line: (row: Numbered) => string): Generator<string> {
  let piece = ''
  for (const row of rows) {
    piece += line(row)
    if (piece.length < PIECE) continue
    yield piece
    piece = ''
  }
  if (piece !== '') yield piece
}

const wantsTable = (accept = ''): boolean =>
  accept.split(',').some((range) => {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase())
    return type === TABLE && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter))
  })
