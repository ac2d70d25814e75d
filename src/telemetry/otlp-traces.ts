/** Traces of OTLP: a root span for each traced object and each batch of theirs, linked to each other. */
import { ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, type Tracer } from '@opentelemetry/api'
import type { Resource } from '@opentelemetry/resources'
import {
  type ReadableSpan,
  type Sampler,
  SamplingDecision,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace'
import { explainError } from '../core/errors.ts'
import { shownKey } from '../core/object-name.ts'
import type { BatchSpan, ObjectSpan, Tracing } from '../core/tracing.ts'

/** Of an object to its batches, and of a batch to its objects. */
const mostLinks = 128
/** Longest text of an attribute: a key of S3 fits. */
const textLength = 1024
/** About what a span takes in memory, and each of its links. */
const spanBytes = 2048
const linkBytes = 256

const objectSpan = 'object'
const batchSpan = 'batch'

/** Makes the traces of a pipeline. `emit` gets each span that ended, and about how many bytes it takes; it must not throw. */
export function traceExport(o: {
  readonly resource: Resource
  readonly scope: { readonly name: string; readonly version: string }
  /** Part of the objects that is traced. */
  readonly ratio: number
  /** Takes secrets out of the words of others. */
  readonly hide: (text: string) => string
  readonly emit: (span: ReadableSpan, bytes: number) => void
}): (pipeline: string) => Tracing {
  const done = async () => undefined
  const provider = new TracerProvider({
    resource: o.resource,
    sampler: new ObjectSampler(o.ratio),
    spanLimits: { linkCountLimit: mostLinks, attributeValueLengthLimit: textLength, eventCountLimit: 16 },
    spanProcessors: [
      {
        onStart: () => undefined,
        onEnd: (span) => o.emit(span, spanBytes + span.links.length * linkBytes),
        forceFlush: done,
        shutdown: done,
      },
    ],
  })
  const tracer = provider.getTracer(o.scope.name, o.scope.version)
  return (pipeline) => new PipelineTracing(tracer, pipeline, o.hide)
}

/** Objects by their trace id; batches always, since there is a span of one only where one of its objects is traced. */
class ObjectSampler implements Sampler {
  readonly #objects: TraceIdRatioBasedSampler

  constructor(ratio: number) {
    this.#objects = new TraceIdRatioBasedSampler(ratio)
  }

  shouldSample(...[context, traceId, name]: Parameters<Sampler['shouldSample']>) {
    return name === objectSpan
      ? this.#objects.shouldSample(context, traceId)
      : { decision: SamplingDecision.RECORD_AND_SAMPLED }
  }
}

class PipelineTracing implements Tracing {
  readonly #tracer: Tracer
  readonly #pipeline: string
  readonly #hide: (text: string) => string

  constructor(tracer: Tracer, pipeline: string, hide: (text: string) => string) {
    this.#tracer = tracer
    this.#pipeline = pipeline
    this.#hide = hide
  }

  begin(object: Parameters<Tracing['begin']>[0]): ObjectSpan | undefined {
    const span = this.#tracer.startSpan(objectSpan, { root: true, kind: SpanKind.CONSUMER }, ROOT_CONTEXT)
    if (!span.isRecording()) return undefined
    span.setAttributes({ pipeline: this.#pipeline, bucket: object.bucket, key: shownKey(object) })
    if (object.size !== undefined) span.setAttribute('stored_bytes', object.size)
    return new TracedObject(span, this.#hide)
  }

  batch(facts: Parameters<Tracing['batch']>[0], objects: Parameters<Tracing['batch']>[1]): BatchSpan | undefined {
    const traced = new Set<TracedObject>()
    for (const object of objects) {
      if (object instanceof TracedObject) traced.add(object)
      if (traced.size === mostLinks) break
    }
    if (traced.size === 0) return undefined
    const span = this.#tracer.startSpan(
      batchSpan,
      {
        root: true,
        kind: SpanKind.PRODUCER,
        attributes: {
          pipeline: this.#pipeline,
          sink: facts.sink,
          records: facts.records,
          bytes: facts.bytes,
          content_type: facts.contentType,
        },
        links: [...traced].map(({ span }) => ({ context: span.spanContext() })),
      },
      ROOT_CONTEXT,
    )
    const link = { context: span.spanContext() }
    for (const object of traced) object.span.addLink(link)
    return new TracedBatch(span, this.#hide)
  }
}

class TracedObject implements ObjectSpan {
  readonly span: Span
  readonly #hide: (text: string) => string

  constructor(span: Span, hide: (text: string) => string) {
    this.span = span
    this.#hide = hide
  }

  ended(facts?: Parameters<ObjectSpan['ended']>[0]): void {
    const { span } = this
    if (!span.isRecording()) return
    if (!facts) {
      span.setAttribute('outcome', 'aborted')
      span.end()
      return
    }
    const { outcome, counts, format } = facts
    const reason = facts.reason === undefined ? undefined : this.#hide(facts.reason)
    span.setAttributes({
      outcome,
      records_read: counts.read,
      records_delivered: counts.delivered,
      records_filtered: counts.filtered,
      records_quarantined: counts.quarantined,
      bytes: counts.bytes,
    })
    if (format !== undefined) span.setAttribute('format', format)
    if (reason !== undefined) span.setAttribute('reason', reason)
    if (outcome === 'failed' || outcome === 'quarantined') fail(span, reason ?? outcome)
    span.end()
  }
}

class TracedBatch implements BatchSpan {
  readonly #span: Span
  readonly #hide: (text: string) => string
  #attempts = 1

  constructor(span: Span, hide: (text: string) => string) {
    this.#span = span
    this.#hide = hide
  }

  retried(error: unknown): void {
    this.#attempts += 1
    this.#span.addEvent('retry', { error: this.#hide(explainError(error)) })
  }

  ended({ refused, error }: Parameters<BatchSpan['ended']>[0]): void {
    const span = this.#span
    if (!span.isRecording()) return
    const outcome = error !== undefined ? 'aborted' : refused > 0 ? 'refused' : 'accepted'
    span.setAttributes({ attempts: this.#attempts, refused, outcome })
    if (error !== undefined) fail(span, this.#hide(explainError(error)))
    else if (refused > 0) fail(span, 'records were refused by the receiver: they are in quarantine')
    span.end()
  }
}

function fail(span: Span, message: string): void {
  span.setStatus({ code: SpanStatusCode.ERROR, message: message.slice(0, textLength) })
}
