/** What an error code of the Kafka protocol means for the records: https://kafka.apache.org/protocol#protocol_error_codes */
import { protocolErrors, protocolErrorsCodesById } from '@platformatic/kafka'
import { type ErrorCode, StreamError } from '../core/errors.ts'

/**
 * What to do with a record batch that a broker answered:
 *   accepted   all in-sync replicas have it
 *   stale      someone else leads the partition now: ask who, and send it there
 *   forgotten  the broker does not know this producer's state any more: go on as a new producer
 *   split      too large as it is: send halves; a single record is refused
 *   refused    for good, the records named in the answer, or some of them: find out which
 *   wait       may pass
 *   denied     passes only when the operator does something
 */
export type Verdict = 'accepted' | 'stale' | 'forgotten' | 'split' | 'refused' | 'wait' | 'denied'

const verdicts: Readonly<Record<string, Verdict>> = {
  NONE: 'accepted',
  // Sent before, and stored before: the answer to it was lost.
  DUPLICATE_SEQUENCE_NUMBER: 'accepted',
  UNKNOWN_TOPIC_OR_PARTITION: 'stale',
  UNKNOWN_TOPIC_ID: 'stale',
  INCONSISTENT_TOPIC_ID: 'stale',
  LEADER_NOT_AVAILABLE: 'stale',
  NOT_LEADER_OR_FOLLOWER: 'stale',
  REPLICA_NOT_AVAILABLE: 'stale',
  FENCED_LEADER_EPOCH: 'stale',
  UNKNOWN_LEADER_EPOCH: 'stale',
  KAFKA_STORAGE_ERROR: 'stale',
  OUT_OF_ORDER_SEQUENCE_NUMBER: 'forgotten',
  UNKNOWN_PRODUCER_ID: 'forgotten',
  INVALID_PRODUCER_EPOCH: 'forgotten',
  INVALID_PRODUCER_ID_MAPPING: 'forgotten',
  PRODUCER_FENCED: 'forgotten',
  MESSAGE_TOO_LARGE: 'split',
  RECORD_LIST_TOO_LARGE: 'split',
  INVALID_RECORD: 'refused',
  INVALID_TIMESTAMP: 'refused',
  POLICY_VIOLATION: 'refused',
  TOPIC_AUTHORIZATION_FAILED: 'denied',
  CLUSTER_AUTHORIZATION_FAILED: 'denied',
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: 'denied',
  SASL_AUTHENTICATION_FAILED: 'denied',
  UNSUPPORTED_SASL_MECHANISM: 'denied',
  ILLEGAL_SASL_STATE: 'denied',
  SECURITY_DISABLED: 'denied',
  INVALID_TOPIC_EXCEPTION: 'denied',
  INVALID_REQUIRED_ACKS: 'denied',
  UNSUPPORTED_VERSION: 'denied',
  INVALID_REQUEST: 'denied',
  UNSUPPORTED_FOR_MESSAGE_FORMAT: 'denied',
  UNSUPPORTED_COMPRESSION_TYPE: 'denied',
}

/** What the operator can do about it. */
const hints: Readonly<Record<string, string>> = {
  UNKNOWN_TOPIC_OR_PARTITION: 'create the topic, or correct its name; this sink creates none',
  LEADER_NOT_AVAILABLE: 'the partition has no leader at the moment',
  NOT_ENOUGH_REPLICAS: 'too few replicas are in sync for min.insync.replicas of the topic',
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: 'too few replicas are in sync for min.insync.replicas of the topic',
  MESSAGE_TOO_LARGE: 'raise max.message.bytes of the topic',
  RECORD_LIST_TOO_LARGE: 'raise max.message.bytes of the topic',
  INVALID_RECORD: 'a compacted topic wants keys: set key',
  INVALID_TIMESTAMP: 'see message.timestamp.before.max.ms and message.timestamp.after.max.ms of the topic',
  TOPIC_AUTHORIZATION_FAILED: 'grant the principal WRITE and DESCRIBE on the topic',
  CLUSTER_AUTHORIZATION_FAILED:
    'grant the principal IDEMPOTENT_WRITE on the cluster; Kafka 2.8 and later do without it',
  SASL_AUTHENTICATION_FAILED: 'check auth.username and auth.password',
  UNSUPPORTED_SASL_MECHANISM: 'set an auth.mechanism that the broker has enabled',
  ILLEGAL_SASL_STATE: 'the listener wants SASL: set auth',
  INVALID_TOPIC_EXCEPTION: 'correct the name of the topic',
  UNSUPPORTED_COMPRESSION_TYPE: 'set another compression',
  UNSUPPORTED_FOR_MESSAGE_FORMAT: 'the topic must use message format v2',
}

