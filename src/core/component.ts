import type * as z from 'zod'
import type { Ledger, UploadEntry, UploadLog, UploadTarget } from '../ledger/ledger.ts'
import type { Block } from './block.ts'
import type { Counts } from './delivery.ts'
import type { StreamError } from './errors.ts'

export type Signal = { readonly signal: AbortSignal }

/** What the log of a component needs; pino satisfies it. */
export interface Log {
  debug(facts: object, message: string): void
  info(facts: object, message: string): void
  warn(facts: object, message: string): void
  error(facts: object, message: string): void
}

/** Metrics are data: name -> spec. Labels are bound once, so the hot path is `add(n)`. */
export type MetricSpec = {
  readonly kind: 'counter' | 'gauge' | 'histogram'
  readonly unit: string
  readonly help: string
  /** Names of its labels, besides `pipeline`. Values come from code and configuration, never from data. */
  readonly labels?: readonly string[]
}
/** Names of the labels that the metrics of a table have. */
export type LabelName<T extends Record<string, MetricSpec>> = {
  [N in keyof T]: T[N] extends { readonly labels: ReadonlyArray<infer L extends string> } ? L : never
}[keyof T]
export type Instrument<K> = K extends 'counter'
  ? { add(n: number): void }
  : K extends 'gauge'
    ? { set(n: number): void }
    : { record(n: number): void }
export type Bound<T extends Record<string, MetricSpec>> = { readonly [N in keyof T]: Instrument<T[N]['kind']> }
export interface Meter {
  bind<const T extends Record<string, MetricSpec>>(table: T, labels: Readonly<Record<LabelName<T>, string>>): Bound<T>
}

/** What every component gets from the program. */
export interface Context {
  /** Name of the pipeline the component belongs to. */
  readonly pipeline: string
  readonly log: Log
  readonly meter: Meter
  readonly nowMs: () => number
}

/** What a source gets besides: it asks the ledger which objects are new, and the formats what a key says. */
export interface SourceContext extends Context {
  readonly ledger: Ledger
  /** Time that a key says, in ms since the epoch; undefined if no format knows the key. */
  readonly timeFromKey: (key: string) => number | undefined
  /** True if nothing may be changed anywhere: nothing is acknowledged, deleted or moved, and what is taken to be looked at is given back. */
  readonly dryRun: boolean
}

/**
 * `check` proves configuration and access and changes nothing; it throws a StreamError that says what to do.
 * Disposing is idempotent and safe at any time; it ends what is still open.
 */
export interface Component extends AsyncDisposable {
  check(o: Signal): Promise<void>
  /** What it depends on outside, each by itself, for health checks and the console. */
  readonly dependencies: readonly Dependency[]
  /** What `doctor` tells of it: everything that `check` proves and more, in plain words. Changes nothing, and throws nothing but an abort. */
  examine(o: Signal): AsyncIterable<Finding>
  /** Brings metrics up to date that are not counted as things happen; called before they are shown. */
  sample?(): void
}

/** One thing outside that a component depends on: a bucket, an endpoint, a queue, a broker, a server. */
export interface Dependency {
  /** Unique within the pipeline, stable, without secrets; kind first: `s3`, `http http://localhost:8080/`, `kafka localhost:9092`. */
  readonly name: string
  /** What its use shows. `failing`: it is tried again; `paused`: it refuses us, and is left alone for a while. */
  readonly state: 'unused' | 'up' | 'failing' | 'paused'
  /** When it came into this state, ms since the epoch. */
  readonly sinceMs: number
  /** Why it is not up. */
  readonly error: string | undefined
  /** When it last answered as it should, by its use, ms since the epoch; whoever knows need not probe. */
  readonly answeredMs?: number | undefined
  /** When its use last failed, ms since the epoch: a state `failing` that is old may be out of date. */
  readonly failedMs?: number | undefined
  /** Asks it; resolves if it answers as it should. Throws a StreamError that says what to do. Changes nothing, state included. */
  probe(o: Signal): Promise<void>
}

