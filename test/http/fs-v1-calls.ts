/** Calls of the mount API, as alice unless somebody else is named. */
import { type EntryJson } from '../../src/codec/fs-v1.ts'
import { type Name } from './people.ts'
import { type Call, type Gateway, operation, type Reply } from './gateway.ts'

export const A = '/home/alice'

/** POST of a JSON call. */
export const post = (
  gateway: Gateway,
  call: string,
  document: unknown,
  more: { as?: Name; id?: string } = {},
): Promise<Reply> =>
  gateway.call(`/fs/v1/${call}`, {
    method: 'POST',
    as: more.as ?? 'alice',
    headers: operation(more.id),
    body: typeof document === 'string' ? document : JSON.stringify(document),
  })

export const put = (
  gateway: Gateway,
  query: string,
  body: string | Buffer,
  headers: Call['headers'] = {},
): Promise<Reply> =>
  gateway.call(`/fs/v1/data?path=${query}`, {
    method: 'PUT',
    as: 'alice',
    headers: { ...operation(), ...headers },
    body,
  })

export const get = (gateway: Gateway, call: string, headers = {}, as: Name = 'alice'): Promise<Reply> =>
  gateway.call(`/fs/v1/${call}`, { as, headers })

export const entryIn = ({ text }: Reply): EntryJson => JSON.parse(text) as EntryJson

/** What a refusal of that status says. */
export const refusal = (status: number, fault: string, errno: string) => ({
  status,
  headers: { 'content-type': 'application/json' },
  text: new RegExp(`^{"fault":"${fault}","errno":"${errno}","detail":"`),
})
