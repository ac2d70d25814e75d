import type { Format } from './format.ts'
import type { Head, Likeness } from './head.ts'
import type { Timestamp } from './timestamp.ts'

/** A format that comes with the program. Unlike a configured one it may have one timestamp for keys and another for content. */
export interface Preset {
  readonly name: string
  /** Glob, as in `filename_pattern`. */
  readonly glob: string
  readonly contentType: string
  readonly decoder: Format['decoder']
  readonly keyTimes: readonly Timestamp[]
  readonly contentTimes: readonly Timestamp[]
  /**
   * `strong` only for content that is unmistakably of this format: it decides without regard to the key. `weak` content
   * is enough where the key is the format's own, glob and timestamp.
   */
  likeness(head: Head): Likeness
  /** True where glob and timestamp in the key are enough, whatever the content. */
  readonly trustsKey?: true
  /** First lines that are no records, in objects for which `hasHeader` holds. */
  readonly skipHeaderLines?: number
  hasHeader?(head: Head): boolean
  /** Also for formats whose decoder takes whole lines: it says how they are cut into fields. */
  readonly fieldSeparator?: string
  /** Names of the fields in objects without a header, in order; undefined if they cannot be told. */
  fieldNames?(head: Head): readonly string[] | undefined
  readonly multilineStart?: string
  readonly recordsPath?: string
}
