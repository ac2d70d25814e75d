/**
 * One error class and one table of codes. Code that meets a foreign error (SDK, socket, zlib) turns it into one of
 * these where the protocol is known; everything else reads `kind` and never looks at messages.
 *
 *   transient  may work when tried again: retry with backoff, for ever
 *   permanent  this record or object will never work: quarantine it
 *   too_large  the receiver refused the size: split, and quarantine a single record
 *   config     the operator must change something before anything works: exit 2 at start, alert while running
 *   bug        an invariant of ours is broken: stop, loudly
 */
export type ErrorKind = 'transient' | 'permanent' | 'too_large' | 'config' | 'bug'

/** code -> kind. `docs/errors.md` lists the same codes; a test compares. */
export const errorKinds = {
  'config.invalid': 'config',
  'decode.truncated': 'permanent',
  'decode.corrupt': 'permanent',
  'decode.trailing_bytes': 'permanent',
  'decode.unsupported': 'permanent',
  'decode.ratio_limit': 'permanent',
  'decode.size_limit': 'permanent',
  'decode.line_limit': 'permanent',
  'decode.malformed': 'permanent',
  'filter.failed': 'permanent',
  'source.access': 'config',
  'source.unavailable': 'transient',
  'source.vanished': 'permanent',
  'source.replaced': 'permanent',
  'source.archived': 'permanent',
  'source.short_body': 'transient',
  'source.message': 'permanent',
  'sink.unavailable': 'transient',
  'sink.throttled': 'transient',
  'sink.access': 'transient',
  'sink.rejected': 'permanent',
  'sink.too_large': 'too_large',
  'ledger.locked': 'config',
  'ledger.corrupt': 'config',
  'ledger.unwritable': 'config',
  'state.corrupt': 'config',
  'run.aborted': 'transient',
  'run.unknown': 'permanent',
  'console.bind': 'config',
  'core.unbalanced': 'bug',
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof errorKinds

export class StreamError extends Error {
  readonly code: ErrorCode
  /** Facts for logs and the quarantine (bucket, key, status, position). Never secrets, never whole bodies. */
  readonly data: Readonly<Record<string, unknown>>
  /** The receiver's own wish for the next attempt, in ms. */
  readonly retryAfterMs: number | undefined

  constructor(
    code: ErrorCode,
    message: string,
    o: { cause?: unknown; data?: Record<string, unknown>; retryAfterMs?: number | undefined } = {},
  ) {
    super(message, o.cause === undefined ? undefined : { cause: o.cause })
    this.name = 'StreamError'
    this.code = code
    this.data = o.data ?? {}
    this.retryAfterMs = o.retryAfterMs
  }

  get kind(): ErrorKind {
    return errorKinds[this.code]
  }
}

/** `40DD…:error:0A00010B:SSL routines:tls_validate_record_header:wrong version number:../ssl/record/tlsany_meth.c:77:` */
const opensslError = /[0-9A-F]+:error:[0-9A-F]+:[^:]*:[^:]*:([^:]+):[^:]*:\d+:(?:SSL alert number \d+:?)?\s*/g

/** The text of anything thrown, with its causes, in one line. */
export function explainError(error: unknown): string {
  const parts: string[] = []
  for (let e: unknown = error; e !== undefined && parts.length < 4; e = e instanceof Error ? e.cause : undefined) {
    const whole =
      e instanceof AggregateError
        ? e.errors.map(explainError).join('; ')
        : e instanceof Error
          ? e.message || e.name
          : String(e)
    const text = oneLine(whole)
    if (text !== '' && !parts.some((part) => part.includes(text))) parts.push(text)
  }
  return parts.join(': ')
}

function oneLine(text: string): string {
  return text
    .replaceAll(opensslError, 'TLS: $1')
    .replaceAll(/\s*\n\s*/g, ' ')
    .trim()
}
