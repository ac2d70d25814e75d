/**
 * Host keys as OpenSSH keeps them: the lines of a known_hosts file, and what they say about a key that a server shows.
 * Format: https://man.openbsd.org/sshd.8#SSH_KNOWN_HOSTS_FILE_FORMAT
 */
import { createHash, createHmac } from 'node:crypto'

interface KnownKey {
  /** From 1. */
  readonly line: number
  readonly isRevoked: boolean
  /** `ssh-ed25519`, `ssh-rsa` … */
  readonly type: string
  readonly key: Buffer
  readonly isFor: (name: string) => boolean
}

/**
 * `known`: the file has this key for the host. `changed`: it has another one of the same type, in `line`. `unknown`: it has
 * none of this type; `types` are those that it has. `revoked`: `line` says never to accept the key.
 */
export type KeyVerdict =
  | { readonly verdict: 'known' }
  | { readonly verdict: 'changed'; readonly line: number; readonly known: string }
  | { readonly verdict: 'revoked'; readonly line: number }
  | { readonly verdict: 'unknown'; readonly types: readonly string[] }

export class KnownHosts {
  readonly #keys: readonly KnownKey[]

  /** Lines that are none, or of a kind that is not used here (`@cert-authority`), are passed over as ssh does. */
  constructor(text: string) {
    this.#keys = text.split(/\r?\n/).flatMap((line, i) => {
      const key = knownKey(line, i + 1)
      return key === undefined ? [] : [key]
    })
  }

  verdict(host: string, port: number, key: Buffer): KeyVerdict {
    const revoked = this.#keys.find((one) => one.isRevoked && one.key.equals(key))
    if (revoked) return { verdict: 'revoked', line: revoked.line }
    const here = this.#for(hostName(host, port))
    if (here.some((one) => one.key.equals(key))) return { verdict: 'known' }
    // As ssh does: the key of the host without a port will do on another port, but cannot contradict it.
    if (this.#for(hostName(host, 22)).some((one) => one.key.equals(key))) return { verdict: 'known' }
    const type = keyType(key)
    const other = here.find((one) => one.type === type)
    if (other) return { verdict: 'changed', line: other.line, known: fingerprintOf(other.key) }
    return { verdict: 'unknown', types: [...new Set(here.map((one) => one.type))] }
  }

  /** Types of the keys that are there for the host; the server is to be asked for these first. */
  typesFor(host: string, port: number): ReadonlySet<string> {
    const here = this.#for(hostName(host, port))
    return new Set((here.length > 0 ? here : this.#for(hostName(host, 22))).map(({ type }) => type))
  }

  #for(name: string): readonly KnownKey[] {
    return this.#keys.filter((one) => !one.isRevoked && one.isFor(name))
  }
}

/** The name under which the file has a host: `[host]:port` if the port is not 22. */
export function hostName(host: string, port: number): string {
  const name = host.toLowerCase()
  return port === 22 ? name : `[${name}]:${port}`
}

/** The line of the file that would make the key known. */
export function knownHostsLine(host: string, port: number, key: Buffer): string {
  return `${hostName(host, port)} ${keyType(key)} ${key.toString('base64')}`
}

/** `SHA256:…`, as `ssh-keygen -l` prints it. */
export function fingerprintOf(key: Buffer): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`
}

/** A public key begins with the name of its type, with its length before it (RFC 4253 6.6). */
export function keyType(key: Buffer): string {
  const end = key.length < 4 ? 0 : 4 + key.readUInt32BE(0)
  return end > 4 && end <= key.length ? key.toString('latin1', 4, end) : 'unknown'
}

function knownKey(line: string, number: number): KnownKey | undefined {
  const words = line.trim().split(/[ \t]+/)
  const marker = words[0]?.startsWith('@') ? words.shift() : undefined
  if (marker !== undefined && marker !== '@revoked') return undefined
  const [names, type, base64] = words
  if (names === undefined || names.startsWith('#') || type === undefined || base64 === undefined) return undefined
  const key = Buffer.from(base64, 'base64')
  if (keyType(key) !== type) return undefined
  return { line: number, isRevoked: marker === '@revoked', type, key, isFor: nameTest(names) }
}

function nameTest(names: string): (name: string) => boolean {
  const hashed = /^\|1\|([A-Za-z0-9+/=]+)\|([A-Za-z0-9+/=]+)$/.exec(names)
  if (hashed) {
    const salt = Buffer.from(hashed[1] as string, 'base64')
    return (name) => createHmac('sha1', salt).update(name).digest('base64') === hashed[2]
  }
  const patterns = names.split(',').filter((pattern) => pattern !== '')
  const test = (pattern: string) => wildcard(pattern.toLowerCase())
  const wanted = patterns.filter((pattern) => !pattern.startsWith('!')).map(test)
  const unwanted = patterns.filter((pattern) => pattern.startsWith('!')).map((pattern) => test(pattern.slice(1)))
  return (name) => wanted.some((is) => is(name)) && !unwanted.some((is) => is(name))
}

function wildcard(pattern: string): (name: string) => boolean {
  if (!/[*?]/.test(pattern)) return (name) => name === pattern
  const source = pattern
    .replaceAll(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll(/\*+/g, '.*')
    .replaceAll('?', '.')
  const expression = new RegExp(`^${source}$`)
  return (name) => expression.test(name)
}
