/** A gateway in a process of its own over an S3 server, with a proxy in between. */
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PutObjectCommand } from '@aws-sdk/client-s3'
import { bucketOf, clientOf, type S3Place } from '../conformance/s3-bucket.ts'
import { Quickstart, request, run, type Answer, type Asking, type Ended } from './running.ts'
import { Serving } from './serving.ts'

const MIB = 2 ** 20

interface Written {
  service: { url: string }
  backends: Record<string, unknown>
  namespace: { path: string; backend: string }[]
  administrators?: string[]
  allocations: string[]
}

/** `/objects` is kept in the bucket, and bob is an administrator. */
export class Site {
  readonly prefix = `site${process.pid}-${randomBytes(3).toString('hex')}/`
  readonly survey = `survey${randomBytes(3).toString('hex')}/`
  readonly place: S3Place
  readonly #karst = new Quickstart(['--no-mount'])
  #served: Serving | undefined
  #people: Readonly<Record<string, { readonly proxy: string } | undefined>> = {}
  #ca = ''

  /** as the gateway reaches the server */
  readonly endpoint: string

  constructor(place: S3Place, endpoint: string) {
    this.place = place
    this.endpoint = endpoint
  }

  get pid(): number {
    return this.#served?.pid ?? 0
  }

  /** PEM files: of the CA, and of a user. */
  credential(user: string): { readonly ca: string; readonly proxy: string } {
    return { ca: this.#ca, proxy: this.#people[user]?.proxy ?? '' }
  }

  get file(): string {
    return join(this.#karst.state, 'config.json')
  }

  get url(): string {
    return (JSON.parse(readFileSync(this.file, 'utf8')) as Written).service.url
  }

  /** Everything but the gateway itself. */
  async prepare(): Promise<void> {
    const report = await this.#karst.start()
    this.#ca = report.ca
    this.#people = report.users
    await this.#karst.stop()
    const { accessKeyId, secretAccessKey, bucket } = this.place
    writeFileSync(join(this.#karst.state, 's3.json'), JSON.stringify({ accessKeyId, secretAccessKey }))
    const config = JSON.parse(readFileSync(this.file, 'utf8')) as Written
    const of = { endpoint: this.endpoint, bucket, prefix: this.prefix, credentials: 's3.json' }
    config.backends['objects'] = {
      type: 's3',
      ...of,
      attempts: 2,
      timeout: 5,
      partBytes: 5 * MIB,
      graceSeconds: 0,
      presigned: { pull: true, push: true, seconds: 4 },
    }
    config.namespace.push({ path: '/objects', backend: 'objects' })
    config.administrators = ['bob']
    config.allocations.push('/objects')
    writeFileSync(this.file, JSON.stringify(config))
  }

  /** Bytes that the gateway has read and written so far, sockets and all (proc_pid_io(5)). */
  get moved(): number {
    const text = readFileSync(`/proc/${this.pid}/io`, 'latin1')
    return ['rchar', 'wchar'].reduce((sum, name) => sum + Number(new RegExp(`${name}: (\\d+)`).exec(text)?.[1]), 0)
  }

  async serve(): Promise<void> {
    this.#served = await Serving.start(this.file)
  }

  async stop(signal?: NodeJS.Signals): Promise<void> {
    await this.#served?.stop(signal)
  }

  async dispose(): Promise<void> {
    await this.stop()
    await this.#karst.dispose()
  }

  ask(user: string, path: string, asking: Asking = {}): Promise<Answer> {
    return request(this.url + path, this.#ca, this.#people[user]?.proxy ?? '', asking)
  }

  karst(user: string, ...words: string[]): Promise<Ended> {
    const asking = ['--url', this.url, '--ca', this.#ca, '--certificate', this.#people[user]?.proxy ?? '']
    return run('bin/karst', [...words, ...asking])
  }

  /** Keys of ours that begin so. */
  async bucketObjects(name: string): Promise<string[]> {
    const bucket = bucketOf(this.place)
    const keys: string[] = []
    for await (const page of bucket.list(this.prefix + name)) keys.push(...page.map(({ key }) => key))
    bucket.close()
    return keys
  }

  check(...words: string[]): Promise<Ended> {
    return run('bin/karst', ['check', '--config', this.file, ...words])
  }
}

/** Objects that others have put there, some at a time. */
export async function plant(place: S3Place, keys: readonly string[]): Promise<void> {
  const client = clientOf(place)
  const queue = keys.values()
  const work = async (): Promise<void> => {
    for (const Key of queue) {
      const Body = Key.endsWith('/') ? '' : 'x'
      await client.send(new PutObjectCommand({ Bucket: place.bucket, Key, Body, ContentLength: Body.length }))
    }
  }
  await Promise.all(Array.from({ length: 16 }, work))
  client.destroy()
}
