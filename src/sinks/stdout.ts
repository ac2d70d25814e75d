/** `stdout`: records as lines on standard output, no faster than they are read there. */
import { fstatSync, write as writeToFd } from 'node:fs'
import { isatty } from 'node:tty'
import { promisify } from 'node:util'
import * as z from 'zod'
import type {
  Batch,
  BatchLimits,
  Bound,
  Context,
  Definition,
  Dependency,
  Finding,
  MetricSpec,
  RetryWaits,
  Signal,
  Sink,
} from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { problemOf } from '../core/findings.ts'
import { Slots } from '../core/slots.ts'
import { writeAll } from './append-file.ts'
import { ndjsonBody } from './http-body.ts'
import { batchField, retryField } from './sink-fields.ts'

export const stdoutConfig = z.strictObject({
  type: z.literal('stdout'),
  batch: batchField({ records: 1000, bytes: '256KiB', maxBytes: '10MiB', linger: '200ms' }),
  retry: retryField,
})
export type StdoutConfig = z.output<typeof stdoutConfig>

export const stdoutMetrics = {
  stdout_records_written_total: { kind: 'counter', unit: '{record}', help: 'Records written.' },
  stdout_bytes_written_total: { kind: 'counter', unit: 'By', help: 'Bytes written.' },
  stdout_errors_total: { kind: 'counter', unit: '{error}', help: 'Batches that could not be written.' },
} as const satisfies Record<string, MetricSpec>

const lf = Buffer.from('\n')
const writeSome = promisify(writeToFd)

export class StdoutSink implements Sink {
  /** Lines of two batches must not mix. */
  readonly maxInFlight = 1
  /** Standard output is no one's health: when its reader ends, so do we. */
  readonly dependencies: readonly Dependency[] = []
  readonly limits: BatchLimits
  readonly retry: RetryWaits
  readonly #fd: number
  readonly #metrics: Bound<typeof stdoutMetrics>
  readonly #slots = new Slots(1)
  /** True if a failed write may have left half a line. */
  #isMidLine = false

  /** `fd` other than that of standard output is for tests; it must be a file. */
  constructor(config: StdoutConfig, context: Context, fd = 1) {
    const { batch, retry } = config
    this.limits = { records: batch.records, bytes: batch.bytes, lingerMs: batch.linger }
    this.retry = { minMs: retry.min, maxMs: retry.max }
    this.#fd = fd
    this.#metrics = context.meter.bind(stdoutMetrics, {})
  }

  async check(): Promise<void> {
    try {
      fstatSync(this.#fd)
    } catch (error) {
      throw new StreamError('config.invalid', 'standard output is closed (redirect it, or choose another sink)', {
        cause: error,
      })
    }
  }

  async *examine(o: Signal): AsyncGenerator<Finding> {
    try {
      await this.check()
      yield { level: 'ok', text: `standard output is ${hasReader(this.#fd) ? 'a pipe or a terminal' : 'a file'}` }
    } catch (error) {
      yield problemOf(error, o)
    }
  }

  async write(batch: Batch, o: Signal): Promise<undefined> {
    await this.#slots.acquire(o)
    try {
      const pieces = this.#isMidLine ? [lf, ...ndjsonBody(batch)] : ndjsonBody(batch)
      const data = pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces)
      this.#isMidLine = true
      if (hasReader(this.#fd)) await passed(data, o)
      else await writeAll({ write: (...range) => writeSome(this.#fd, ...range) }, data)
      this.#isMidLine = false
      this.#metrics.stdout_records_written_total.add(batch.count)
      this.#metrics.stdout_bytes_written_total.add(data.length)
    } catch (error) {
      if (o.signal.aborted)
        throw new StreamError('run.aborted', 'writing to standard output interrupted by the stop', { cause: error })
      this.#metrics.stdout_errors_total.add(1)
      throw writeError(error)
    } finally {
      this.#slots.release()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Standard output is not ours to close.
  }
}

/** True for a pipe, a socket or a terminal: where a reader sets the pace, and writes must not hold up the process. */
function hasReader(fd: number): boolean {
  const facts = fstatSync(fd)
  return facts.isFIFO() || facts.isSocket() || isatty(fd)
}

/** Resolves when the reader's pipe has taken all of it. */
async function passed(data: Buffer, { signal }: Signal): Promise<void> {
  // The error of a write comes to its callback too; without a listener it would end the process.
  const ignore = () => undefined
  process.stdout.on('error', ignore)
  let stop = (): void => undefined
  try {
    await new Promise<void>((resolve, reject) => {
      stop = () => reject(signal.reason)
      signal.addEventListener('abort', stop, { once: true })
      process.stdout.write(data, (error) => (error ? reject(error) : resolve()))
    })
    process.stdout.off('error', ignore)
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

function writeError(error: unknown): Error {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  // A reader that is gone never comes back. No StreamError: the engine would try again for ever, or fill the quarantine
  // with all that follows; anything else ends the pipeline, as a broken pipe ends other programs.
  if (code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED')
    return new Error('standard output was closed by its reader; what it had not taken stays for the next start', {
      cause: error,
    })
  const advice = code === 'ENOSPC' || code === 'EDQUOT' ? 'free space on the disk' : 'check where it is redirected to'
  return new StreamError('sink.unavailable', `cannot write to standard output: ${explainError(error)} (${advice})`, {
    cause: error,
  })
}

export const stdoutSink: Definition<typeof stdoutConfig, Sink> = {
  type: 'stdout',
  summary: 'Writes records as lines to standard output, for pipes and for trying things.',
  notes: `Records are written byte for byte, one a line; a record of several lines becomes \`{"message":"…"}\`. A slow reader slows everything down to
its pace. The log goes to standard error.

- When the reader ends (\`… | head\`) the pipeline ends too, with exit code 1; what the reader had not taken is read again by the next start.
- When the disk behind \`> file\` is full, the batch is tried again, for ever. A half line that was left is ended first, and its record comes again, whole.

**Guarantee**: at least once into the pipe, terminal or file. What the reader does with it, and what is in the pipe when the reader dies, is not known here.`,
  config: stdoutConfig,
  place: () => 'standard output',
  examples: [{ title: 'Records for another program', config: { type: 'stdout' } }],
  create: (config, context) => new StdoutSink(config, context),
}
