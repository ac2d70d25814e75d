/** How often the steps of a copy are tried, and with what waits between. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { CopyStep } from '../telemetry/transfer-metrics.ts'
import { backoffMs } from './backoff.ts'
import type { ListedObject, Log, ObjectSink, RetryWaits } from './component.ts'
import { explainError, StreamError } from './errors.ts'

const usualReadWaits = { minMs: 200, maxMs: 15_000 }
/** Attempts to read after transient errors before the object is left for later. */
const readAttempts = 10
/** A server that says again and again that an object is longer than it gives will not change its mind. */
const shortAttempts = 3
/** Nor will one that refuses the credentials, but for rights that were given a moment ago. */
const refusedAttempts = 3

/** What a sink failed with in the end. That it was the sink says what becomes of the upload. */
export class SinkFailure extends Error {
  readonly failure: StreamError
  constructor(failure: StreamError) {
    super(failure.message, { cause: failure })
    this.failure = failure
  }

  /** What was stored so far is gone: trying the same step again is of no use, beginning anew is. */
  get isLost(): boolean {
    return this.failure.data.isLost === true
  }
}

export interface CopyAttemptsOptions {
  readonly log: Log
  readonly readWaits?: RetryWaits
  readonly storeWaits: ObjectSink['retry']
  readonly retried: (step: CopyStep) => void
}

export class CopyAttempts {
  readonly #o: CopyAttemptsOptions

  constructor(o: CopyAttemptsOptions) {
    this.#o = o
  }

  /**
   * Asks the source until it answers; `between` attempts it may say that there is no point in it. undefined if it was stopped.
   * Throws the reason of `signal` once that is aborted: nobody waits for the answer then.
   */
  async read<T>(
    object: ListedObject,
    soft: AbortSignal,
    signal: AbortSignal,
    act: () => Promise<T>,
    between?: () => Promise<unknown>,
  ): Promise<T | undefined> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await act()
      } catch (error) {
        signal.throwIfAborted()
        const attempts =
          error instanceof StreamError && error.code === 'source.short_body' ? shortAttempts : readAttempts
        if (!(error instanceof StreamError) || error.kind !== 'transient' || attempt >= attempts) throw error
        this.#o.retried('read')
        const waits = this.#o.readWaits ?? usualReadWaits
        if (!(await this.#wait(error, attempt, { waits, object, soft, signal }))) return undefined
        // An object that changed gives errors of many kinds: then this is the one to tell.
        await between?.().catch((reason: unknown) => {
          if (reason instanceof StreamError && reason.kind === 'permanent') throw reason
        })
      }
    }
  }

  /** Asks the sink until it answers. Throws a SinkFailure when it is given up, `stopped` if it was stopped before. */
  async store<T>(
    step: CopyStep,
    soft: AbortSignal,
    signal: AbortSignal,
    act: () => Promise<T>,
  ): Promise<T | 'stopped'> {
    const { storeWaits } = this.#o
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await act()
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof StreamError) || error.kind === 'bug') throw error
        if (error.data.isLost === true) throw new SinkFailure(error)
        const attempts = Math.min(
          storeWaits.maxAttempts,
          error.code === 'sink.access' ? refusedAttempts : Number.MAX_VALUE,
        )
        if (error.kind !== 'transient' || attempt >= attempts) throw new SinkFailure(error)
        this.#o.retried(step)
        if (!(await this.#wait(error, attempt, { waits: storeWaits, soft, signal }))) return 'stopped'
      }
    }
  }

  /** Waits before the next attempt; false if it was stopped. Throws the reason of `signal`. */
  async #wait(
    error: StreamError,
    attempt: number,
    o: {
      readonly waits: RetryWaits
      readonly object?: ListedObject
      readonly soft: AbortSignal
      readonly signal: AbortSignal
    },
  ): Promise<boolean> {
    const { waits, object, soft, signal } = o
    const waitMs = Math.max(backoffMs(waits, attempt), Math.min(error.retryAfterMs ?? 0, 60_000))
    this.#o.log.debug(
      { ...(object ? { key: object.key } : {}), attempt, waitMs: Math.round(waitMs), error: explainError(error) },
      'copying interrupted, trying again',
    )
    await sleep(waitMs, undefined, { signal: AbortSignal.any([soft, signal]) }).catch(() => undefined)
    signal.throwIfAborted()
    return !soft.aborted
  }
}
