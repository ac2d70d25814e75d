/** `state uploads`: whole objects whose upload was begun and is not over, and removing what was stored of them. */
import type { PipelineConfig } from '../config/pipeline.ts'
import type { Log, UnfinishedUpload } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { registry } from '../registry.ts'
import { count, fileSize, utc } from '../telemetry/figures.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { printable } from '../telemetry/text-line.ts'
import { contextOf, ledgerOf } from './assemble.ts'
import { openConfig } from './config-file.ts'
import type { ExitCode, Io } from './io.ts'
import { createCommandLog } from './run-log.ts'

export interface UploadsFlags {
  readonly config: string
  readonly pipeline?: string
  readonly abort: boolean
  /** Those, too, that no run of ours is known to have begun. */
  readonly unknown: boolean
  /** Only those begun at least so long ago, in ms. */
  readonly olderThan: number
  readonly json: boolean
}

export async function uploads(flags: UploadsFlags, io: Io): Promise<ExitCode> {
  const loaded = openConfig(flags, io)
  if (!loaded) return 2
  const log = createCommandLog(io)
  let code: ExitCode = 0
  let found = 0
  for (const config of loaded.pipelines) {
    try {
      // Whoever aborts must not take a running copy its parts away.
      await using ledger = ledgerOf(config, flags.abort ? 'exclusive' : 'readonly', log)
      await eachUnfinished(config, ledger, { log, signal: io.soft }, async (upload, abort) => {
        if (upload.startedMs > Date.now() - flags.olderThan) return
        found += 1
        const isMeant = flags.abort && (upload.known !== undefined || flags.unknown)
        if (isMeant) await abort()
        io.stdout(flags.json ? jsonLine(config.name, upload, isMeant) : textLine(upload, isMeant))
      })
    } catch (error) {
      if (!(error instanceof StreamError)) throw error
      io.stderr(`${config.name}: ${printable(explainError(error))}\n`)
      code = 1
    }
  }
  if (found === 0 && code === 0 && !flags.json) io.stdout('no unfinished upload\n')
  return code
}

/** Every unfinished upload of a pipeline that copies whole objects, with a way to abort it. */
export async function eachUnfinished(
  config: PipelineConfig,
  ledger: Ledger,
  { log, signal }: { readonly log: Log; readonly signal: AbortSignal },
  act: (upload: UnfinishedUpload, abort: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const { objects } = registry.sinks.find(({ type }) => type === config.sink.type) ?? {}
  if (!objects?.wanted(config.sink)) return
  const context = { ...contextOf(config, { log, meter: new MemoryMeter() }), uploads: ledger.uploads }
  using unfinished = await objects.unfinished(config.sink, context)
  for await (const upload of unfinished.list({ signal })) await act(upload, () => unfinished.abort(upload, { signal }))
}

function jsonLine(pipeline: string, { known, ...upload }: UnfinishedUpload, isAborted: boolean): string {
  const facts = known ? { object: known.objectId, size: known.size, bytes: storedBytes(known.parts) } : {}
  return `${JSON.stringify({ pipeline, ...upload, known: known !== undefined, ...facts, aborted: isAborted })}\n`
}

function textLine(
  { bucket, key, uploadId, startedMs, known, isAtServer }: UnfinishedUpload,
  isAborted: boolean,
): string {
  const stored = known
    ? `${fileSize(storedBytes(known.parts))} of ${fileSize(known.size)} in ${count(known.parts.length)} parts by the last save`
    : 'not known to this state: another program, or another state file'
  const what = isAborted ? 'aborted   ' : known ? 'to resume ' : 'unknown   '
  const gone = isAtServer ? '' : '; the server has it no more'
  return `${printable(`${what}  ${utc(startedMs)}  s3://${bucket}/${key}`)}\n${' '.repeat(12)}${stored}${gone}; id ${printable(uploadId)}\n`
}

function storedBytes(parts: ReadonlyArray<{ readonly bytes: number }>): number {
  return parts.reduce((sum, { bytes }) => sum + bytes, 0)
}