/** Name of the code, as the protocol has it; `code 4711` for one that is newer than the library. */
export function codeName(code: number): string {
  return protocolErrorsCodesById[code] ?? `code ${code}`
}

export function verdictOf(code: number): Verdict {
  return verdicts[codeName(code)] ?? 'wait'
}

/** `INVALID_RECORD: words of the broker (what to do)`. */
export function describeCode(code: number, words: string | null): string {
  const name = codeName(code)
  const text = (words ?? protocolErrors[name]?.message ?? '').replaceAll(/[\p{Cc}\s]+/gu, ' ').trim()
  const hint = hints[name]
  return `${name}${text === '' ? '' : `: ${text.slice(0, 512)}`}${hint === undefined ? '' : ` (${hint})`}`
}

const streamCodes: Readonly<Record<Verdict, ErrorCode>> = {
  accepted: 'sink.unavailable',
  stale: 'sink.unavailable',
  forgotten: 'sink.unavailable',
  wait: 'sink.unavailable',
  split: 'sink.too_large',
  refused: 'sink.rejected',
  denied: 'sink.access',
}

/** The StreamError of a protocol error. `what` is the start of the message: `cannot …`. */
export function protocolFailure(what: string, code: number, words: string | null = null): StreamError {
  const streamCode = codeName(code) === 'THROTTLING_QUOTA_EXCEEDED' ? 'sink.throttled' : streamCodes[verdictOf(code)]
  return new StreamError(streamCode, `${what}: ${describeCode(code, words)}`, { data: { kafkaCode: codeName(code) } })
}

/** The protocol's error within an error of the library and its causes, if there is one. */
function protocolErrorOf(error: unknown): { readonly code: number; readonly words: string | null } | undefined {
  for (let e: unknown = error; e instanceof Error; e = e.cause) {
    if ('apiCode' in e && typeof e.apiCode === 'number') {
      const words = 'serverErrorMessage' in e && typeof e.serverErrorMessage === 'string' ? e.serverErrorMessage : null
      return { code: e.apiCode, words }
    }
    if (!(e instanceof AggregateError)) continue
    for (const inner of e.errors) {
      const found = protocolErrorOf(inner)
      if (found) return found
    }
  }
  return undefined
}

/** Any error of the library, the socket or TLS as a StreamError. */
export function foreignFailure(what: string, error: unknown): StreamError {
  if (error instanceof StreamError) return error
  const known = protocolErrorOf(error)
  if (known) return protocolFailure(what, known.code, known.words)
  if (hasCode(error, 'PLT_KFK_AUTHENTICATION'))
    return new StreamError('sink.access', `${what}: the login failed (check auth)`, { cause: error })
  // Only what its connections find out about TLS is called an error of the user by the library.
  if (hasCode(error, 'PLT_KFK_USER') || hasCode(error, 'ERR_SSL_WRONG_VERSION_NUMBER'))
    return new StreamError('sink.unavailable', `${what}: no TLS handshake (${tlsHint})`, { cause: error })
  if (hasCode(error, 'ERR_TLS_CERT_ALTNAME_INVALID')) {
    const text = `${what}: its certificate is for another name (use a host name that the certificate has)`
    return new StreamError('sink.unavailable', text, { cause: error })
  }
  if (untrustedCodes.some((code) => hasCode(error, code))) {
    const text = `${what}: its certificate is not trusted (set tls.ca_file to the authority that signed it)`
    return new StreamError('sink.unavailable', text, { cause: error })
  }
  return new StreamError('sink.unavailable', what, { cause: error })
}

/** https://nodejs.org/api/tls.html#x509-certificate-error-codes */
const untrustedCodes = [
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
]
const tlsHint = 'the sink needs a `tls` block if the listener is SSL or SASL_SSL, and none otherwise'

function hasCode(error: unknown, code: string): boolean {
  for (let e: unknown = error; e instanceof Error; e = e.cause) if ('code' in e && e.code === code) return true
  return false
}
