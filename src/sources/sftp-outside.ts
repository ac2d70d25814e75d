/** An SFTP server as something that a source depends on. A probe uses a connection that is open; it logs in at most once a minute. */
import type { Context, Finding, Signal } from '../core/component.ts'
import { DependencyState } from '../core/dependency-state.ts'
import { StreamError } from '../core/errors.ts'
import type { FileConfig } from './file-config.ts'
import { examineSftp } from './file-examine.ts'
import type { FileOutside } from './file-outside.ts'
import { locate } from './file-place.ts'
import { type SftpConfig, sftpPlace } from './sftp-config.ts'
import { createSftpStore, type SftpStore } from './sftp-store.ts'

/** Servers, and those who read their logs, take frequent logins for an attack. */
const loginPauseMs = 60_000

export class SftpOutside implements FileOutside {
  readonly state: DependencyState
  readonly store: SftpStore
  readonly #config: SftpConfig & FileConfig
  readonly #context: Pick<Context, 'log' | 'meter'>
  /** Probes under way: the connections they make tell nothing of use. */
  #asking = 0
  #loginMs = Number.NEGATIVE_INFINITY
  /** How the last login for a probe failed. */
  #refusal: unknown

  constructor(config: SftpConfig & FileConfig, context: Pick<Context, 'log' | 'meter' | 'nowMs'>) {
    this.#config = config
    this.#context = context
    const { host, port } = config
    const { nowMs } = context
    this.state = new DependencyState({ name: `sftp ${host}:${port}`, nowMs, probe: (o) => this.#probe(o) })
    this.store = createSftpStore(config, context, (error) => {
      if (this.#asking === 0) this.state.used(error)
    })
  }

  examine(o: Signal): AsyncIterable<Finding> {
    return examineSftp(this.store, this.#config, { ...o, another: () => createSftpStore(this.#config, this.#context) })
  }

  async #probe(o: Signal): Promise<void> {
    if (this.store.connections === 0) {
      const now = performance.now()
      if (now - this.#loginMs < loginPauseMs) {
        if (this.#refusal !== undefined) throw this.#refusal
        return
      }
      this.#loginMs = now
    }
    this.#asking += 1
    try {
      await locate(this.store, this.#config, o)
      this.#refusal = undefined
    } catch (error) {
      this.#refusal = o.signal.aborted ? this.#noAnswer() : error
      throw this.#refusal
    } finally {
      this.#asking -= 1
    }
  }

  #noAnswer(): StreamError {
    const place = sftpPlace(this.#config)
    return new StreamError(
      'source.unavailable',
      `cannot reach ${place}: no answer in the time that a probe may take (is the host up, and does a firewall let us through?)`,
    )
  }
}
