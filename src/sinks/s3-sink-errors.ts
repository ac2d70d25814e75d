/** What the errors of S3 mean for writing. */
import { S3ServiceException } from '@aws-sdk/client-s3'
import { foreignAnswerAdvice, isForeignAnswer, retryAfterMs, s3ErrorText } from '../aws/connection.ts'
import { type ErrorCode, StreamError } from '../core/errors.ts'

type Meaning = readonly [code: ErrorCode, advice?: string]

const writeRights =
  'the credentials need s3:PutObject and s3:AbortMultipartUpload below the key, s3:ListMultipartUploadParts to resume and s3:GetObject to verify; s3:PutObjectTagging with tags; kms:GenerateDataKey and kms:Decrypt with a KMS key'
const clientKeys =
  'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or run with an instance role; check `role_arn`'
const region = 'the bucket is in another region: set `region` to it'
const place = 'check `bucket`, `endpoint` and `force_path_style`'
const kms = 'check `sse.kms_key_id`, its state, its region, and its policy'
const damaged = 'the bytes were damaged on their way, or the server computes another checksum; they are sent again'
const unknownFeature =
  'the server does not know all of S3: try `checksum: when_required`, and leave out `tags`, `sse`, `storage_class` or `if_exists` as far as it names them'
const certificate =
  'the certificate of `endpoint` is not trusted: NODE_EXTRA_CA_CERTS names a file with that of its authority'

/** https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, and what Node and the SDK throw themselves. */
const meanings: Readonly<Record<string, Meaning>> = {
  AccessDenied: ['sink.access', writeRights],
  AccountProblem: ['sink.access', 'the account of the bucket is barred'],
  AllAccessDisabled: ['sink.access', 'the bucket is barred'],
  AuthorizationHeaderMalformed: ['sink.access', region],
  CredentialsProviderError: ['sink.access', clientKeys],
  ExpiredToken: ['sink.access', 'renew the session credentials'],
  ExpiredTokenException: ['sink.access', 'renew the session credentials'],
  Forbidden: ['sink.access', writeRights],
  IllegalLocationConstraintException: ['sink.access', region],
  InvalidAccessKeyId: ['sink.access', 'check AWS_ACCESS_KEY_ID, and that `endpoint` is the server it is for'],
  InvalidBucketName: ['sink.access', 'check `bucket`'],
  InvalidStorageClass: ['sink.access', 'check `storage_class`'],
  InvalidTag: ['sink.access', 'check `tags`'],
  InvalidToken: ['sink.access', 'renew the session credentials'],
  'KMS.DisabledException': ['sink.access', kms],
  'KMS.InvalidKeyUsageException': ['sink.access', kms],
  'KMS.KMSInvalidStateException': ['sink.access', kms],
  'KMS.NotFoundException': ['sink.access', kms],
  NoSuchBucket: ['sink.access', place],
  NotImplemented: ['sink.access', unknownFeature],
  NotSignedUp: ['sink.access', 'the account has no S3'],
  PermanentRedirect: ['sink.access', region],
  QuotaExceeded: ['sink.access', 'make room in the bucket'],
  RequestTimeTooSkewed: ['sink.access', 'set the clock of this machine'],
  SignatureDoesNotMatch: ['sink.access', 'check AWS_SECRET_ACCESS_KEY and `region`'],
  TokenProviderError: ['sink.access', clientKeys],
  XMinioStorageFull: ['sink.access', 'make room on the server'],

  EntityTooLarge: ['sink.rejected', 'the object is larger than the server takes'],
  InvalidObjectName: ['sink.rejected', 'change `key`: the server does not take such a name'],
  KeyTooLongError: ['sink.rejected', 'change `key`: it is longer than 1024 bytes'],
  MetadataTooLarge: ['sink.rejected', 'shorten `metadata`: there is room for 2 KB'],
  PreconditionFailed: ['sink.rejected', 'an object is there already; `if_exists` says what to do then'],
  XMinioInvalidObjectName: ['sink.rejected', 'change `key`: the server does not take such a name'],

  BandwidthLimitExceeded: ['sink.throttled'],
  RequestLimitExceeded: ['sink.throttled'],
  ServiceUnavailable: ['sink.throttled'],
  SlowDown: ['sink.throttled'],
  SlowDownRead: ['sink.throttled'],
  SlowDownWrite: ['sink.throttled'],
  Throttling: ['sink.throttled'],
  ThrottlingException: ['sink.throttled'],
  TooManyRequests: ['sink.throttled'],
  TooManyRequestsException: ['sink.throttled'],

  BadDigest: ['sink.unavailable', damaged],
  ConditionalRequestConflict: ['sink.unavailable', 'another program writes the same key at the same time'],
  InternalError: ['sink.unavailable'],
  IncompleteBody: ['sink.unavailable', damaged],
  NoSuchUpload: ['sink.unavailable', 'the upload was completed or aborted elsewhere, or by a lifecycle rule'],
  OperationAborted: ['sink.unavailable', 'another program changes the bucket at the same time'],
  RequestTimeout: ['sink.unavailable'],
  XAmzContentChecksumMismatch: ['sink.unavailable', damaged],
  XAmzContentSHA256Mismatch: ['sink.unavailable', damaged],

  CERT_HAS_EXPIRED: ['sink.access', 'the certificate of `endpoint` has expired'],
  DEPTH_ZERO_SELF_SIGNED_CERT: ['sink.access', certificate],
  ECONNREFUSED: ['sink.unavailable', 'nothing listens there: check `endpoint`'],
  ENOTFOUND: ['sink.unavailable', 'check `endpoint`, `region` and the name server'],
  EPROTO: ['sink.access', 'check whether `endpoint` is http:// or https://'],
  ERR_TLS_CERT_ALTNAME_INVALID: [
    'sink.access',
    'the certificate of `endpoint` is for another name; with a bucket name that has dots set `force_path_style`',
  ],
  SELF_SIGNED_CERT_IN_CHAIN: ['sink.access', certificate],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: ['sink.access', certificate],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: ['sink.access', certificate],
}

