/**
 * Where the requests that carry data go, and how they are signed. Nobody but the SDK knows all there is about endpoints (virtual
 * hosts, dual-stack, FIPS, access points, settings of the environment), so it makes one request for us, which is never sent.
 */
import { PutObjectCommand, type S3Client, type S3ServiceException } from '@aws-sdk/client-s3'
import { SigV4 } from '../aws/sigv4.ts'

export interface S3Target {
  /** `https://data.s3.eu-west-1.amazonaws.com` */
  readonly origin: string
  /** As the Host header tells it. */
  readonly host: string
  /** What stands before the key: `/`, or `/bucket/`. */
  readonly path: string
  readonly signer: SigV4
  readonly userAgent: string
}

const someKey = 'k'

/**
 * `redirect` is an answer that names another region: the SDK is given it as the answer to its request, and asks there.
 * undefined if only the SDK knows how to sign (directory buckets have sessions). Throws what the SDK does if there are no credentials
 * or no region.
 */
export async function learnTarget(
  client: S3Client,
  bucket: string,
  redirect?: S3ServiceException,
): Promise<S3Target | undefined> {
  const command = new PutObjectCommand({ Bucket: bucket, Key: someKey, Body: Buffer.alloc(0) })
  let toThrow = redirect
  let made: MadeRequest | undefined
  command.middlewareStack.add(
    () => async (args) => {
      const thrown = toThrow
      toThrow = undefined
      if (thrown) throw thrown
      made = args.request as MadeRequest
      return { response: undefined, output: { $metadata: {} } }
    },
    { step: 'finalizeRequest', priority: 'low', name: 'neverSent' },
  )
  await client.send(command)
  if (!made?.path.endsWith(`/${someKey}`)) return undefined
  const { headers, protocol, hostname, port, path } = made
  const scope = /^AWS4-HMAC-SHA256 Credential=[^,]+\/\d{8}\/([^/]+)\/([^/]+)\/aws4_request,/.exec(
    headers.authorization ?? '',
  )
  const [, region, service] = scope ?? []
  if (region === undefined || service === undefined || headers['x-amz-s3session-token'] !== undefined) return undefined
  return {
    origin: `${protocol}//${hostname}${port === undefined ? '' : `:${port}`}`,
    host: headers.host ?? hostname,
    path: path.slice(0, -someKey.length),
    signer: new SigV4({ region, service }),
    userAgent: headers['user-agent'] ?? '',
  }
}

interface MadeRequest {
  readonly protocol: string
  readonly hostname: string
  readonly port?: number
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
}
