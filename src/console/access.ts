/**
 * Who may do what. There are two rules:
 *
 *   reading   from this machine: whoever is on it. From elsewhere: whoever has the token, and nobody if none is configured.
 *   acting    whoever has the token, wherever.
 *
 * From this machine means that the connection comes from a loopback address, that the browser calls us by a name of loopback, and
 * that no proxy says that it asks for someone else. The second is against DNS rebinding: a page of another site can make its own
 * name point to 127.0.0.1 and would be of our origin then, but its requests say that name.
 *
 * The token comes as `Authorization: Bearer`, or was shown at login and stands behind a cookie. A cookie is sent by the browser
 * whoever made it ask, and to every port of our host. So what acts by it must also come from our own page, and show the key that
 * only the page was told.
 */
import type { IncomingMessage } from 'node:http'
import type { Secret } from '../config/fields.ts'
import type { Log } from '../core/component.ts'
import { Refusal } from './answer.ts'
import { isLoopback } from './config.ts'
import { isSame, type Session, Sessions, sessionMs, WrongTokens } from './session.ts'

/** As GET /api/session shows it. */
export interface SessionState {
  /** This caller may read. */
  readonly authenticated: boolean
  /** This caller may act. */
  readonly canAct: boolean
  /** Without a token nobody may act, so the page does not ask for it. */
  readonly tokenConfigured: boolean
}

const setToken = 'set console.token in the configuration, at least 16 characters, and reload it'

export class Access {
  readonly #sessions: Sessions
  readonly #wrong: WrongTokens
  readonly #log: Pick<Log, 'warn'>
  #token: string | undefined

  constructor(token: Secret | undefined, log: Pick<Log, 'warn'>) {
    // Not the time of day: setting the clock back would let sessions live on, and keep out those who were wrong.
    const nowMs = () => performance.now()
    this.#token = token?.reveal()
    this.#sessions = new Sessions(nowMs)
    this.#wrong = new WrongTokens(nowMs)
    this.#log = log
  }

