/** What the errors of S3 mean for reading. */
import { S3ServiceException } from '@aws-sdk/client-s3'
import { foreignAnswerAdvice, isForeignAnswer, retryAfterMs, s3ErrorText } from '../aws/connection.ts'
import { missingAdvice } from '../aws/credentials-finding.ts'
import { explainError, StreamError } from '../core/errors.ts'

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
    const named = s3ErrorText(error, name)
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
  if (accessNames.has(name)) {
    const hint = name === 'CredentialsProviderError' ? missingAdvice(explainError(error)) : hints[name]
    return new StreamError('source.access', because(hint), { cause: error, data })
  }
  if (error instanceof Error && /region is missing/i.test(error.message))
    return new StreamError('source.access', because('set `region` or AWS_REGION'), { cause: error, data })
  if (status !== undefined && status >= 400 && status < 500 && status !== 408 && status !== 429) {
    // A request of ours that the server will refuse again; the object is kept and tried by later scans.
    const hint = status === 401 || status === 403 ? hints.AccessDenied : undefined
    return new StreamError('source.access', because(hint), { cause: error, data })
  }
  return new StreamError('source.unavailable', because(isForeignAnswer(error) ? foreignAnswerAdvice : undefined), {
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
