/** From a configured pipeline to its living parts. */
import { hostname } from 'node:os'
import type { PipelineConfig } from '../config/pipeline.ts'
import type { Context, Log, Meter, ObjectSink, Registry, Sink, Source } from '../core/component.ts'
import { ReplayedSource } from '../core/replayed-source.ts'
import type { DecodeLimits } from '../decoders/decoding.ts'
import { createShape, type Shape } from '../filters/shape.ts'
import { createFormats } from '../formats/compile.ts'
import type { Formats } from '../formats/format.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { openLedger } from '../ledger/sqlite.ts'
import { registry } from '../registry.ts'
import { labelled } from '../telemetry/meter.ts'

interface Parts extends AsyncDisposable {
  readonly config: PipelineConfig
  readonly context: Context
  readonly formats: Formats
  readonly shape: Shape | undefined
  readonly limits: DecodeLimits
  readonly ledger: Ledger
  readonly source: Source
}

/** What goes from source to sink decides what runs: a Pipeline, or a Copier. */
export type Assembled = Parts &
  ({ readonly sends: 'records'; readonly sink: Sink } | { readonly sends: 'objects'; readonly sink: ObjectSink })

/** `run`: to run it. `exclusive`: to move its place. `shared`: to look at it while it may be running. `readonly`: writes nothing at all. */
export type LedgerMode = 'run' | 'exclusive' | 'shared' | 'readonly'

export function formatsOf(config: PipelineConfig): Formats {
  return createFormats(config.formats, { defaultFormat: config.default_format })
}

export function limitsOf(config: PipelineConfig): DecodeLimits {
  const { line_limit, line_policy, ratio_limit, size_limit } = config.decode
  return {
    ratio: ratio_limit,
    // Small objects may well be all zeros; only a large one can hurt.
    ratioFreeBytes: 64 * 2 ** 20,
    totalBytes: size_limit,
    lineBytes: line_limit,
    linePolicy: line_policy,
  }
}

export function shapeOf(config: PipelineConfig, context: Context): Shape | undefined {
  return createShape(config, { context, host: hostname() })
}

export function contextOf({ name }: PipelineConfig, o: { readonly log: Log; readonly meter: Meter }): Context {
  return { pipeline: name, log: o.log, meter: labelled(o.meter, { pipeline: name }), nowMs: Date.now }
}

export function ledgerOf(
  config: PipelineConfig,
  mode: LedgerMode,
  log: Log,
  o: { readonly deferred?: boolean } = {},
): Ledger {
  const { state } = config
  const nowMs = Date.now()
  const { start: startOf, isShared } = sourceDefinition(config)
  const start = startOf?.(config.source, nowMs)
  return openLedger({
    statePath: state.file_path,
    mode: mode === 'run' ? (isShared ? 'joint' : 'exclusive') : mode,
    log,
    nowMs: Date.now,
    startMs: start?.startMs ?? 0,
    retentionMs: state.retention,
    lookbackMs: start?.lookbackMs ?? 0,
    ...o,
  })
}

function sourceDefinition(config: PipelineConfig): Registry['sources'][number] {
  const definition = registry.sources.find(({ type }) => type === config.source.type)
  if (!definition) throw new Error(`no source of type ${config.source.type}`)
  return definition
}

/** Opens everything of one pipeline. Throws a StreamError if a part refuses; what was opened is closed again. */
export async function assemble(
  config: PipelineConfig,
  o: {
    readonly mode: LedgerMode
    readonly log: Log
    readonly meter: Meter
    readonly wrap?: (ledger: Ledger) => Ledger
    /** Outcomes are written by `save` only. */
    readonly deferred?: boolean
  },
): Promise<Assembled> {
  const context = contextOf(config, o)
  const formats = formatsOf(config)
  await using stack = new AsyncDisposableStack()
  const sinkDefinition = registry.sinks.find(({ type }) => type === config.sink.type)
  if (!sinkDefinition) throw new Error(`no sink of type ${config.sink.type}`)
  const opened = ledgerOf(config, o.mode, o.log, { deferred: o.deferred ?? false })
  const ledger = o.wrap ? o.wrap(opened) : opened
  stack.use(opened)
  const { objects } = sinkDefinition
  const sends = objects?.wanted(config.sink)
    ? { sends: 'objects' as const, sink: await objects.create(config.sink, { ...context, uploads: ledger.uploads }) }
    : { sends: 'records' as const, sink: await sinkDefinition.create(config.sink, context) }
  stack.use(sends.sink)
  const timeFromKey = (key: string) => formats.timeFromKey(key)
  const dryRun = o.mode === 'readonly'
  const sourceContext = { ...context, ledger, timeFromKey, dryRun }
  const own = stack.use(await sourceDefinition(config).create(config.source, sourceContext))
  const source = o.mode === 'run' ? new ReplayedSource({ ...context, source: own, ledger }) : own
  const shape = shapeOf(config, context)
  const kept = stack.move()
  return {
    config,
    context,
    formats,
    shape,
    limits: limitsOf(config),
    ledger,
    source,
    ...sends,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}