  /** Sessions that were opened with another token end. */
  setToken(token: Secret | undefined): void {
    if (token?.reveal() === this.#token) return
    this.#token = token?.reveal()
    this.#sessions.clear()
  }

  state(request: IncomingMessage): SessionState {
    const credential = this.#credential(request)
    const canAct = credential === 'token' || credential === 'session'
    return {
      authenticated: credential !== undefined || isHere(request),
      canAct,
      tokenConfigured: this.#token !== undefined,
    }
  }

  /** As `state`, of a request whose session has just ended. */
  stateWithout(request: IncomingMessage): SessionState {
    return { authenticated: isHere(request), canAct: false, tokenConfigured: this.#token !== undefined }
  }

  mayRead(request: IncomingMessage): boolean {
    try {
      return this.state(request).authenticated
    } catch {
      return false
    }
  }

  /** Throws a Refusal unless this request may see what the streamer does. */
  read(request: IncomingMessage): void {
    // Another site's page cannot read the answer, but it could take all the places of those who may.
    const site = request.headers['sec-fetch-site']
    if (site === 'cross-site' || site === 'same-site')
      throw new Refusal(403, 'this is not for pages of other sites, nor of other ports')
    const { authenticated } = this.state(request)
    if (!authenticated) this.#refuse()
  }

  /** Throws a Refusal unless this request may have the files of the page: those ask for the token, so they are there before it. */
  page(request: IncomingMessage): void {
    if (this.#token === undefined && !isHere(request)) this.#refuse()
  }

  /** Throws a Refusal unless this request may change something. */
  act(request: IncomingMessage): void {
    if (this.#token === undefined)
      throw new Refusal(403, `no token is configured, so nothing can be changed here: ${setToken}`)
    const credential = this.#credential(request)
    if (credential === undefined || credential === 'cookie') this.#refuse()
    if (credential === 'token') return
    if (!isOwnPage(request))
      throw new Refusal(
        403,
        'a session acts only from the page of this streamer; scripts use "Authorization: Bearer <token>"',
      )
    // What a form of another site cannot send.
    if (!/^application\/json\b/i.test(request.headers['content-type'] ?? ''))
      throw new Refusal(415, 'a session acts with JSON only: "content-type: application/json"')
  }

  /** Opens a session for whoever knows the token; gives the cookie, and the key for the page. Throws a Refusal. */
  login(request: IncomingMessage, token: string): Pick<Session, 'key'> & { readonly cookie: string } {
    if (this.#token === undefined) throw new Refusal(403, `no token is configured, so nobody can log in: ${setToken}`)
    if (isForeign(request)) throw new Refusal(403, 'log in from the page of this streamer')
    if (!this.#isToken(request, token))
      throw new Refusal(401, 'that is not the token: it is console.token of the configuration')
    const { id, key } = this.#sessions.open()
    return { cookie: cookie(request, id, sessionMs / 1000), key }
  }

  /** Ends the session of this request, if it has one; gives the cookie that takes it away. Throws a Refusal. */
  logout(request: IncomingMessage): string {
    if (isForeign(request)) throw new Refusal(403, 'log out from the page of this streamer')
    for (const id of cookiesOf(request)) this.#sessions.close(id)
    return cookie(request, '', 0)
  }

  /** `cookie`: of a session, without its key. */
  #credential(request: IncomingMessage): 'token' | 'session' | 'cookie' | undefined {
    if (this.#token === undefined) return undefined
    const bearer = /^bearer +(.*)$/i.exec(request.headers.authorization ?? '')?.[1]
    if (bearer !== undefined) {
      if (this.#isToken(request, bearer.trim())) return 'token'
      throw new Refusal(401, 'that is not the token: it is console.token of the configuration', challenge)
    }
    const ids = cookiesOf(request).filter((id) => this.#sessions.has(id))
    if (ids.length === 0) return undefined
    const key = request.headers[sessionKey]
    return typeof key === 'string' && ids.some((id) => this.#sessions.isKey(id, key)) ? 'session' : 'cookie'
  }

  /** Throws a Refusal after too many wrong ones: then even the right one is not looked at, or guessing would go on. */
  #isToken(request: IncomingMessage, token: string): boolean {
    const address = request.socket.remoteAddress ?? ''
    const seconds = this.#wrong.waitSeconds(address)
    if (seconds > 0)
      throw new Refusal(429, `too many wrong tokens from here: try again in ${seconds} s`, {
        'retry-after': String(seconds),
      })
    if (isSame(token, this.#token as string)) return true
    this.#wrong.add(address)
    this.#log.warn({ from: address }, 'console: someone showed a wrong token')
    return false
  }

  #refuse(): never {
    if (this.#token !== undefined)
      throw new Refusal(401, 'show the token: it is console.token of the configuration', challenge)
    throw new Refusal(
      403,
      `without a token the console is shown on its own machine only, under the name localhost: ${setToken}, or come through a tunnel, like "ssh -L 8090:localhost:8090 <host>" for port 8090`,
    )
  }
}

/** The header in which the page shows the key of its session. */
const sessionKey = 'x-s3-streamer-key'

const challenge = { 'www-authenticate': 'Bearer realm="s3-streamer"' }

/** Headers by which a proxy says that it asks for someone else. */
const forwarding =
  /^(x-(original-)?forwarded-.*|forwarded|via|x-real-ip|(x|true|x-cluster)-client-ip|cf-.*|x-envoy-.*)$/

function isHere(request: IncomingMessage): boolean {
  const remote = (request.socket.remoteAddress ?? '').replace(/^::ffff:/, '')
  const isLocal = remote === '::1' || remote.startsWith('127.')
  // Today only a proxy says 1.0, and one with few settings says nothing else of itself.
  const isProxied = request.httpVersion === '1.0' || Object.keys(request.headers).some((name) => forwarding.test(name))
  return isLocal && !isProxied && isLoopback(hostAsked(request).toLowerCase())
}

/** Whom the request is for. A whole URL counts more than the header (RFC 9112 section 3.2.2). */
function hostAsked({ url, headers }: IncomingMessage): string {
  return /^https?:\/\/([^/?#]*)/i.exec(url ?? '')?.[1] ?? headers.host ?? ''
}

/** True if the browser says that the request was made by our own page; browsers say it of every request that changes something. */
function isOwnPage(request: IncomingMessage): boolean {
  const { 'sec-fetch-site': site, origin, host } = request.headers
  if (site !== undefined) return site === 'same-origin'
  return origin !== undefined && URL.canParse(origin) && new URL(origin).host === host?.toLowerCase()
}

/** True if a browser says that the page of someone else made the request. */
function isForeign(request: IncomingMessage): boolean {
  const { 'sec-fetch-site': site, origin } = request.headers
  return (site !== undefined || origin !== undefined) && !isOwnPage(request)
}

/** Browsers share cookies between the ports of a host, and several streamers may run there. */
const cookieName = (request: IncomingMessage) => `s3-streamer-${request.socket.localPort}`

function cookie(request: IncomingMessage, value: string, seconds: number): string {
  const secure = request.headers['x-forwarded-proto'] === 'https' ? '; Secure' : ''
  return `${cookieName(request)}=${value}; HttpOnly; SameSite=Strict; Path=/; Max-Age=${seconds}${secure}`
}

/** All of the name: another port of the host can set one that comes before ours. */
function cookiesOf(request: IncomingMessage): string[] {
  const name = `${cookieName(request)}=`
  const pairs = (request.headers.cookie ?? '').split(';').map((pair) => pair.trim())
  return pairs.filter((pair) => pair.startsWith(name)).map((pair) => pair.slice(name.length))
}
