import type * as z from 'zod'
import type { formatSchema } from './schema.ts'

export type FormatConfig = z.output<typeof formatSchema>

/** One log format, compiled: everything the path needs to know about a kind of object. */
export interface Format {
  readonly name: string
  /** Content-Type its records have on the wire. */
  readonly contentType: string
  /**
   * How bytes become records. `auto` looks at the content: a JSON array or a `{"Records":[…]}` wrapper gives its
   * elements, everything else its lines.
   */
  readonly decoder: 'auto' | 'lines' | 'json' | 'csv' | 'w3c'
  /** First lines of an object that are no records. For csv the last of them names the fields. */
  readonly skipHeaderLines: number
  /** Field separator of csv, and of lines that are cut into fields; undefined: the decoder's default. */
  readonly fieldSeparator: string | undefined
  /** Names of the fields of delimited records, in order; undefined: the header line names them, or else the position. */
  readonly fieldNames: readonly string[] | undefined
  /** RE2 source; a line that matches starts a new record, lines that do not belong to the record before. */
  readonly multilineStart: string | undefined
  /** Name of the array inside the wrapping JSON object (`Records`); undefined: found by content. */
  readonly recordsPath: string | undefined

  /** True if the glob matches the base name or, if it has folders, the last parts of the key. */
  matchesKey(key: string): boolean
  /** True if decoded bytes from the start of an object look like this format. */
  matchesContent(sample: Buffer): boolean
  /** Time in ms since the epoch by the regex on the base name, else on the whole key. */
  timeFromKey(key: string): number | undefined
  /** Time in ms since the epoch by the regex on the first records of the decoded sample. A layout without a year takes it from `nearMs`. */
  timeFromContent(sample: Buffer, nearMs: number): number | undefined
}

/** The formats of a pipeline, in order. */
export interface Formats {
  readonly list: readonly Format[]
  /** The first format that knows this key: its glob matches and its regex gives a time. Used while listing, before any byte was read. */
  timeFromKey(key: string): number | undefined
  /**
   * The format of an object, from its key and decoded bytes of its start. Deterministic; in the order of `list`:
   *   fixed     the one that `default_format` names
   *   name      glob and content fit (a timestamp in the key stands for the content); else a configured glob fits
   *   content   the content fits; first those for which it speaks clearly, then any JSON for a JSON format
   *   fallback  the first of all, with decoder `auto` and without header lines or multiline
   * Header lines of a built-in format count only if this object has them, so the result may differ from the one in `list`.
   */
  select(
    key: string,
    sample: Buffer,
  ): { readonly format: Format; readonly by: 'fixed' | 'name' | 'content' | 'fallback' }
}
