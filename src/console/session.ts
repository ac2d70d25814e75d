/** Who has shown the token: sessions of browsers, and wrong tokens counted so that nobody tries them all. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'

export const sessionMs = 12 * 3_600_000
const mostSessions = 64

/** Kept as digests, so that the time a look takes tells nothing of the ids. */
export class Sessions {
  /** Digest of the id -> when it expires; oldest first. */
  readonly #expires = new Map<string, number>()
  readonly #nowMs: () => number

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  /** Gives the id of a new session. The oldest one ends if there are too many. */
  open(): string {
    const id = randomBytes(32).toString('base64url')
    for (const [digest, expiresMs] of this.#expires) {
      if (this.#expires.size < mostSessions && expiresMs > this.#nowMs()) break
      this.#expires.delete(digest)
    }
    this.#expires.set(digestOf(id), this.#nowMs() + sessionMs)
    return id
  }

  has(id: string): boolean {
    return (this.#expires.get(digestOf(id)) ?? 0) > this.#nowMs()
  }

  close(id: string): void {
    this.#expires.delete(digestOf(id))
  }

  /** The token is another one now. */
  clear(): void {
    this.#expires.clear()
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
