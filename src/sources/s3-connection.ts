/** Everything that speaks S3 starts here: the keys of the configuration, the client, and what its errors mean. */
import { S3Client, S3ServiceException } from '@aws-sdk/client-s3'
import * as z from 'zod'
import { explainError, StreamError } from '../core/errors.ts'

/** The keys every AWS client of ours has; what is left out comes from the SDK's own chain (environment, profile, role). */
export const awsFields = {
  region: z.string().min(1).optional().meta({ description: 'AWS region; without it AWS_REGION or the profile says.' }),
  endpoint: z
    .url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' })
    .optional()
    .meta({ description: 'URL of an S3-compatible server instead of AWS.' }),
  force_path_style: z
    .boolean()
    .optional()
    .meta({ description: 'Put the bucket in the path, not in the host name. Default: true if `endpoint` is set.' }),
  role_arn: z.string().optional().meta({ description: 'Role to assume with the credentials found.' }),
  external_id: z.string().optional().meta({ description: 'External id for `role_arn`.' }),
}

export interface AwsConfig {
  readonly region?: string | undefined
  readonly endpoint?: string | undefined
  readonly force_path_style?: boolean | undefined
  readonly role_arn?: string | undefined
  readonly external_id?: string | undefined
}

/** The `credentials` of a client that assumes a role, nothing if none is configured. */
export function assumedRole({ role_arn: RoleArn, external_id: ExternalId }: AwsConfig) {
  if (RoleArn === undefined) return {}
  return {
    // Loaded only where a role is assumed: it brings a client for every way there is to log in.
    credentials: async () => {
      const { fromTemporaryCredentials } = await import('@aws-sdk/credential-providers')
      return await fromTemporaryCredentials({
        params: {
          RoleArn,
          RoleSessionName: 's3-streamer',
          ...(ExternalId === undefined ? {} : { ExternalId }),
        },
      })()
    },
  }
}

/** A client for `connections` requests at once. */
export function createS3Client(config: AwsConfig, connections: number): S3Client {
  const region = config.region ?? (config.endpoint === undefined ? undefined : (process.env.AWS_REGION ?? 'us-east-1'))
  return new S3Client({
    ...(region === undefined ? {} : { region }),
    ...(config.endpoint === undefined ? {} : { endpoint: config.endpoint }),
    forcePathStyle: config.force_path_style ?? config.endpoint !== undefined,
    followRegionRedirects: true,
    ...assumedRole(config),
    // A part of an object cannot be compared with the checksum of the whole, and S3-compatible servers trip over it.
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestChecksumCalculation: 'WHEN_REQUIRED',
    maxAttempts: 3,
    requestHandler: {
      connectionTimeout: 10_000,
      requestTimeout: 30_000,
      throwOnRequestTimeout: true,
      httpAgent: { keepAlive: true, maxSockets: connections },
      httpsAgent: { keepAlive: true, maxSockets: connections },
    },
  })
}

const accessNames = new Set([
  'AccessDenied',
  'AllAccessDisabled',
  'AccountProblem',
  'ExpiredToken',
  'Forbidden',
  'InvalidAccessKeyId',
  'InvalidBucketName',
  'InvalidToken',
  'NoSuchBucket',
  'NotSignedUp',
  'RequestTimeTooSkewed',
  'SignatureDoesNotMatch',
  'UnauthorizedAccess',
  'CredentialsProviderError',
  'TokenProviderError',
])

const hints: Record<string, string> = {
  AccessDenied:
    'the credentials need s3:ListBucket on the bucket and s3:GetObject on its objects (kms:Decrypt too if encrypted)',
  CredentialsProviderError: 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or run with an instance role',
  ExpiredToken: 'renew the session credentials',
  InvalidAccessKeyId: 'check AWS_ACCESS_KEY_ID',
  NoSuchBucket: 'check the bucket name and the endpoint',
  PermanentRedirect: 'the bucket is in another region: set `region` to it',
  RequestTimeTooSkewed: 'set the clock of this machine',
  SignatureDoesNotMatch: 'check AWS_SECRET_ACCESS_KEY and `region`',
}

/**
 * What an error of the SDK means for us. `what` names the request and its target.
 * Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 */
export function s3Error(error: unknown, what: string): StreamError {
  if (error instanceof StreamError) return error
  const name = error instanceof Error ? error.name : 'Error'
  const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined
  const because = (hint: string | undefined) => {
    const text = explainError(error)
    const named = text.includes(name) || name === 'Error' ? text : `${name}: ${text}`
    return `cannot ${what}: ${status === undefined ? '' : `${status} `}${named}${hint === undefined ? '' : ` (${hint})`}`
  }
  const data = { status, name }
  if (name === 'NoSuchBucket') return new StreamError('source.access', because(hints[name]), { cause: error, data })
  if (name === 'NoSuchKey' || name === 'NotFound' || status === 404) {
    return new StreamError('source.vanished', because('it is not there any more'), { cause: error, data })
  }
  if (name === 'PreconditionFailed' || status === 412) {
    return new StreamError('source.replaced', because('it was overwritten meanwhile'), { cause: error, data })
  }
  if (name === 'InvalidObjectState') {
    const hint = 'archived in Glacier or Deep Archive: restore it, then `s3-streamer quarantine requeue`'
    return new StreamError('source.archived', because(hint), { cause: error, data })
  }
  if (name === 'PermanentRedirect' || name === 'AuthorizationHeaderMalformed' || status === 301) {
    return new StreamError('source.access', because(hints.PermanentRedirect), { cause: error, data })
  }
  if (accessNames.has(name) || (error instanceof Error && /region is missing/i.test(error.message))) {
    return new StreamError('source.access', because(hints[name]), { cause: error, data })
  }
  if (status !== undefined && status >= 400 && status < 500 && status !== 408 && status !== 429) {
    // A request of ours that the server will refuse again; the object is kept and tried by later scans.
    const hint = status === 401 || status === 403 ? hints.AccessDenied : undefined
    return new StreamError('source.access', because(hint), { cause: error, data })
  }
  return new StreamError('source.unavailable', because(undefined), {
    cause: error,
    data,
    retryAfterMs: retryAfterMs(error),
  })
}

/** What an error of a list means: there is no object that could have vanished, so the place is wrong. */
export function s3ListError(error: unknown, bucket: string, prefix: string): StreamError {
  const known = s3Error(error, `list s3://${bucket}/${prefix}`)
  if (known.kind !== 'permanent') return known
  const { status } = known.data
  return new StreamError(
    'source.access',
    `cannot list s3://${bucket}/${prefix}: the server answers ${status ?? known.code} (check the bucket name, and that the endpoint speaks S3)`,
    { cause: known.cause, data: known.data },
  )
}

function retryAfterMs(error: unknown): number | undefined {
  if (!(error instanceof S3ServiceException)) return undefined
  const header: unknown = error.$response?.headers?.['retry-after']
  const seconds = typeof header === 'string' ? Number(header) : Number.NaN
  return Number.isFinite(seconds) ? seconds * 1000 : undefined
}
