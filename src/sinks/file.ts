/** `file`: appends records to files, by batches that are there as a whole or not at all. */
import { access, constants, stat, statfs } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import * as z from 'zod'
import type {
  Batch,
  BatchLimits,
  Bound,
  Context,
  Definition,
  Dependency,
  Finding,
  Log,
  MetricSpec,
  Part,
  RetryWaits,
  Signal,
  Sink,
} from '../core/component.ts'
import { DependencyState } from '../core/dependency-state.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { problemOf, timed } from '../core/findings.ts'
import { Slots } from '../core/slots.ts'
import { AppendFile, gzipMember } from './append-file.ts'
import { ndjsonBody } from './http-body.ts'
import { batchField, retryField } from './sink-fields.ts'

const verbs = ['{yyyy}', '{MM}', '{dd}', '{HH}', '{pipeline}']
/** Files kept open between batches. */
const openFiles = 16
const hourMs = 3_600_000
/** The last ms with a year of four digits. */
const lastMs = Date.UTC(10_000, 0, 1) - 1

export const fileConfig = z.strictObject({
  type: z.literal('file'),
  path: z
    .string()
    .min(1)
    .superRefine((path, context) => {
      const unknown = path.match(/\{[^}]*\}?/g)?.find((verb) => !verbs.includes(verb))
      if (unknown !== undefined) context.addIssue(`unknown ${unknown}, known are ${verbs.join(' ')}`)
      if (/[/\\]$/.test(path)) context.addIssue('must name a file, not a folder')
      if (path.includes('\0')) context.addIssue('must not contain NUL')
    })
    .meta({
      description:
        'File to append to; `{yyyy}` `{MM}` `{dd}` `{HH}` stand for the time of the object (UTC), `{pipeline}` for the name of the pipeline. Folders are made.',
    }),
  compression: z
    .enum(['none', 'gzip'])
    .default('none')
    .meta({ description: '`gzip`: each batch is a whole gzip member; `zcat` reads the file at any time.' }),
  sync: z
    .boolean()
    .default(true)
    .meta({ description: 'Wait for the disk after each batch. Without it a power failure may lose accepted records.' }),
  batch: batchField({ records: 10_000, bytes: '1MiB', maxBytes: '64MiB' }),
  retry: retryField,
})
export type FileConfig = z.output<typeof fileConfig>

export const fileMetrics = {
  file_records_written_total: { kind: 'counter', unit: '{record}', help: 'Records appended.' },
  file_bytes_written_total: { kind: 'counter', unit: 'By', help: 'Bytes appended, after compression.' },
  file_errors_total: {
    kind: 'counter',
    unit: '{error}',
    help: 'Batches that could not be appended and were taken back.',
  },
} as const satisfies Record<string, MetricSpec>

class FileSink implements Sink {
  /** Batches go one after the other, so that one can be taken back without another. */
  readonly maxInFlight = 1
  readonly limits: BatchLimits
  readonly retry: RetryWaits
  readonly #config: FileConfig
  readonly #pipeline: string
  readonly #nowMs: () => number
  readonly #log: Log
  readonly #metrics: Bound<typeof fileMetrics>
  readonly #dependency: DependencyState
  readonly #slots = new Slots(1)
  /** Open files by path, the one used longest ago first. */
  readonly #files = new Map<string, AppendFile>()
  #hour = Number.NaN
  #path = ''

  constructor(config: FileConfig, context: Context) {
    const { batch, retry } = config
    this.#config = config
    this.limits = { records: batch.records, bytes: batch.bytes, lingerMs: batch.linger }
    this.retry = { minMs: retry.min, maxMs: retry.max }
    this.#pipeline = context.pipeline
    this.#nowMs = context.nowMs
    this.#log = context.log
    this.#metrics = context.meter.bind(fileMetrics, {})
    const { nowMs } = context
    this.#dependency = new DependencyState({ name: `file ${config.path}`, nowMs, probe: () => this.check() })
  }

