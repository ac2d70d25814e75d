/**
 * The secrets of a configuration, kept out of text that comes from elsewhere: a receiver may send back what it was sent, and its
 * answer goes into the log and into the quarantine.
 */
import { Secret } from './fields.ts'

/** Shorter ones are words that stand in any text. */
const shortest = 6

/** Names of headers and keys whose values are secret though they are plain text in the schema. */
export const secretKey =
  /authorization|cookie|secret|password|passphrase|(api|access)[-_]?key|-key$|[-_]auth$|token|signature/i
const secretParameter = /^(key|sig|code|auth|pass|pwd|jwt)$/i

export class Hidden {
  readonly #pattern: RegExp | undefined

  constructor(secrets: Iterable<string>) {
    const forms = new Set([...secrets].filter((secret) => secret.length >= shortest).flatMap(formsOf))
    if (forms.size === 0) return
    const all = [...forms]
      .toSorted((a, b) => b.length - a.length)
      .map((form) => form.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'))
    this.#pattern = new RegExp(all.join('|'), 'g')
  }

  in(text: string): string {
    return this.#pattern ? text.replace(this.#pattern, '[redacted]') : text
  }
}

/** As it is, within JSON, within JSON within JSON, and within a URL. */
function formsOf(secret: string): string[] {
  const quoted = JSON.stringify(secret).slice(1, -1)
  return [secret, quoted, JSON.stringify(quoted).slice(1, -1), encodeURIComponent(secret)]
}

/** Every secret in a value of the configuration: fields that are secret, headers and such by their name, passwords in URLs. */
export function secretsOf(value: unknown, key = ''): string[] {
  if (value instanceof Secret) return [value.reveal()]
  if (Array.isArray(value)) return value.flatMap((item) => secretsOf(item, key))
  if (typeof value === 'object' && value !== null) {
    const { username, password } = value as { username?: unknown; password?: unknown }
    const isLogin = typeof username === 'string' && password instanceof Secret
    const login = isLogin ? [basic(username, password.reveal())] : []
    return [...login, ...Object.entries(value).flatMap(([name, item]) => secretsOf(item, name))]
  }
  if (typeof value !== 'string') return []
  // Of `Bearer x`, x is the secret.
  if (secretKey.test(key)) return [value.replace(/^[A-Za-z][\w-]* +/, '')]
  return /^\w+:\/\//.test(value) && URL.canParse(value) ? secretsOfUrl(new URL(value)) : []
}

function secretsOfUrl({ protocol, username, password, pathname, searchParams }: URL): string[] {
  const asked = [...searchParams].filter(([name]) => secretParameter.test(name) || secretKey.test(name))
  const steps = /^https?:$/.test(protocol) ? pathname.split('/').filter(isToken) : []
  const found = [...asked.map(([, value]) => value), ...steps]
  if (password === '') {
    // A user alone is a token: `https://TOKEN@host`.
    return username === '' ? found : [...found, username, basic(username, '')]
  }
  try {
    const plain = decodeURIComponent(password)
    return [...found, password, plain, basic(decodeURIComponent(username), plain)]
  } catch {
    return [...found, password]
  }
}

/** True of a step of a path that nobody would choose as a name: webhooks are called by URLs with a token in them. */
function isToken(step: string): boolean {
  const isMixed = /\d/.test(step) && /[a-z]/i.test(step)
  return (
    isMixed && (/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(step) || /[\da-z]{20}|^[\w%+=~-]{40,}$/i.test(step))
  )
}

/** A URL as others may see it: without login, query, and tokens in its path. */
export function urlWithoutSecrets(text: string): string {
  if (!URL.canParse(text)) return text
  const url = new URL(text)
  const { search, protocol } = url
  Object.assign(url, { username: '', password: '', search: '', hash: '' })
  if (/^https?:$/.test(protocol))
    url.pathname = url.pathname
      .split('/')
      .map((step) => (isToken(step) ? '…' : step))
      .join('/')
  const plain = url.href.replaceAll('%E2%80%A6', '…')
  return search === '' ? plain : `${plain}?…`
}

/** As HTTP sends it; without the padding, which may be cut off. */
function basic(username: string, password: string): string {
  return Buffer.from(`${username}:${password}`).toString('base64').replace(/=+$/, '')
}
