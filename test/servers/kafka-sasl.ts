/** The server's side of SASL PLAIN (RFC 4616) and SCRAM (RFC 5802), one exchange for each connection. */
import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto'

export interface KafkaUser {
  readonly username: string
  readonly password: string
}

export const mechanisms = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'] as const
export type Mechanism = (typeof mechanisms)[number]

/** Answer to one message of the client. */
export type SaslStep = { readonly reply: Buffer; readonly isDone: boolean } | { readonly failure: string }

export class SaslExchange {
  readonly #mechanism: Mechanism
  readonly #user: KafkaUser
  /** SCRAM: what both sides have said so far, set by the first message. */
  #first: { readonly bare: string; readonly server: string; readonly nonce: string } | undefined
  readonly #salt = randomBytes(16)

  constructor(mechanism: Mechanism, user: KafkaUser) {
    this.#mechanism = mechanism
    this.#user = user
  }

  step(message: Buffer): SaslStep {
    if (this.#mechanism === 'PLAIN') return this.#plain(message)
    return this.#first ? this.#proof(message.toString()) : this.#hello(message.toString())
  }

  #plain(message: Buffer): SaslStep {
    const [, username, password] = message.toString().split('\0')
    if (username !== this.#user.username || password !== this.#user.password) return { failure: 'Invalid credentials' }
    return { reply: Buffer.alloc(0), isDone: true }
  }

  #hello(message: string): SaslStep {
    const match = /^n,,(n=([^,]*),r=([^,]+))$/.exec(message)
    if (!match) return { failure: 'Malformed SCRAM message' }
    const [, bare = '', username = '', clientNonce = ''] = match
    if (username.replaceAll('=2C', ',').replaceAll('=3D', '=') !== this.#user.username)
      return { failure: 'Invalid credentials' }
    const nonce = `${clientNonce}${randomBytes(12).toString('base64url')}`
    const server = `r=${nonce},s=${this.#salt.toString('base64')},i=4096`
    this.#first = { bare, server, nonce }
    return { reply: Buffer.from(server), isDone: false }
  }

  #proof(message: string): SaslStep {
    const match = /^(c=biws,r=([^,]+)),p=(.+)$/.exec(message)
    const first = this.#first
    if (!match || !first || match[2] !== first.nonce) return { failure: 'Malformed SCRAM message' }
    const algorithm = this.#mechanism === 'SCRAM-SHA-256' ? 'sha256' : 'sha512'
    const hmac = (key: Buffer, text: string) => createHmac(algorithm, key).update(text).digest()
    const length = algorithm === 'sha256' ? 32 : 64
    const salted = pbkdf2Sync(this.#user.password, this.#salt, 4096, length, algorithm)
    const clientKey = hmac(salted, 'Client Key')
    const text = `${first.bare},${first.server},${match[1]}`
    const signature = hmac(createHash(algorithm).update(clientKey).digest(), text)
    const proof = Buffer.from(match[3] ?? '', 'base64')
    const expected = Buffer.from(clientKey.map((byte, i) => byte ^ (signature[i] as number)))
    if (proof.length !== expected.length || !timingSafeEqual(proof, expected)) return { failure: 'Invalid credentials' }
    return { reply: Buffer.from(`v=${hmac(hmac(salted, 'Server Key'), text).toString('base64')}`), isDone: true }
  }
}
