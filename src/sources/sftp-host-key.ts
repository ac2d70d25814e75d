/** Decides whether the key that a server shows is the one that the operator trusts. */
import { readFile } from 'node:fs/promises'
import { homePath } from '../config/home-path.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { fingerprintOf, KnownHosts, keyType, knownHostsLine } from './known-hosts.ts'
import { type SftpConfig, sftpPlace } from './sftp-config.ts'

/** What we offer, best first; `ssh-rsa` (SHA-1) only if it is configured. */
const hostKeyAlgorithms = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
]

/** What is trusted, as it stood when the connection was begun. */
export class HostKeys {
  readonly #config: SftpConfig
  readonly #known: KnownHosts
  readonly #isMissing: boolean

  private constructor(config: SftpConfig, known: KnownHosts, isMissing: boolean) {
    this.#config = config
    this.#known = known
    this.#isMissing = isMissing
  }

  /** Reads the file anew each time: a line that is added helps without a restart. */
  static async load(config: SftpConfig): Promise<HostKeys> {
    const { known_hosts_file } = config
    if (known_hosts_file === undefined) return new HostKeys(config, new KnownHosts(''), false)
    try {
      return new HostKeys(config, new KnownHosts(await readFile(homePath(known_hosts_file), 'utf8')), false)
    } catch (error) {
      // Without the file nothing is known yet, and the message about that says what to write into it.
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
        return new HostKeys(config, new KnownHosts(''), true)
      }
      throw new StreamError(
        'source.access',
        `cannot read known_hosts_file ${known_hosts_file}: ${explainError(error)} (make it readable for this user)`,
        { cause: error },
      )
    }
  }

  /** Algorithms to ask for, those whose keys are known first: a server has several keys, and shows the first that is asked for. */
  get algorithms(): string[] {
    const { host, port, algorithms } = this.#config
    const offered = [...(algorithms.server_host_key ?? hostKeyAlgorithms)]
    const types = this.#known.typesFor(host, port)
    const isKnown = (algorithm: string) => types.has(/^rsa-sha2-/.test(algorithm) ? 'ssh-rsa' : algorithm)
    return [...offered.filter(isKnown), ...offered.filter((algorithm) => !isKnown(algorithm))]
  }

  /** Why the server with this key is not to be talked to; undefined if it is. */
  refusal(key: Buffer): StreamError | undefined {
    const { host, port, known_hosts_file: file, host_key_fingerprint: pinned } = this.#config
    const type = keyType(key)
    const fingerprint = fingerprintOf(key)
    const line = knownHostsLine(host, port, key)
    const shown = `its host key is ${type} ${fingerprint}`
    const howToTrust = `If the operator of the server confirms this fingerprint, ${
      file === undefined
        ? `set host_key_fingerprint: ${fingerprint}, or set known_hosts_file and add`
        : `add to ${file}`
    } this line: ${line}`
    const refuse = (reason: string, advice: string) =>
      new StreamError('source.access', `cannot connect to ${sftpPlace(this.#config)}: ${reason} (${advice})`, {
        data: { host, port, keyType: type, fingerprint },
      })
    const alarm = 'SOMEONE MAY BE INTERCEPTING THE CONNECTION, or the server was set up anew; nothing was sent to it.'

    if (file === undefined && pinned === undefined) {
      return refuse(`${shown}, and nothing says whether that is right`, howToTrust)
    }
    const known = this.#known.verdict(host, port, key)
    if (known.verdict === 'revoked') {
      return refuse(`THE HOST KEY IS REVOKED: ${shown}, which line ${known.line} of ${file} forbids`, alarm)
    }
    if (known.verdict === 'known' || pinned?.includes(fingerprint)) return undefined
    if (known.verdict === 'changed') {
      return refuse(
        `THE HOST KEY HAS CHANGED: ${shown}, but line ${known.line} of ${file} has ${type} ${known.known}`,
        `${alarm} Only if the operator of the server confirms the new fingerprint, replace that line by: ${line}`,
      )
    }
    if (pinned !== undefined) {
      return refuse(
        `THE HOST KEY IS NOT THE PINNED ONE: ${shown}, but host_key_fingerprint is ${pinned.join(' or ')}`,
        `${alarm} Only if the operator of the server confirms the new fingerprint, set host_key_fingerprint: ${fingerprint}`,
      )
    }
    if (known.types.length > 0) {
      return refuse(
        `THE HOST KEY IS NOT ONE OF THE KNOWN ONES: ${shown}, but ${file} has only ${known.types.join(', ')} for it`,
        `${alarm} ${howToTrust}`,
      )
    }
    const where = this.#isMissing ? `${file}, which does not exist yet` : file
    return refuse(`${shown}, which is not in known_hosts_file ${where}`, howToTrust)
  }
}
