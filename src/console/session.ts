/** Who has shown the token: sessions of browsers, and wrong tokens counted so that nobody tries them all. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'

export const sessionMs = 12 * 3_600_000
const mostSessions = 64

export interface Session {
  /** In the cookie, which the browser sends to every port of our host. */
  readonly id: string
  /** Only for the page, which shows it when it acts: another program on the host that is sent the cookie does not learn it. */
  readonly key: string
}

/** Kept as digests, so that the time a look takes tells nothing of the ids. */
export class Sessions {
  /** By the digest of the id; oldest first. */
  readonly #open = new Map<string, { readonly expiresMs: number; readonly key: string }>()
  readonly #nowMs: () => number

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  /** The oldest one ends if there are too many. */
  open(): Session {
    const [id, key] = [randomBytes(32).toString('base64url'), randomBytes(32).toString('base64url')]
    for (const [digest, { expiresMs }] of this.#open) {
      if (this.#open.size < mostSessions && expiresMs > this.#nowMs()) break
      this.#open.delete(digest)
    }
    this.#open.set(digestOf(id), { expiresMs: this.#nowMs() + sessionMs, key: digestOf(key) })
    return { id, key }
  }

  has(id: string): boolean {
    return (this.#open.get(digestOf(id))?.expiresMs ?? 0) > this.#nowMs()
  }

  /** True if the session is open and this is its key. */
  isKey(id: string, key: string): boolean {
    return this.has(id) && this.#open.get(digestOf(id))?.key === digestOf(key)
  }

  close(id: string): void {
    this.#open.delete(digestOf(id))
  }

  /** The token is another one now. */
  clear(): void {
    this.#open.clear()
  }
}

const mostWrong = 10
const wrongMs = 60_000
const mostAddresses = 1000

/** Wrong tokens by the address they came from. */
export class WrongTokens {
  readonly #wrong = new Map<string, { count: number; readonly sinceMs: number }>()
  readonly #nowMs: () => number

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  add(address: string): void {
    const key = networkOf(address)
    const known = this.#wrong.get(key)
    if (known && this.#nowMs() - known.sinceMs < wrongMs) {
      known.count += 1
      return
    }
    this.#wrong.delete(key)
    if (this.#wrong.size >= mostAddresses) this.#wrong.delete(this.#wrong.keys().next().value as string)
    this.#wrong.set(key, { count: 1, sinceMs: this.#nowMs() })
  }

  /** Seconds until a token from there is looked at again; 0 if it is now. */
  waitSeconds(address: string): number {
    const known = this.#wrong.get(networkOf(address))
    if (!known || known.count < mostWrong) return 0
    return Math.max(0, Math.ceil((known.sinceMs + wrongMs - this.#nowMs()) / 1000))
  }
}

/** Whoever has one address of IPv6 has billions: they count by their network of 64 bits. */
function networkOf(address: string): string {
  if (!address.includes(':') || address.startsWith('::ffff:')) return address
  const [head = '', tail] = address.split('::')
  const groups = head === '' ? [] : head.split(':')
  const missing = tail === undefined ? 0 : 8 - groups.length - (tail === '' ? 0 : tail.split(':').length)
  return [...groups, ...Array<string>(missing).fill('0'), ...(tail ?? '').split(':')].slice(0, 4).join(':')
}

/** In the same time whatever the two are. */
export function isSame(a: string, b: string): boolean {
  const digest = (one: string) => createHash('sha256').update(one).digest()
  return timingSafeEqual(digest(a), digest(b))
}

function digestOf(id: string): string {
  return createHash('sha256').update(id).digest('base64')
}
