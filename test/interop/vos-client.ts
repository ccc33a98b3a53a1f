/** The commands of the Python client `vos` as one user's, and a look at what they did that does not go through them. */
import { cpSync, appendFileSync, mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Test } from 'tap'
import { readNode } from '../../src/codec/node-reader.ts'
import { type NodeDocument } from '../../src/vospace/document.ts'
import { CADC, CORE } from '../../src/vospace/property.ts'
import { encodePath } from '../../src/vospace/uri.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { nodeDocument, run, type Answer, type Asking, type Ended, type Quickstart } from '../service/running.ts'
import { type PythonEnvironment } from './environment.ts'

const YEAR_2037 = 2_114_380_800

export const SPACE = 'vos://karst.local~karst'

/** One thing to be tried, with whichever credential. */
export interface Case {
  readonly name: string
  readonly run: (t: Test, vos: VosClient) => Promise<void>
}

export interface VosClientOptions {
  readonly python: PythonEnvironment
  readonly quickstart: Quickstart
  /** PEM file; empty: anonymous */
  readonly credential: string
  /** folder for its files and its HOME */
  readonly folder: string
  /** what it makes, it makes below this one */
  readonly home: string
}

/** What a node is to the standard's properties: the part of the URI after `#`. */
export type Properties = ReadonlyMap<string, string>

export class VosClient {
  readonly home: string
  readonly folder: string
  readonly #options: VosClientOptions
  readonly #env: Record<string, string>
  #made = 0

  constructor(options: VosClientOptions) {
    const { python, quickstart, folder, home } = options
    this.#options = options
    this.home = home
    this.folder = folder
    // the client keeps what it learned of services in HOME, trusts what certifi says, and looks at no other variable (wire.md 6.3)
    const packages = join(folder, 'python')
    mkdirSync(packages, { recursive: true })
    cpSync(python.certifi, join(packages, 'certifi'), { recursive: true })
    appendFileSync(join(packages, 'certifi', 'cacert.pem'), `\n${readFileSync(quickstart.report.ca, 'utf8')}`)
    this.#env = { HOME: folder, PYTHONPATH: packages, VOSPACE_WEBSERVICE: new URL(quickstart.report.url).host }
  }

  /** Runs `vls` and so on to its end, whatever that is. */
  async run(command: string, ...words: readonly string[]): Promise<Ended> {
    return this.runAs(this.#options.credential, command, ...words)
  }

  /** The same with another PEM file, or none. */
  async runAs(credential: string, command: string, ...words: readonly string[]): Promise<Ended> {
    const program = join(this.#options.python.bin, command)
    return run(program, ['--certfile', credential, ...words], { cwd: this.folder, env: this.#env })
  }

  /**
   * The same by a short name that a configuration file gives to the service. The client then asks no host for its registry: the answer is put
   * where it keeps such answers, with a time to come, so that it never asks again.
   */
  async runByName(config: string, command: string, ...words: readonly string[]): Promise<Ended> {
    const { python, quickstart, credential, folder } = this.#options
    const home = join(folder, 'by-name')
    const registry = join(home, '.config', 'cadc-registry')
    mkdirSync(registry, { recursive: true })
    const { resourceId, url } = quickstart.report
    writeFileSync(join(registry, 'resource-caps'), `${resourceId} = ${url}/capabilities\n`)
    utimesSync(join(registry, 'resource-caps'), YEAR_2037, YEAR_2037)
    const env = { HOME: home, PYTHONPATH: this.#env['PYTHONPATH'] ?? '', VOSPACE_CONFIG_FILE: config }
    return run(join(python.bin, command), ['--certfile', credential, ...words], { cwd: folder, env })
  }

  /** Runs it and expects it to end well; the lines it wrote. */
  async ok(t: Test, command: string, ...words: readonly string[]): Promise<string[]> {
    const { code, stdout, stderr } = await this.run(command, ...words)
    t.equal(code, 0, `${[command, ...words].join(' ')}: ${stderr}`)
    return stdout.split('\n').filter((line) => line.trim() !== '')
  }

  /** Runs it and expects it to fail with this exit code (undefined: any but 0), and to say so in these words. */
  async fails(t: Test, code: number | undefined, words: RegExp, ...command: [string, ...string[]]): Promise<void> {
    const ended = await this.run(...command)
    if (code === undefined) t.not(ended.code, 0, command.join(' '))
    else t.equal(ended.code, code, command.join(' '))
    t.match(ended.stderr + ended.stdout, words)
  }

  /** A container of its own for a case, by HTTP; its path. */
  async container(): Promise<string> {
    const path = `${this.home}/c${++this.#made}`
    await this.make(path)
    return path
  }

  async make(path: string, properties: Record<string, string> = {}, type = 'ContainerNode'): Promise<void> {
    const body = nodeDocument(this.uri(path), type, properties)
    await this.#sure(this.ask(`/nodes${encoded(path)}`, { method: 'PUT', body }), 201)
  }

  async put(path: string, body: string | Buffer = 'text\n'): Promise<void> {
    await this.#sure(this.ask(`/files${encoded(path)}`, { method: 'PUT', body }), 201)
  }

  /** Makes a group of alice's, if it is not there. */
  async group(name: string): Promise<void> {
    await this.#sure(this.ask('/groups', { method: 'POST', body: JSON.stringify({ name }) }), 201, 409)
  }

  /** The bytes as anybody else gets them. */
  async bytes(path: string): Promise<Buffer> {
    return (await this.#sure(this.ask(`/files${encoded(path)}`), 200, 204)).body
  }

  async document(path: string): Promise<NodeDocument> {
    return readNode((await this.#sure(this.ask(`/nodes${encoded(path)}?limit=0`), 200)).body)
  }

  async properties(path: string): Promise<Properties> {
    const { properties } = await this.document(path)
    return new Map(properties.map(({ uri, value }) => [shortened(uri), value ?? '']))
  }

  async exists(path: string): Promise<boolean> {
    const { status } = await this.#sure(this.ask(`/nodes${encoded(path)}?limit=0`), 200, 404)
    return status === 200
  }

  /** Names of the children, in the order of the listing. */
  async children(path: string): Promise<string[]> {
    const { body } = await this.#sure(this.ask(`/nodes${encoded(path)}`), 200)
    const uris = [...body.toString().matchAll(/<vos:node uri="([^"]*)"/g)].map(([, uri = '']) => uri)
    return uris.map((uri) => decodeURIComponent(uri.slice(uri.lastIndexOf('/') + 1).replaceAll('&amp;', '&')))
  }

  async ask(path: string, asking: Asking = {}): Promise<Answer> {
    return this.#options.quickstart.ask('alice', path, asking)
  }

  uri(path: string): string {
    return SPACE + path
  }

  async #sure(asked: Promise<Answer>, ...statuses: number[]): Promise<Answer> {
    const answer = await asked
    if (!statuses.includes(answer.status)) throw new Error(`${answer.status}: ${answer.body.toString()}`)
    return answer
  }
}

const encoded = (path: string): string => encodePath(nodePath(path))

function shortened(uri: string): string {
  for (const prefix of [CORE, CADC]) if (uri.startsWith(prefix)) return uri.slice(prefix.length)
  return uri
}
