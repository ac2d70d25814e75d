/** What the pipelines did lately: rates of the last seconds, and the last hour for charts. Counted from the metrics, so both agree. */
import type { PipelineSnapshot, SeriesSnapshot } from '../console/snapshot.ts'
import type { Series } from '../telemetry/meter.ts'

/** Counters and gauges of one pipeline by name; series that differ in other labels are added up. */
export type PipelineFigures = ReadonlyMap<string, number>

/** The figures of each pipeline. */
export function figuresOf(snapshot: readonly Series[]): Map<string, Map<string, number>> {
  const all = new Map<string, Map<string, number>>()
  for (const { name, labels, value, spec } of snapshot) {
    const { pipeline } = labels
    if (pipeline === undefined || spec.kind === 'histogram') continue
    const figures = all.get(pipeline) ?? new Map<string, number>()
    all.set(pipeline, figures)
    figures.set(name, (figures.get(name) ?? 0) + value)
  }
  return all
}

/** Rates are over this time. */
const rateMs = 10_000
/** A value in a chart stands for so long. */
const stepMs = 5000
const steps = 720

interface Sample {
  readonly atMs: number
  readonly records: number
  readonly bytes: number
  readonly objects: number
}

interface Recent {
  /** Of the last seconds, oldest first. */
  samples: Sample[]
  /** One for each step of the last hour, oldest first. */
  readonly recordsPerSecond: number[]
  readonly bytesPerSecond: number[]
  readonly lagSeconds: number[]
  /** Where the step under way began. */
  stepStart: Sample
}

export class RecentFigures {
  readonly #pipelines = new Map<string, Recent>()
  #stepMs = Date.now()
  #lastMs = 0

  /** To be called about once a second with the metrics as they are. */
  sample(snapshot: readonly Series[], atMs: number): void {
    // The clock was put back: what was measured by it before is no measure now, and would be kept until that time comes again.
    const isBack = atMs < this.#lastMs
    this.#lastMs = atMs
    if (isBack) this.#stepMs = atMs
    const all = figuresOf(snapshot)
    for (const name of this.#pipelines.keys()) if (!all.has(name)) this.#pipelines.delete(name)
    const isStep = atMs - this.#stepMs >= stepMs
    for (const [name, figures] of all) {
      const sample = sampleOf(figures, atMs)
      let recent = this.#pipelines.get(name)
      if (!recent) {
        recent = { samples: [], recordsPerSecond: [], bytesPerSecond: [], lagSeconds: [], stepStart: sample }
        this.#pipelines.set(name, recent)
      }
      if (isBack) {
        recent.samples = []
        recent.stepStart = sample
      }
      recent.samples.push(sample)
      while (recent.samples.length > 2 && atMs - (recent.samples[0] as Sample).atMs > rateMs) recent.samples.shift()
      if (!isStep) continue
      const { recordsPerSecond, bytesPerSecond } = ratesBetween(recent.stepStart, sample)
      recent.stepStart = sample
      keep(recent.recordsPerSecond, recordsPerSecond)
      keep(recent.bytesPerSecond, bytesPerSecond)
      keep(recent.lagSeconds, figures.get('processing_lag_seconds') ?? 0)
    }
    if (isStep) this.#stepMs = atMs
  }

  rates(pipeline: string): PipelineSnapshot['rates'] {
    const samples = this.#pipelines.get(pipeline)?.samples ?? []
    const [first, last] = [samples[0], samples.at(-1)]
    return first && last ? ratesBetween(first, last) : noRates
  }

  series(): SeriesSnapshot {
    const pipelines = [...this.#pipelines].map(([pipeline, { recordsPerSecond, bytesPerSecond, lagSeconds }]) => ({
      pipeline,
      recordsPerSecond: [...recordsPerSecond],
      bytesPerSecond: [...bytesPerSecond],
      lagSeconds: [...lagSeconds],
    }))
    return { stepMs, untilMs: this.#stepMs, pipelines }
  }
}

const noRates = { recordsPerSecond: 0, bytesPerSecond: 0, objectsPerSecond: 0 }

function sampleOf(figures: PipelineFigures, atMs: number): Sample {
  return {
    atMs,
    records: figures.get('records_read_total') ?? 0,
    // Of copies what was stored, part by part; of records what is settled.
    bytes: figures.get('transfer_bytes_total') ?? figures.get('s3_bytes_processed_total') ?? 0,
    objects: figures.get('objects_total') ?? 0,
  }
}

/** A counter that was forgotten and began anew gives no rate below 0. */
function ratesBetween(from: Sample, to: Sample): PipelineSnapshot['rates'] {
  const seconds = (to.atMs - from.atMs) / 1000
  if (seconds <= 0) return noRates
  const rate = (a: number, b: number) => Math.max(0, b - a) / seconds
  return {
    recordsPerSecond: rate(from.records, to.records),
    bytesPerSecond: rate(from.bytes, to.bytes),
    objectsPerSecond: rate(from.objects, to.objects),
  }
}

function keep(values: number[], value: number): void {
  values.push(value)
  if (values.length > steps) values.shift()
}
