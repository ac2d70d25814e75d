/**
 * What the use of one thing outside shows of it. Its owner tells every use; health checks and the console look.
 *
 *   unused ─▶ up ⇄ failing     by the last use
 *   any ─▶ paused              said by the owner, until the next use
 */
import type { Dependency, Signal } from './component.ts'
import { explainError, StreamError } from './errors.ts'

export interface DependencyOptions {
  /** As `Dependency.name`. */
  readonly name: string
  readonly nowMs: () => number
  readonly probe: (o: Signal) => Promise<void>
}

export class DependencyState implements Dependency {
  readonly name: string
  readonly #nowMs: () => number
  readonly #probe: (o: Signal) => Promise<void>
  #state: Dependency['state'] = 'unused'
  #sinceMs: number
  #answeredMs: number | undefined
  #failedMs: number | undefined
  #failure: unknown

  constructor({ name, nowMs, probe }: DependencyOptions) {
    this.name = name
    this.#nowMs = nowMs
    this.#probe = probe
    this.#sinceMs = nowMs()
  }

  get state(): Dependency['state'] {
    return this.#state
  }

  get sinceMs(): number {
    return this.#sinceMs
  }

  get answeredMs(): number | undefined {
    return this.#answeredMs
  }

  get failedMs(): number | undefined {
    return this.#failedMs
  }

  get error(): string | undefined {
    return this.#failure === undefined ? undefined : explainError(this.#failure)
  }

  /**
   * It was used: with an error, or without. An error that concerns one record or object is an answer too, so it is up;
   * one that says that we stopped tells nothing.
   */
  used(error?: unknown): void {
    if (error !== undefined && isOurs(error)) return
    const failure = error === undefined || isAnswer(error) ? undefined : error
    if (failure === undefined) this.#answeredMs = this.#nowMs()
    this.#become(failure === undefined ? 'up' : 'failing', failure)
  }

  /** It refuses us and is left alone for a while: that is not tried, so nothing is told of it until it ends. */
  paused(error: unknown): void {
    this.#become('paused', error)
  }

  probe(o: Signal): Promise<void> {
    return this.#probe(o)
  }

  #become(state: Dependency['state'], failure: unknown): void {
    this.#failure = failure
    if (failure !== undefined) this.#failedMs = this.#nowMs()
    if (this.#state === state) return
    this.#state = state
    this.#sinceMs = this.#nowMs()
  }
}

/** Nobody outside is to blame: we were stopped, or are wrong ourselves. */
function isOurs(error: unknown): boolean {
  if (error instanceof StreamError) return error.code === 'run.aborted' || error.kind === 'bug'
  return error instanceof Error && error.name === 'AbortError'
}

/** What was asked for was refused, and asking anything else works. */
function isAnswer(error: unknown): boolean {
  return error instanceof StreamError && (error.kind === 'permanent' || error.kind === 'too_large')
}

/** The names, those that would be there twice with a number: two endpoints may differ in what names do not show. */
export function uniqueNames(names: readonly string[]): string[] {
  const seen = new Map<string, number>()
  return names.map((name) => {
    const before = seen.get(name) ?? 0
    seen.set(name, before + 1)
    return before === 0 ? name : `${name} (${before + 1})`
  })
}
