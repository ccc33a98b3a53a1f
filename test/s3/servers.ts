/** The S3 servers that test/services/s3-servers has started; without it, why the tests are skipped. */
import { CreateBucketCommand } from '@aws-sdk/client-s3'
import { clientOf, type S3Place } from '../conformance/s3-bucket.ts'

const { KARST_S3_SERVERS = '', KARST_S3_KEY = '', KARST_S3_SECRET = '', KARST_RADOSGW_ADMIN } = process.env

export interface S3Server extends S3Place {
  readonly name: string
}

/** Each with a bucket of this process, which is made when it is first asked for. */
export const SERVERS: readonly S3Server[] = KARST_S3_SERVERS.split(' ').flatMap((text) => {
  const [name, endpoint] = text.split('=')
  if (name === undefined || endpoint === undefined) return []
  const bucket = `karst-${process.pid}`
  return [{ name, endpoint, accessKeyId: KARST_S3_KEY, secretAccessKey: KARST_S3_SECRET, bucket }]
})

/** For `skip`. */
export const NO_SERVERS: string | false = SERVERS.length > 0 ? false : 'needs S3 servers (npm run test:s3 starts them)'

/** The command that administers the first server, in words. */
export const RADOSGW_ADMIN: readonly string[] | undefined = KARST_RADOSGW_ADMIN?.split(' ')

export async function makeBucket(server: S3Server): Promise<void> {
  const client = clientOf(server)
  await client.send(new CreateBucketCommand({ Bucket: server.bucket }))
  client.destroy()
}