  get dependencies(): readonly Dependency[] {
    return [this.#dependency]
  }

  async *examine(o: Signal): AsyncGenerator<Finding> {
    const path = resolve(this.#pathAt(this.#nowMs()))
    try {
      await timed(() => this.check(), o)
      yield { level: 'ok', text: `${path} may be written` }
      yield await timed(() => roomFor(path), o).then(({ value }) => value)
    } catch (error) {
      yield problemOf(error, o)
    }
    if (!this.#config.sync)
      yield {
        level: 'note',
        text: 'sync is off: after a power failure accepted records may be missing from the file',
      }
  }

  /** Looks whether the file of this hour, or the first folder that is there, may be written. */
  async check(): Promise<void> {
    const path = resolve(this.#pathAt(this.#nowMs()))
    try {
      for (let at = path; ; at = dirname(at)) {
        const facts = await stat(at).catch((error: unknown) => {
          if (codeOf(error) === 'ENOENT' && dirname(at) !== at) return undefined
          throw error
        })
        if (!facts) continue
        if (at === path ? !facts.isFile() : !facts.isDirectory())
          throw new Error(`${at} is no ${at === path ? 'regular file' : 'folder'}`)
        await access(at, at === path ? constants.W_OK : constants.W_OK | constants.X_OK)
        return
      }
    } catch (error) {
      throw new StreamError(
        'config.invalid',
        `cannot append to ${path}: ${explainError(error)} (choose another path, or give the right to write there)`,
        { cause: error, data: { path } },
      )
    }
  }

  async write(batch: Batch, o: Signal): Promise<undefined> {
    await this.#slots.acquire(o)
    try {
      const bytes = await this.#append(batch, o)
      this.#dependency.used()
      this.#metrics.file_records_written_total.add(batch.count)
      this.#metrics.file_bytes_written_total.add(bytes)
    } catch (error) {
      this.#dependency.used(error)
      if (!o.signal.aborted) this.#metrics.file_errors_total.add(1)
      throw error
    } finally {
      this.#slots.release()
    }
  }

  async #append(batch: Batch, o: Signal): Promise<number> {
    const touched: AppendFile[] = []
    let path = ''
    let bytes = 0
    try {
      const groups = this.#groupsOf(batch)
      for (const [name, parts] of groups) {
        o.signal.throwIfAborted()
        path = name
        const file = await this.#file(path)
        touched.push(file)
        const lines = bytesOf(ndjsonBody({ ...batch, parts }))
        const data = this.#config.compression === 'gzip' ? await gzipMember(lines) : lines
        await file.append(data)
        bytes += data.length
      }
      for (const file of this.#config.sync ? touched : []) {
        path = file.path
        await file.sync()
      }
      o.signal.throwIfAborted()
    } catch (error) {
      for (const file of touched) await this.#takeBack(file)
      if (o.signal.aborted) throw new StreamError('run.aborted', 'appending interrupted by the stop', { cause: error })
      throw error instanceof StreamError ? error : fileError(path, error)
    }
    for (const file of touched) file.commit()
    await this.#closeOldest()
    return bytes
  }

  /** Parts of the batch by the file that they belong to. */
  #groupsOf({ parts }: Batch): Map<string, Part[]> {
    const groups = new Map<string, Part[]>()
    for (const part of parts) {
      const path = this.#pathAt(part.object.timeMs)
      const group = groups.get(path)
      if (group) group.push(part)
      else groups.set(path, [part])
    }
    return groups
  }

  #pathAt(timeMs: number): string {
    const ms = Number.isFinite(timeMs) ? Math.min(Math.max(timeMs, 0), lastMs) : 0
    const hour = Math.floor(ms / hourMs)
    if (hour === this.#hour) return this.#path
    const [yyyy = '', MM = '', dd = '', HH = ''] = new Date(ms).toISOString().split(/[-T:]/)
    const values: Readonly<Record<string, string>> = { yyyy, MM, dd, HH, pipeline: this.#pipeline }
    this.#path = this.#config.path.replaceAll(/\{(\w+)\}/g, (_, verb: string) => values[verb] ?? '')
    this.#hour = hour
    return this.#path
  }

  /** The open file; a new one in the place of one that was moved away. */
  async #file(path: string): Promise<AppendFile> {
    const known = this.#files.get(path)
    if (known) {
      this.#files.delete(path)
      if (await known.isInPlace()) {
        this.#files.set(path, known)
        return known
      }
      await this.#close(known)
    }
    const { compression, sync } = this.#config
    const file = await AppendFile.open(path, { compression, sync, log: this.#log })
    this.#files.set(path, file)
    return file
  }

  async #takeBack(file: AppendFile): Promise<void> {
    try {
      await file.undo()
    } catch (error) {
      // Opening it anew repairs its end; records may then stand in it twice.
      this.#log.warn({ path: file.path, error: explainError(error) }, 'cannot take back half a batch')
      this.#files.delete(file.path)
      await this.#close(file)
    }
  }

  async #closeOldest(): Promise<void> {
    for (const [path, file] of this.#files) {
      if (this.#files.size <= openFiles) return
      this.#files.delete(path)
      await this.#close(file)
    }
  }

  async #close(file: AppendFile): Promise<void> {
    try {
      await file.close()
    } catch (error) {
      this.#log.warn({ path: file.path, error: explainError(error) }, 'closing the file failed')
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A write that was aborted still takes back what it had appended.
    await this.#slots.acquire({ signal: new AbortController().signal })
    try {
      const files = [...this.#files.values()]
      this.#files.clear()
      await Promise.all(files.map((file) => this.#close(file)))
    } finally {
      this.#slots.release()
    }
  }
}

/** How much room there is on the disk of a file that may not be there yet. */
async function roomFor(path: string): Promise<Finding> {
  let at = dirname(path)
  for (;;) {
    const facts = await statfs(at).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT' && dirname(at) !== at) return undefined
      throw error
    })
    if (facts) {
      const freeGib = (facts.bavail * facts.bsize) / 2 ** 30
      const percent = Math.round((100 * facts.bavail) / Math.max(1, facts.blocks))
      const text = `the disk of ${path} has ${freeGib.toFixed(1)} GiB left (${percent} %)`
      // Where there are no blocks nothing can be full.
      if (facts.blocks === 0 || percent >= 5 || freeGib >= 20) return { level: 'ok', text }
      return { level: 'warning', text, advice: 'free space, or write to another disk: when it is full records wait' }
    }
    at = dirname(at)
  }
}

function bytesOf(pieces: Buffer[]): Buffer {
  return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces)
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}

function fileError(path: string, error: unknown): StreamError {
  const code = codeOf(error)
  const isAccess = ['EACCES', 'EPERM', 'EROFS', 'EISDIR', 'ENOTDIR', 'EEXIST', 'ELOOP'].includes(String(code))
  const advice =
    code === 'ENOSPC' || code === 'EDQUOT'
      ? 'free space on the disk'
      : isAccess
        ? 'choose another path, or give the right to write there'
        : 'check the disk'
  return new StreamError(
    isAccess ? 'sink.access' : 'sink.unavailable',
    `cannot append to ${path}: ${explainError(error)} (${advice})`,
    { cause: error, data: { path } },
  )
}

export const fileSink: Definition<typeof fileConfig, Sink> = {
  type: 'file',
  summary: 'Appends records to files, by date if wanted.',
  notes: `Records are appended byte for byte, one a line; a record of several lines becomes \`{"message":"…"}\`. With a date in \`path\` each record goes
to the file of its object's time, in UTC.

- A batch that cannot be written to its end (disk full, no right) is taken back and tried again, for ever: no half line stays.
- A crash can leave half a batch. When the file is opened again, a last line without a line feed gets one (and the record comes again, whole);
  with \`gzip\` the half member is cut off.
- A file that was moved or removed is made anew for the next batch, so \`logrotate\` needs no signal.
- With \`gzip\` an existing file must have been written by this sink.
- One writer a file: two pipelines, or two streamers, must not share one. Put \`{pipeline}\` into the path.

**Guarantee**: at least once. With \`sync: true\` an accepted batch is on disk; after a crash, or when taking back fails too, records may stand there twice.`,
  config: fileConfig,
  place: ({ path }) => path,
  examples: [
    {
      title: 'One compressed file per hour',
      config: { type: 'file', path: '/var/log/s3/{pipeline}/{yyyy}-{MM}-{dd}T{HH}.ndjson.gz', compression: 'gzip' },
    },
  ],
  create: (config, context) => new FileSink(config, context),
}
