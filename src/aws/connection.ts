/** Everything that speaks to AWS, or to what speaks like it, starts here: the keys of the configuration, credentials, the S3 client. */
import { S3Client, S3ServiceException } from '@aws-sdk/client-s3'
import * as z from 'zod'
import { explainError } from '../core/errors.ts'

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

export interface S3ClientOptions {
  /** Longest time in which nothing of a request or its answer moves, in ms; without it, 30 s for all of them. */
  readonly idleMs?: number
  /** How often the SDK itself tries a request; 1 where the caller tries again. */
  readonly maxAttempts?: number
}

/** A client for `connections` requests at once. */
export function createS3Client(
  config: AwsConfig,
  connections: number,
  { idleMs, maxAttempts = 3 }: S3ClientOptions = {},
): S3Client {
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
    // It would make the SDK open a connection of its own for every large body, and wait there for the server.
    expectContinueHeader: false,
    maxAttempts,
    requestHandler: {
      connectionTimeout: 10_000,
      ...(idleMs === undefined ? { requestTimeout: 30_000 } : { socketTimeout: idleMs }),
      throwOnRequestTimeout: true,
      httpAgent: { keepAlive: true, maxSockets: connections },
      httpsAgent: { keepAlive: true, maxSockets: connections },
    },
  })
}

/** True if something answered that is no S3: a web page, a proxy. */
export function isForeignAnswer(error: unknown): boolean {
  return error instanceof Error && /XML parse error|Deserialization error/.test(error.message)
}

export const foreignAnswerAdvice =
  'check `endpoint`: is it the port for S3, and not that of the web console, and is there a proxy between?'

/** What an error of the SDK says, with its name; in place of what only programmers can use. */
export function s3ErrorText(error: unknown, name: string): string {
  const text = explainError(error)
  if (isForeignAnswer(error)) return 'what answers is no S3 server'
  // A HEAD has no body that could say more.
  if (text === 'UnknownError') return name
  return text.includes(name) || name === 'Error' ? text : `${name}: ${text}`
}

/** The wish of the server for the next attempt, in ms. */
export function retryAfterMs(error: unknown): number | undefined {
  if (!(error instanceof S3ServiceException)) return undefined
  const header: unknown = error.$response?.headers?.['retry-after']
  const seconds = typeof header === 'string' ? Number(header) : Number.NaN
  return Number.isFinite(seconds) ? seconds * 1000 : undefined
}