/** One line of `doctor`. */
export interface Finding {
  /** `problem`: it will not work as configured; `warning`: it works, and someone should look; `note`: worth knowing. */
  readonly level: 'ok' | 'note' | 'warning' | 'problem'
  /** What was looked at and what was found, in one line. */
  readonly text: string
  /** What to do. */
  readonly advice?: string
  /** Of a source: keys that stand for the others, newest last, for the formats to be tried on. */
  readonly keys?: readonly string[]
}

/** A run of records `from <= i < to` of a block, on its way to the sink. */
export interface Part {
  readonly block: Block
  readonly from: number
  readonly to: number
  readonly object: Origin
}

/** Where records came from; stable across redelivery, so a record's id is `${id}#${record number}`. */
export interface ObjectRef {
  /** bucket/key@etag or the like. */
  readonly id: string
  readonly bucket: string
  readonly key: string
}

/** What a sink is told of the object. */
export interface Origin extends ObjectRef {
  /** Time of the object by its name, else LastModified, in ms since the epoch. */
  readonly timeMs: number
}

/** Records of one content type, from one or several objects. Within an object they stand in order. */
export interface Batch {
  readonly parts: readonly Part[]
  readonly contentType: string
  /** Records in all parts. */
  readonly count: number
  /** Bytes in all parts, the LF of each record included. */
  readonly bytes: number
}

/** Index of a record in the batch (counted over all parts in order) -> why it was refused for good. */
export type Refused = ReadonlyMap<number, StreamError>

/**
 * Resolved means: accepted there, except the records listed. Thrown means nothing of the batch is known to be
 * accepted: kind `transient` is tried again by the caller (with `retryAfterMs` if given), `too_large` makes the
 * caller split the batch, `permanent` puts the whole batch in quarantine. Called concurrently, up to `maxInFlight`.
 * Aborting the signal ends the write soon, with a throw.
 */
export interface Sink extends Component {
  /** How many writes may be under way at once. */
  readonly maxInFlight: number
  /** How large its batches may be. */
  readonly limits: BatchLimits
  /** How long the engine waits before it writes a batch again. */
  readonly retry: RetryWaits
  /** True if it makes new bytes of every record: then that is what limits the pipeline, and less is kept under way. */
  readonly encodes?: boolean
  write(batch: Batch, o: Signal): Promise<Refused | undefined>
}

/**
 * A sink that takes whole objects, byte for byte. `open`, `send` and `complete` are tried again by the caller if they
 * throw something transient, so each may be asked again for what it has done already.
 */
export interface ObjectSink extends Component {
  /** Size of a part, in bytes, unless an object is so large that its parts must be larger. */
  readonly partBytes: number
  /** How many parts are read at once, and how many are sent at once; the larger of both is how many are in memory. */
  readonly readConcurrency: number
  readonly uploadConcurrency: number
  readonly retry: RetryWaits & { readonly maxAttempts: number }
  /** Where the object goes, for people: `s3://data/vendor/a.csv`. Throws a permanent StreamError if it has no place there. */
  placeOf(object: ListedObject): string
  /**
   * Begins to store the object, or goes on with what an earlier attempt has stored of it. undefined: something is there
   * already and is to be left alone. Throws a permanent StreamError if it can never be stored.
   */
  open(object: ListedObject, size: number, o: Signal): Promise<ObjectUpload | undefined>
}

/** One object on its way into an ObjectSink. Nothing of it is visible there before `complete`. */
export interface ObjectUpload {
  /** How many parts the object has; at least one, which is empty for an empty object. */
  readonly partCount: number
  /** Size of the largest part, in bytes. */
  readonly partBytes: number
  /** Parts that are still to be sent, in order. */
  readonly missing: readonly ObjectPart[]
  /**
   * Stores one part. Called concurrently. `bytes` must not change before it returns; those of an object's only part not before
   * `complete` returns, for nothing may be visible until then.
   */
  send(part: ObjectPart, bytes: Buffer, o: Signal): Promise<void>
  /**
   * After every part was sent: makes the object visible and verifies it. `left alone`: another object came there meanwhile, and is
   * not to be written over. Throws a transient StreamError with `data.isLost` if what
   * was stored is gone, so that the object has to be opened and sent anew.
   */
  complete(o: Signal): Promise<'stored' | 'left alone'>
  /** Removes what was stored. Throws if that cannot be told; it is then removed by a later attempt, or by an operator. */
  abort(o: Signal): Promise<void>
}

