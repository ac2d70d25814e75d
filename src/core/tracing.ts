/**
 * Traces of a pipeline: a span for each attempt at an object, a span for each batch that carries records of such an object,
 * and links between both. The engine calls these hooks; who exports what they tell is not its business.
 *
 *   begin ──▶ ObjectSpan ──────────────────────────────── ended
 *                 │  carried by
 *   batch ────▶ BatchSpan ── retried … ── ended
 *
 * 1. Which objects are traced is decided once, in `begin`: undefined is an object that is not, and costs nothing afterwards.
 * 2. A batch has a span only if one of its objects has.
 * 3. No hook throws, waits, or keeps what it is given longer than the call.
 */
import type { ListedObject, Outcome } from './component.ts'
import type { Counts } from './delivery.ts'

export interface Tracing {
  /** An attempt at an object begins; undefined if it is not traced. */
  begin(object: ListedObject): ObjectSpan | undefined
  /**
   * A batch is handed to the sink. `objects`: what `begin` gave for the objects of its parts, one for each part; the same one may
   * come several times. undefined if none of them is traced.
   */
  batch(facts: BatchFacts, objects: Iterable<ObjectSpan | undefined>): BatchSpan | undefined
}

/** One attempt at an object. */
export interface ObjectSpan {
  /** Called once, after the attempt was written down; or without `facts` if a hard stop came before that. */
  ended(facts?: ObjectFacts): void
}

/** One batch, from the moment it is handed to the sink, through all its attempts. */
export interface BatchSpan {
  /** A write failed for now and is tried again. */
  retried(error: unknown): void
  /** Called once, when every record of it is settled. With an error it was given up, as at a hard stop. */
  ended(facts: { readonly refused: number; readonly error?: unknown }): void
}

export interface ObjectFacts {
  readonly outcome: Outcome
  readonly reason: string | undefined
  /** Of this attempt and those before it. */
  readonly counts: Counts
  /** Name of the format; undefined if it was not opened, or is copied as it is. */
  readonly format: string | undefined
}

export interface BatchFacts {
  /** Type of the sink. */
  readonly sink: string
  readonly records: number
  readonly bytes: number
  readonly contentType: string
}
