/** Transfer jobs as clients make, run and look at them. */
import { type Gateway, type Reply, VOS } from './gateway.ts'
import { type Name } from './people.ts'

export const CORE = 'ivo://ivoa.net/vospace/core#'
export const PUT = `<vos:protocol uri="${CORE}httpsput"/>`
export const GET = `<vos:protocol uri="${CORE}httpsget"/>`

export type Who = Name | 'nobody'
const by = (as: Who) => (as === 'nobody' ? {} : { as })

/** Absolute URIs stay as they are. */
const uri = (target: string): string => (target.startsWith('/') ? VOS + target : target)

export const document = (target: string, direction: string, inside = ''): string =>
  `<vos:transfer xmlns:vos="http://www.ivoa.net/xml/VOSpace/v2.0" version="2.1"><vos:target>${uri(target)}</vos:target>
  <vos:direction>${uri(direction)}</vos:direction>${inside}</vos:transfer>`

export const moveDocument = (from: string, to: string): string =>
  document(from, to, '<vos:keepBytes>false</vos:keepBytes>')
export const copyDocument = (from: string, to: string): string =>
  document(from, to, '<vos:keepBytes>true</vos:keepBytes>')

export class JobCalls {
  readonly #gateway: Gateway
  readonly #as: Who
  readonly #list: string

  constructor(gateway: Gateway, as: Who = 'alice', list = 'transfers') {
    this.#gateway = gateway
    this.#as = as
    this.#list = list
  }

  /** The reply to the creation. */
  post(body: string, query = ''): Promise<Reply> {
    return this.#gateway.call(`/${this.#list}${query}`, { method: 'POST', body, ...by(this.#as) })
  }

  /** URL of a new job. */
  async create(body: string): Promise<string> {
    const { headers, status, text } = await this.post(body)
    if (status !== 303 || headers.location === undefined) throw new Error(`no job: ${status} ${text}`)
    return headers.location
  }

  get(url: string): Promise<Reply> {
    return this.#gateway.call(url, by(this.#as))
  }

  form(url: string, body: string): Promise<Reply> {
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    return this.#gateway.call(url, { method: 'POST', body, headers, ...by(this.#as) })
  }

  async phase(job: string): Promise<string> {
    return (await this.get(`${job}/phase`)).text
  }

  /** Made, run and waited for: how it ended. */
  async done(body: string): Promise<{ job: string; phase: string; error: string; destinations: string[] }> {
    const job = await this.create(body)
    await this.form(`${job}/phase`, 'phase=RUN')
    // a negotiated transfer stays EXECUTING
    if (body.includes('<vos:direction>vos:')) await this.get(`${job}?WAIT=30`)
    const { text } = await this.get(job)
    const destinations = [...text.matchAll(/<uws:result id="destination" xlink:href="([^"]*)"/g)].map(
      ([, it = '']) => it,
    )
    const error = await this.get(`${job}/error`)
    return { job, phase: await this.phase(job), error: error.status === 200 ? error.text : '', destinations }
  }
}