/** How S3 named its error, or Node the trouble of the connection, and the HTTP status; the status decides where the name says nothing. */
export function s3Failure(error: unknown): { readonly name: string; readonly status: number | undefined } {
  const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined
  const name = error instanceof Error ? error.name : 'Error'
  if (meanings[name] || status !== undefined || !(error instanceof Error)) return { name, status }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  return { name: code ?? name, status }
}

/** The name in an error that was made of one of S3. */
export function s3FailureName(error: unknown): string | undefined {
  return error instanceof StreamError && typeof error.data.name === 'string' ? error.data.name : undefined
}

/** What an error of the SDK means for us. `what` names the request and its target: `write s3://data/a.csv`. */
export function s3SinkError(error: unknown, what: string): StreamError {
  if (error instanceof StreamError) return error
  const { name, status } = s3Failure(error)
  const [code, advice] = meanings[name] ?? meaningOf(error, status)
  const named = s3ErrorText(error, name)
  return new StreamError(
    code,
    `cannot ${what}: ${status === undefined ? '' : `${status} `}${named}${advice === undefined ? '' : ` (${advice})`}`,
    { cause: error, data: { status, name }, retryAfterMs: retryAfterMs(error) },
  )
}

function meaningOf(error: unknown, status: number | undefined): Meaning {
  if (isForeignAnswer(error)) return ['sink.unavailable', foreignAnswerAdvice]
  if (error instanceof Error && /region is missing/i.test(error.message)) {
    return ['sink.access', 'set `region` or AWS_REGION']
  }
  switch (status) {
    case undefined:
    case 408:
    case 409:
    case 425:
      return ['sink.unavailable']
    case 301:
    case 307:
      return ['sink.access', region]
    case 401:
    case 403:
      return ['sink.access', writeRights]
    case 404:
      return ['sink.access', place]
    case 412:
      return meanings.PreconditionFailed as Meaning
    case 413:
      return meanings.EntityTooLarge as Meaning
    case 429:
    case 503:
      return ['sink.throttled']
    case 501:
      return ['sink.access', unknownFeature]
    default:
      // A request of ours that the server refuses: it may take it once somebody has changed something.
      return status >= 500 ? ['sink.unavailable'] : ['sink.access']
  }
}