export interface ObjectPart {
  /** From 1. */
  readonly number: number
  readonly offset: number
  readonly bytes: number
}

/** What an ObjectSink gets besides: the uploads that were begun, over runs. */
export interface ObjectSinkContext extends Context {
  readonly uploads: UploadLog
}

export interface UnfinishedUploads extends Disposable {
  /** Those that the log knows, and others that the receiver has where this sink writes. */
  list(o: Signal): AsyncIterable<UnfinishedUpload>
  /** Removes its parts at the receiver, and what the log has of it. That it is gone already is no error. */
  abort(upload: UnfinishedUpload, o: Signal): Promise<void>
}

export interface UnfinishedUpload extends UploadTarget {
  readonly uploadId: string
  readonly startedMs: number
  /** What the log has of it. undefined: another program's, or begun by a run that could not write it down. */
  readonly known: UploadEntry | undefined
  /** False: the receiver has it no more; aborting makes the log forget it. */
  readonly isAtServer: boolean
}

/** The limits a sink sets for its batches. */
export interface BatchLimits {
  readonly records: number
  /** Never exceeded, but for one record that is larger by itself. */
  readonly bytes: number
  /** How long the first record of a batch may wait for company, in ms. */
  readonly lingerMs: number
}

/** Exponential backoff with full jitter: the wait before attempt n is random in 0..min(max, min * 2^n), in ms. */
export interface RetryWaits {
  readonly minMs: number
  readonly maxMs: number
}

/**
 * Where objects come from. One instance serves one pipeline; `open` is called concurrently, once per worker.
 */
export interface Source<O extends ListedObject = ListedObject> extends Component {
  /** How many objects may be read at once. */
  readonly workers: number
  /** Objects given out so far, and whether everything there was has been listed once; for progress shown to people. */
  readonly progress: {
    readonly found: number
    readonly complete: boolean
    /** What told of objects and could not be dealt with; a run that ends by itself fails if there was any. */
    readonly failed?: number
  }
  /** What it counts besides, by name, for the history. */
  readonly figures?: Readonly<Record<string, number>>
  /** Time of the oldest object it knows of that is to be read and was not given out yet, ms since the epoch; undefined if there is none. */
  readonly oldestWaitingMs: number | undefined
  /** Ids of the objects under way that are read again because an operator asked: how late they are says nothing. */
  readonly replaying?: ReadonlySet<string>
  /**
   * The objects to read, in the order in which they should be read; ends when `soft` is aborted or, with `once`, when
   * everything was listed. Asked for the next one only when there is room.
   */
  objects(o: { readonly soft: AbortSignal; readonly hard: AbortSignal; readonly once: boolean }): AsyncIterable<O>
  /**
   * The objects of a time range, settled ones too, for a replay; in any order. Independent of `objects`, and may run beside it.
   * Throws a StreamError when listing fails: then the list is not complete.
   */
  replayed(range: ReplayRange, o: Signal): AsyncIterable<O>
  /** One object by its key, for `explain`. Throws a StreamError if there is none. `bucket` if the key was named with one. */
  find(key: string, o: Signal & { readonly bucket?: string | undefined }): Promise<O>
  /** Bytes as they are stored, from `offset` on. A connection cut in the middle is resumed inside. */
  open(object: O, offset: number, o: Signal): AsyncIterable<Buffer>
  /**
   * Size of the object, in bytes, if it still is the one that was listed; a copy asks before the first byte and after the
   * last. Throws source.replaced if it changed, source.vanished if it is gone.
   */
  confirm(object: O, o: Signal): Promise<number>
  /**
   * Fills `into` with the stored bytes from `offset` on; where that is up to the end, nothing may follow there. Called
   * concurrently for parts of one object. Throws source.short_body if the object is longer or shorter than it was said to be.
   */
  fill(object: O, offset: number, into: Buffer, o: Signal): Promise<void>
  /** Resolves when so many bytes of the object may be read: a replay has a rate. To be asked before `fill`; `open` sees to it itself. */
  paced?(object: O, bytes: number, o: Signal): Promise<void>
  /** The ledger has written down what became of the object; called once for each one given out, unless the process stops first. */
  finished(object: O, outcome: Outcome, counts: Counts): void
}

