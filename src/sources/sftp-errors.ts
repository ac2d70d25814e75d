/** What the errors of an SFTP server, and of the connection to it, mean for us. */
import { explainError, StreamError } from '../core/errors.ts'

/**
 * Status codes of an answer. Version 3 of the protocol has those up to 8; servers send the later ones all the same.
 * https://datatracker.ietf.org/doc/html/draft-ietf-secsh-filexfer-02#section-7,
 * https://datatracker.ietf.org/doc/html/draft-ietf-secsh-filexfer-13#section-9.1
 */
export const sftpStatus = {
  eof: 1,
  noSuchFile: 2,
  permissionDenied: 3,
  failure: 4,
  badMessage: 5,
  unsupported: 8,
  noSuchPath: 10,
  writeProtected: 12,
  notADirectory: 19,
} as const

/** The status code that an answer of the server brought; undefined if the error is not from an answer. */
export function statusOf(error: unknown): number | undefined {
  if (error instanceof StreamError) return typeof error.data.status === 'number' ? error.data.status : undefined
  return error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : undefined
}

/** True if the server says that there is nothing under that name. */
export function saysMissing(error: unknown): boolean {
  const status = statusOf(error)
  return status === sftpStatus.noSuchFile || status === sftpStatus.noSuchPath
}

/** What the answer to a request means. `what` names the request and its target: `read /in/a.csv`. */
export function statusError(error: unknown, what: string): StreamError {
  if (error instanceof StreamError) return error
  const status = statusOf(error)
  const because = (advice?: string) =>
    `cannot ${what}: ${explainError(error)}${advice === undefined ? '' : ` (${advice})`}`
  const o = { cause: error, data: { status } }
  if (saysMissing(error)) return new StreamError('source.vanished', because('it is not there any more'), o)
  if (status === sftpStatus.permissionDenied || status === sftpStatus.writeProtected) {
    return new StreamError('source.access', because('give the user the right to it, on the server'), o)
  }
  if (status === sftpStatus.unsupported) {
    return new StreamError('source.access', because('the server does not offer this'), o)
  }
  return new StreamError('source.unavailable', because(), o)
}

/** Errors of the socket that time does not heal as a rule, but an operator may have to. */
const socketAdvice: Record<string, string> = {
  ECONNREFUSED: 'is the SSH server running, and is `port` right?',
  ECONNRESET: 'the server, or something before it, refuses or drops connections: too many at once?',
  EHOSTUNREACH: 'is the host up, and is there a route to it?',
  ENETUNREACH: 'is there a route to it?',
  ENOTFOUND: 'is `host` right?',
  ETIMEDOUT: 'is the host up, and does a firewall let us through?',
}

/** What an error while connecting means. `place` names the server: `sftp://acme@sftp.example.com`. */
export function connectError(error: unknown, place: string): StreamError {
  if (error instanceof StreamError) return error
  const text = explainError(error)
  const because = (advice?: string) =>
    `cannot connect to ${place}: ${text}${advice === undefined ? '' : ` (${advice})`}`
  const o = { cause: error, data: { place } }
  const matching = /no matching (.+)$/.exec(text)?.[1]
  if (matching !== undefined) {
    const field = matching.includes('host key')
      ? 'server_host_key'
      : matching.includes('cipher')
        ? 'cipher'
        : matching.includes('MAC')
          ? 'hmac'
          : matching.includes('compression')
            ? 'compress'
            : 'kex'
    const advice = `the server has none of those that we offer: add one that it has to \`algorithms.${field}\``
    return new StreamError('source.access', because(advice), o)
  }
  const unsupported = /^Unsupported algorithm: (.+)$/.exec(text)?.[1]
  if (unsupported !== undefined) {
    return new StreamError('config.invalid', because('remove it from `algorithms`'), o)
  }
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const closedEarly = text.includes('before handshake')
  const advice = closedEarly ? 'is it an SSH server, and does it take more connections?' : socketAdvice[code]
  return new StreamError('source.unavailable', because(advice), o)
}

/** What is thrown when the signal was aborted: `reading /in/a.csv`. */
export function interrupted(what: string, { reason }: AbortSignal): StreamError {
  return new StreamError('run.aborted', `${what} was interrupted by the stop`, { cause: reason })
}
