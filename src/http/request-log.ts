/** The line of a request in the log. */
import { type IncomingMessage, type ServerResponse } from 'node:http'
import { loggedOf } from './target.ts'

/** For when the response is closed; `started`: performance.now() at its beginning. */
export function requestLine(
  request: IncomingMessage,
  response: ServerResponse,
  user: string | undefined,
  started: number,
) {
  const { statusCode, writableFinished } = response
  const line = {
    method: request.method,
    target: loggedOf(request),
    status: statusCode,
    user: user ?? null,
    milliseconds: Math.round(performance.now() - started),
  }
  return writableFinished ? line : { ...line, cut: true }
}