/**
 * What became of one attempt at an object. `done`, `quarantined` (the rest of it cannot be read), `vanished` and
 * `replaced` are final; `failed` is tried again by a later scan; `stopped` goes on from its position at the next start.
 */
export type Outcome = 'done' | 'quarantined' | 'vanished' | 'replaced' | 'failed' | 'stopped'

/** Which objects to read again. */
export interface ReplayRange {
  /** Objects with `fromMs` <= time < `toMs`, ms since the epoch. */
  readonly fromMs: number
  readonly toMs: number
  /** Only keys (of files: paths) that begin with this; for sources that know no bucket `s3://bucket/prefix`. */
  readonly prefix: string
}

/** What listing knows of an object. */
export interface ListedObject extends Origin {
  /** Bytes as stored, undefined if the server does not tell. */
  readonly size: number | undefined
  readonly lastModifiedMs: number
  /** Its path below the folder that the source reads, for names made from it; the key if left out. */
  readonly path?: string
}

/** All components the program knows, in the order of the reference pages. */
export interface Registry {
  readonly sources: ReadonlyArray<SourceDefinition<z.ZodObject, ListedObject, Source | Promise<Source>>>
  readonly sinks: readonly SinkDefinition[]
}

/**
 * Everything known about a component in one value: validation, types, JSON Schema, reference page, `explain` and
 * examples all come from here. `config` is a strict object whose first key is the `type` literal.
 */
export interface Definition<
  S extends z.ZodObject,
  I extends Component,
  C extends Context = Context,
  R extends I | Promise<I> = I,
> {
  readonly type: string
  /** One sentence for lists and help. */
  readonly summary: string
  /** Markdown for the reference page: semantics, guarantee, limits, permissions. */
  readonly notes: string
  readonly config: S
  /** Where it reads or writes, in a few words without secrets: `s3://logs/web/`. */
  place(config: z.output<S>): string
  readonly examples: ReadonlyArray<{ readonly title: string; readonly config: z.input<S> }>
  /** May load what it needs first: what is not used takes no memory. Throws a StreamError for what the schema cannot see. */
  create(config: z.output<S>, context: C): R
}

export interface SourceDefinition<
  S extends z.ZodObject = z.ZodObject,
  O extends ListedObject = ListedObject,
  R extends Source<O> | Promise<Source<O>> = Source<O>,
> extends Definition<S, Source<O>, SourceContext, R> {
  /** True if several processes may work on one state at the same time: what there is to read is shared out elsewhere. */
  readonly isShared?: boolean
  /** Where a first start begins and how far before a known place reading goes back, for sources that go by time. */
  start?(config: z.output<S>, nowMs: number): { readonly startMs: number; readonly lookbackMs: number }
}

export interface SinkDefinition<S extends z.ZodObject = z.ZodObject>
  extends Definition<S, Sink, Context, Sink | Promise<Sink>> {
  /** Set if the sink can take whole objects: made in the place of the record sink when the configuration asks for them. */
  readonly objects?: {
    readonly wanted: (config: z.output<S>) => boolean
    readonly create: (config: z.output<S>, context: ObjectSinkContext) => Promise<ObjectSink>
    /** What of them was begun and not finished, for an operator. */
    readonly unfinished: (config: z.output<S>, context: ObjectSinkContext) => Promise<UnfinishedUploads>
  }
}
