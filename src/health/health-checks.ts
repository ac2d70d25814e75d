/**
 * Health as an orchestrator asks for it: one entry for each thing that a pipeline depends on, and for the pipeline itself.
 *
 * What the pipelines do tells most: something that answered a moment ago is asked nothing, and something whose last use failed a
 * moment ago is not well, whatever a probe would say. Everything else is probed: all at once, each for a limited time, at most one
 * probe of each under way, and what it said is good for a while. So asking often costs nothing, and what hangs holds up nobody.
 */
import type { Dependency } from '../core/component.ts'
import { explainError } from '../core/errors.ts'
import { TimeLimit } from '../core/time-limit.ts'
import { untilAborted } from '../core/until-aborted.ts'
import type { HealthEntry } from './report.ts'

/** Something a pipeline depends on. */
export interface HealthTarget {
  readonly pipeline: string
  readonly dependency: Dependency
}

export interface HealthLimits {
  readonly nowMs: () => number
  /** How long a probe may take. Below the time after which the one who asks gives up. */
  readonly probeMs: number
  /** How long an answer is good for, and a success in use. */
  readonly freshMs: number
  /** How long a failure in use counts more than a probe. Longer than the waits before what failed is tried again. */
  readonly failureMs: number
}

export const healthLimits: HealthLimits = {
  nowMs: Date.now,
  probeMs: 4500,
  freshMs: 10_000,
  failureMs: 120_000,
}

/** What is known of one target. */
interface Known {
  /** The probe under way, if there is one: it never rejects. */
  probe: Promise<void> | undefined
  /** When the last probe ended; undefined before. */
  endedMs: number | undefined
  error: string | undefined
}

export class HealthChecks implements Disposable {
  readonly #limits: HealthLimits
  readonly #closed = new AbortController()
  #known = new Map<string, Known>()

  constructor(limits: HealthLimits = healthLimits) {
    this.#limits = limits
  }

  /** One entry for each target, in their order. Never throws; takes as long as a probe may, at most. */
  async check(targets: readonly HealthTarget[]): Promise<HealthEntry[]> {
    const known = new Map<string, Known>()
    const asked = targets.map(({ pipeline, dependency }) => {
      const name = nameIn(known, dependency.name, pipeline)
      const one = this.#known.get(name) ?? { probe: undefined, endedMs: undefined, error: undefined }
      known.set(name, one)
      return this.#ask(dependency, one).then((error) => ({ pipeline, name: dependency.name, error }))
    })
    // Those that are gone are forgotten.
    this.#known = known
    return await Promise.all(asked)
  }

  async #ask(dependency: Dependency, known: Known): Promise<string | undefined> {
    const { nowMs, freshMs, failureMs } = this.#limits
    const { state, sinceMs, error, answeredMs, failedMs } = dependency
    const now = nowMs()
    if (state === 'up' && now - (answeredMs ?? sinceMs) < freshMs) return undefined
    const isTrouble = state === 'failing' || state === 'paused'
    if (isTrouble && (failedMs === undefined || now - failedMs < failureMs)) return error ?? state
    if (known.probe || known.endedMs === undefined || now - known.endedMs >= freshMs)
      await this.#probed(dependency, known)
    return known.error
  }

  /** Resolves when the probe under way has ended or its time is up; begins one if there is none. */
  async #probed(dependency: Dependency, known: Known): Promise<void> {
    using limit = new TimeLimit(this.#closed.signal, this.#limits.probeMs)
    known.probe ??= this.#probe(dependency, known)
    try {
      await untilAborted(known.probe, limit.signal)
    } catch {
      // It goes on, and no second one is begun beside it.
      known.error = `no answer within ${this.#limits.probeMs / 1000} s`
    }
  }

  async #probe(dependency: Dependency, known: Known): Promise<void> {
    using limit = new TimeLimit(this.#closed.signal, this.#limits.probeMs)
    try {
      await dependency.probe({ signal: limit.signal })
      known.error = undefined
    } catch (error) {
      known.error = limit.isOver ? `no answer within ${this.#limits.probeMs / 1000} s` : explainError(error)
    } finally {
      known.endedMs = this.#limits.nowMs()
      known.probe = undefined
    }
  }

  [Symbol.dispose](): void {
    this.#closed.abort(new Error('the server is closed'))
  }
}

/** A name of its own, even if a component gives one twice. */
function nameIn(taken: ReadonlyMap<string, unknown>, name: string, pipeline: string): string {
  const full = `${pipeline}/${name}`
  for (let n = 1; ; n += 1) {
    const own = n === 1 ? full : `${full} ${n}`
    if (!taken.has(own)) return own
  }
}
