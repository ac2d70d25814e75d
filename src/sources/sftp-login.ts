/** How we prove who we are: private key, agent, password, keyboard-interactive, in this order, as far as the server allows each. */
import { readFile } from 'node:fs/promises'
import ssh2, { type AnyAuthMethod, type ParsedKey } from 'ssh2'
import { homePath } from '../config/home-path.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { type SftpConfig, sftpPlace } from './sftp-config.ts'

/** What proves who we are, ready to be used for any number of connections. */
export class Login {
  readonly #config: SftpConfig
  readonly #key: ParsedKey | undefined
  readonly #agent: string | undefined

  private constructor(config: SftpConfig, key: ParsedKey | undefined, agent: string | undefined) {
    this.#config = config
    this.#key = key
    this.#agent = agent
  }

  /** Reads the key. Throws source.access for a key that cannot be read or decrypted, or if there is nothing to log in with. */
  static async load(config: SftpConfig): Promise<Login> {
    const key = await privateKey(config)
    const agent = config.agent === true ? process.env.SSH_AUTH_SOCK : config.agent || undefined
    if (config.agent === true && agent === undefined) {
      throw refusal(
        config,
        '`agent` is true, but SSH_AUTH_SOCK is not set',
        'start an agent, or give the path of its socket',
      )
    }
    if (key === undefined && agent === undefined && config.password === undefined) {
      throw refusal(config, 'there is nothing to log in with', 'set `password`, `private_key_file` or `agent`')
    }
    return new Login(config, key, agent === undefined ? undefined : homePath(agent))
  }

  attempt(): LoginAttempt {
    const { username, password } = this.#config
    const methods: AnyAuthMethod[] = [{ type: 'none', username }]
    if (this.#key !== undefined) methods.push({ type: 'publickey', username, key: this.#key })
    if (this.#agent !== undefined) methods.push({ type: 'agent', username, agent: this.#agent })
    if (password !== undefined) {
      methods.push({ type: 'password', username, password: password.reveal() })
      methods.push({
        type: 'keyboard-interactive',
        username,
        prompt: (_name, _instructions, _lang, prompts, finish) => {
          // One question is the password, whatever it is called; among several, only what asks for it gets it.
          const isIt = (text: string) => prompts.length === 1 || /pass/i.test(text)
          finish(prompts.map(({ prompt }) => (isIt(prompt) ? password.reveal() : '')))
        },
      })
    }
    return new LoginAttempt(this.#config, methods)
  }
}

/** Goes through the methods on one connection, and remembers what became of them. */
export class LoginAttempt {
  readonly #config: SftpConfig
  readonly #methods: AnyAuthMethod[]
  readonly #tried: string[] = []
  #allowed: readonly string[] = []
  #wasRefused = false
  readonly #problems: string[] = []

  constructor(config: SftpConfig, methods: AnyAuthMethod[]) {
    this.#config = config
    this.#methods = [...methods]
  }

  /** The next method; false if there is none left. `allowed` is what the server said to the one before, null at first. */
  next(allowed: readonly string[] | null): AnyAuthMethod | false {
    if (allowed !== null) this.#allowed = allowed
    if (this.#tried.length > 0) this.#wasRefused = true
    for (let method = this.#methods.shift(); method; method = this.#methods.shift()) {
      const asked = method.type === 'agent' ? 'publickey' : method.type
      if (allowed !== null && allowed.length > 0 && !allowed.includes(asked)) continue
      // The first one only asks which there are.
      if (method.type !== 'none') this.#tried.push(method.type === 'publickey' ? 'private key' : method.type)
      return method
    }
    return false
  }

  /** True if the server refused something that could have let us in: if it hangs up after that, it is because of that. */
  get wasRefused(): boolean {
    return this.#wasRefused
  }

  /** Something on our side that made a method fail: the agent does not answer, the key cannot sign. */
  note(error: unknown): void {
    this.#problems.push(explainError(error))
  }

  /** Why the server did not let us in. */
  refusal(): StreamError {
    const tried = this.#tried.length === 0 ? 'none of our ways was allowed' : `tried ${this.#tried.join(', ')}`
    const allowed = this.#allowed.length === 0 ? '' : `; the server allows ${this.#allowed.join(', ')}`
    const problems = this.#problems.length === 0 ? '' : `; ${this.#problems.join('; ')}`
    return refusal(
      this.#config,
      `the server did not let the user in: ${tried}${allowed}${problems}`,
      'check `username`, and the password or that the public key is in authorized_keys of the user',
    )
  }

  /** The server accepts the password only together with a new one. */
  expired(): StreamError {
    return refusal(this.#config, 'the password has expired', 'set a new one on the server, then `password`')
  }
}

async function privateKey(config: SftpConfig): Promise<ParsedKey | undefined> {
  const { private_key_file: file, private_key: text, passphrase } = config
  if (file === undefined && text === undefined) return undefined
  const name = file === undefined || text !== undefined ? '`private_key`' : `private_key_file ${file}`
  const refuse = (reason: string, advice: string, cause?: unknown) =>
    new StreamError('source.access', `cannot use ${name}: ${reason} (${advice})`, { cause })
  let data: string
  try {
    data = text?.reveal() ?? (await readFile(homePath(file as string), 'utf8'))
  } catch (error) {
    throw refuse(explainError(error), 'is the path right, and may this user read the file?', error)
  }
  const parsed: unknown = ssh2.utils.parseKey(data, passphrase?.reveal())
  const key = Array.isArray(parsed) ? (parsed[0] as unknown) : parsed
  if (!(key instanceof Error)) {
    const found = key as ParsedKey
    if (found.isPrivateKey()) return found
    throw refuse('it is a public key', 'give the private one, the file without .pub')
  }
  const { message } = key
  if (/PuTTY-User-Key-File/.test(data) && !/passphrase/i.test(message)) {
    throw refuse(
      'it is a PuTTY key of a form that is not read',
      'convert it: puttygen key.ppk -O private-openssh -o key',
    )
  }
  if (/no passphrase given/i.test(message)) throw refuse('it is encrypted', 'set `passphrase`')
  if (passphrase !== undefined && /passphrase|integrity|decrypt/i.test(message)) {
    throw refuse('it cannot be decrypted', 'is `passphrase` the right one?')
  }
  throw refuse(message, 'it must be a private key in the form of OpenSSH or PEM')
}

function refusal(config: SftpConfig, reason: string, advice: string): StreamError {
  return new StreamError('source.access', `cannot log in to ${sftpPlace(config)}: ${reason} (${advice})`)
}
