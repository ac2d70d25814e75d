/**
 * Signature Version 4 for HTTP sinks that write to AWS.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 */
import { createHash } from 'node:crypto'
import * as z from 'zod'
import { escapeUri, type SigningKeys, SigV4 } from '../aws/sigv4.ts'
import { StreamError } from '../core/errors.ts'
import type { SignedRequest, Signer } from './http-endpoints.ts'

export const sigv4Auth = z.strictObject({
  type: z.literal('sigv4'),
  service: z
    .enum(['es', 'aoss'])
    .default('es')
    .meta({ description: '`es` for OpenSearch Service domains, `aoss` for OpenSearch Serverless.' }),
  region: z
    .string()
    .min(1)
    .optional()
    .meta({ description: 'AWS region; without it the host name of the endpoint says, or AWS_REGION.' }),
  role_arn: z.string().optional().meta({ description: 'Role to assume with the credentials found.' }),
  external_id: z.string().optional().meta({ description: 'External id for `role_arn`.' }),
})
export type Sigv4Config = z.output<typeof sigv4Auth>

interface AwsKeys extends SigningKeys {
  readonly expiration?: Date
}

/** Keys are fetched anew when they are about to end. */
const renewBeforeMs = 5 * 60_000

/** Signs requests to the endpoints. Throws config.invalid if the region of one is not known. */
export function createSigner(config: Sigv4Config, endpoints: readonly string[]): Signer {
  const credentials = awsKeys(config)
  const signers = new Map<string, SigV4>()
  for (const endpoint of endpoints) {
    const { host } = new URL(endpoint)
    const region = regionOf(config, host)
    signers.set(host, new SigV4({ service: config.service, region }))
  }
  return async (request) => {
    const signer = signers.get(request.url.host)
    if (!signer) throw new StreamError('config.invalid', `no region is known for ${request.url.host}`)
    return signed(signer, request, await credentials())
  }
}

/**
 * Only what AWS needs is signed: proxies may touch other headers, and OpenSearch Serverless refuses a signed
 * Content-Length. https://docs.aws.amazon.com/opensearch-service/latest/developerguide/serverless-clients.html
 */
function signed(signer: SigV4, { method, url, headers, body }: SignedRequest, keys: SigningKeys) {
  const payload = hashOf(body)
  const own = { host: url.host, 'x-amz-content-sha256': payload }
  const proof = signer.sign(
    { method, path: canonicalPath(url), query: canonicalQuery(url), headers: own, payload },
    keys,
    Date.now(),
  )
  return { ...headers, ...proof }
}

/** All services but S3 escape what is escaped already once more, after `//`, `/./` and `/../` are resolved. */
function canonicalPath({ pathname }: URL): string {
  return pathname
    .replaceAll(/\/{2,}/g, '/')
    .split('/')
    .map(escapeUri)
    .join('/')
}

function canonicalQuery({ searchParams }: URL): string {
  return [...searchParams]
    .map(([name, value]) => [escapeUri(name), escapeUri(value)] as const)
    .sort(([a, x], [b, y]) => (a === b ? order(x, y) : order(a, b)))
    .map(([name, value]) => `${name}=${value}`)
    .join('&')
}

function order(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}

function hashOf(body: SignedRequest['body']): string {
  const hash = createHash('sha256')
  for (const piece of Array.isArray(body) ? body : [body ?? '']) hash.update(piece)
  return hash.digest('hex')
}

/** Hosts: `search-x.eu-west-1.es.amazonaws.com`, `x.eu-west-1.aoss.amazonaws.com`, also `.on.aws` and `.amazonaws.com.cn`. */
function regionOf(config: Sigv4Config, host: string): string {
  const named = /\.([a-z]{2}(?:-[a-z]+)+-\d+)\.(?:es|aoss)\.(?:amazonaws\.com|on\.aws)/.exec(host)?.[1]
  const region = config.region ?? named ?? process.env.AWS_REGION ?? process.env.AWS_DEFAULT_REGION
  if (region !== undefined && region !== '') return region
  throw new StreamError('config.invalid', `cannot sign requests for ${host}: no region (set \`auth.region\`)`)
}

/** The keys of the SDK's own chain, or of the role; asked for once, however many requests wait, and renewed before they end. */
function awsKeys({ role_arn, external_id, region }: Sigv4Config): () => Promise<AwsKeys> {
  let current: AwsKeys | undefined
  let asking: Promise<AwsKeys> | undefined
  const load = async (): Promise<AwsKeys> => {
    try {
      // Loaded only where requests are signed: it brings a client for every way there is to log in.
      const { fromNodeProviderChain, fromTemporaryCredentials } = await import('@aws-sdk/credential-providers')
      const requestHandler = { connectionTimeout: 10_000, requestTimeout: 30_000, throwOnRequestTimeout: true }
      const clientConfig = { clientConfig: { requestHandler, ...(region === undefined ? {} : { region }) } }
      if (role_arn === undefined) return await fromNodeProviderChain(clientConfig)()
      const ExternalId = external_id === undefined ? {} : { ExternalId: external_id }
      const params = { RoleArn: role_arn, RoleSessionName: 's3-streamer', ...ExternalId }
      return await fromTemporaryCredentials({ params, ...clientConfig })()
    } catch (error) {
      const hint =
        role_arn === undefined
          ? 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or run with an instance role'
          : 'the credentials found must be allowed to sts:AssumeRole'
      const who = role_arn === undefined ? 'credentials' : `credentials of ${role_arn}`
      throw new StreamError('sink.access', `cannot get AWS ${who} (${hint})`, { cause: error })
    }
  }
  return async () => {
    const endsMs = current?.expiration?.getTime() ?? Number.POSITIVE_INFINITY
    if (current && endsMs - Date.now() > renewBeforeMs) return current
    asking ??= load().finally(() => {
      asking = undefined
    })
    current = await asking
    return current
  }
}
