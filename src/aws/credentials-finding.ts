/** Where the credentials of an AWS client come from: for `doctor`, by name, never a value. */
import type { Finding, Signal } from '../core/component.ts'
import { explainError } from '../core/errors.ts'
import { problemOf, timed } from '../core/findings.ts'

/** The SDK marks credentials with what gave them. https://github.com/aws/aws-sdk-js-v3/blob/main/packages/types/src/feature-ids.ts */
const sources: Readonly<Record<string, string>> = {
  CREDENTIALS_CODE: 'the configuration',
  CREDENTIALS_ENV_VARS: 'environment variables (AWS_ACCESS_KEY_ID)',
  CREDENTIALS_ENV_VARS_STS_WEB_ID_TOKEN: 'a web identity token (AWS_WEB_IDENTITY_TOKEN_FILE)',
  CREDENTIALS_STS_ASSUME_ROLE: 'an assumed role',
  CREDENTIALS_STS_ASSUME_ROLE_WEB_ID: 'a role assumed with a web identity token',
  CREDENTIALS_PROFILE: 'a profile of the shared credentials file',
  CREDENTIALS_PROFILE_SOURCE_PROFILE: 'a profile that names another one',
  CREDENTIALS_PROFILE_NAMED_PROVIDER: 'a profile that names where to ask',
  CREDENTIALS_PROFILE_STS_WEB_ID_TOKEN: 'a profile with a web identity token',
  CREDENTIALS_PROFILE_SSO: 'a profile with single sign-on',
  CREDENTIALS_SSO: 'single sign-on',
  CREDENTIALS_PROFILE_PROCESS: 'a program that a profile names',
  CREDENTIALS_PROCESS: 'a program (credential_process)',
  CREDENTIALS_HTTP: 'the container (AWS_CONTAINER_CREDENTIALS_…)',
  CREDENTIALS_IMDS: 'the role of this instance',
}

export interface FoundCredentials {
  readonly expiration?: Date | undefined
  readonly $source?: Readonly<Record<string, unknown>> | undefined
}

/** Asks for them; nothing more can be asked if that is a problem. */
export async function findCredentials(ask: () => Promise<FoundCredentials>, o: Signal): Promise<Finding> {
  try {
    return credentialsFinding((await timed(() => ask(), o)).value, Date.now())
  } catch (error) {
    return problemOf(error, { ...o, what: 'there are no credentials', advice: missingAdvice(explainError(error)) })
  }
}

/** What the SDK does not say: what of it is there. */
export function missingAdvice(text: string, env: Readonly<Record<string, string | undefined>> = process.env): string {
  const { AWS_PROFILE: profile, AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = env
  if (/AssumeRole/.test(text))
    return 'check `role_arn` and `external_id`, and that the trust policy of the role names who is asking'
  if (profile)
    return `AWS_PROFILE names "${profile}": is that a profile of ~/.aws/config or ~/.aws/credentials of this user?`
  if (id && !secret) return 'AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not: set both'
  if (secret && !id) return 'AWS_SECRET_ACCESS_KEY is set, and AWS_ACCESS_KEY_ID is not: set both'
  return 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or run with an instance role'
}

export function credentialsFinding(found: FoundCredentials, nowMs: number): Finding {
  const names = Object.keys(found.$source ?? {}).flatMap((name) => sources[name] ?? [])
  const from = names.length === 0 ? 'the chain of the SDK' : names.join(', by ')
  const { expiration } = found
  if (expiration === undefined) return { level: 'ok', text: `credentials from ${from}` }
  const left = expiration.getTime() - nowMs
  const until = expiration.toISOString().replace(/\.\d+Z$/, 'Z')
  if (left > 0) return { level: 'ok', text: `credentials from ${from}, good until ${until}` }
  return {
    level: 'problem',
    text: `credentials from ${from} expired at ${until}`,
    advice: 'renew the session, or let an instance role or a profile with a role do it',
  }
}
