/** `explain`: how one object, or a local file, would be read: compression, format, time, records, what goes on the wire. */
import { createReadStream, existsSync, statSync } from 'node:fs'
import type { LoadedConfig, PipelineConfig } from '../config/pipeline.ts'
import { recordAt } from '../core/block.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { Slots } from '../core/slots.ts'
import { decode } from '../decoders/decode.ts'
import type { DecodeLimits, OpenBytes } from '../decoders/decoding.ts'
import { createFormats } from '../formats/compile.ts'
import type { Formats } from '../formats/format.ts'
import { createLog } from '../telemetry/log.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { assemble, formatsOf, limitsOf } from './assemble.ts'
import { openConfig } from './config-file.ts'
import { count, fileSize, utc } from './figures.ts'
import type { ExitCode, Io } from './program.ts'

/** Enough to tell what an object is like without reading a very large one to its end. */
const readBytes = 256 * 2 ** 20
const shownBytes = 300
/** Without a configuration: the presets and the limits of an empty `decode` section. */
const plainLimits: DecodeLimits = {
  ratio: 200,
  ratioFreeBytes: 64 * 2 ** 20,
  totalBytes: 0,
  lineBytes: 2 ** 20,
  linePolicy: 'split',
}

interface Target {
  readonly name: string
  readonly key: string
  readonly size: number | undefined
  readonly modifiedMs: number
  readonly open: OpenBytes
}

export async function explain(
  target: string,
  flags: { readonly config: string; readonly configGiven: boolean; readonly pipeline?: string },
  io: Io,
): Promise<ExitCode> {
  const isFile = existsSync(target) && statSync(target).isFile()
  const needsConfig = !isFile || flags.configGiven || existsSync(flags.config)
  const loaded = needsConfig ? openConfig(flags, io) : undefined
  if (needsConfig && !loaded) return 2
  try {
    const config = loaded?.pipelines[0]
    if (isFile) {
      const formats = config ? formatsOf(config) : createFormats([], {})
      const file: Target = {
        name: target,
        key: target.replace(/^\.?\//, ''),
        size: statSync(target).size,
        modifiedMs: statSync(target).mtimeMs,
        open: (start) => createReadStream(target, { start, highWaterMark: 2 ** 20 }) as AsyncIterable<Buffer>,
      }
      return await tell(file, formats, config ? limitsOf(config) : plainLimits, io)
    }
    return await explainKey(target, loaded as LoadedConfig, io)
  } catch (error) {
    if (!(error instanceof StreamError)) throw error
    io.stderr(`${explainError(error)}\n`)
    return 1
  }
}

async function explainKey(target: string, loaded: LoadedConfig, io: Io): Promise<ExitCode> {
  const [, named, rest] = /^s3:\/\/([^/]+)\/(.+)$/.exec(target) ?? []
  const key = rest ?? target
  const config = loaded.pipelines.find(({ source }) => named === undefined || source.bucket === named)
  if (!config) {
    const buckets = loaded.pipelines.map(({ source }) => source.bucket).join(', ')
    io.stderr(`no pipeline reads bucket ${named}; there is: ${buckets}\n`)
    return 2
  }
  const log = createLog({ level: 'warn', format: 'text', color: false, write: io.stderr })
  await using parts = await assemble(config, { mode: 'readonly', log, meter: new MemoryMeter() })
  const object = await parts.source.find(key, { signal: io.soft })
  const code = await tell(
    {
      name: `s3://${object.bucket}/${object.key}`,
      key: object.key,
      size: object.size,
      modifiedMs: object.lastModifiedMs,
      open: (offset) => parts.source.open(object, offset, { signal: io.soft }),
    },
    parts.formats,
    parts.limits,
    io,
  )
  const entry = parts.ledger.find(object.id)
  const counts = entry && `${count(entry.counts.delivered)} delivered, ${count(entry.counts.quarantined)} in quarantine`
  io.stdout(
    `ledger       ${entry ? `${entry.state}: ${counts}${entry.error ? `; ${entry.error}` : ''}` : 'not seen yet'}\n`,
  )
  io.stdout(`goes to      ${destination(config)}\n`)
  return code
}

function destination({ sink }: PipelineConfig): string {
  return `${sink.type} ${'endpoints' in sink && Array.isArray(sink.endpoints) ? sink.endpoints.join(', ') : ''}`
}

async function tell(target: Target, formats: Formats, limits: DecodeLimits, io: Io): Promise<ExitCode> {
  const { key, modifiedMs } = target
  const decoding = await decode(target.open, {
    key,
    formats,
    limits,
    resume: undefined,
    slots: new Slots(1),
    signal: io.soft,
  })
  const { format, sample, selectedBy, layers, tally } = decoding
  const byName = format.timeFromKey(key)
  const byContent = byName === undefined ? format.timeFromContent(sample, modifiedMs) : undefined
  const from =
    byName !== undefined
      ? 'from the name'
      : byContent !== undefined
        ? 'from the records'
        : 'LastModified: no format knows a time here'
  io.stdout(
    [
      `object       ${target.name}${target.size === undefined ? '' : ` (${fileSize(target.size)})`}`,
      `compression  ${layers.length === 0 ? 'none' : layers.join(', inside it ')}`,
      `format       ${format.name} (${{ fixed: 'default_format', name: 'by its name', content: 'by its content', fallback: 'none matches, so the first one' }[selectedBy]})`,
      `time         ${utc(byName ?? byContent ?? modifiedMs)} (${from})`,
      `decoder      ${format.decoder}${format.skipHeaderLines > 0 ? `, ${format.skipHeaderLines} header lines skipped` : ''}`,
      `on the wire  ${format.contentType}`,
    ].join('\n') + '\n',
  )
  let records = 0
  let bytes = 0
  let failure: unknown
  try {
    for await (const block of decoding.blocks) {
      if (records === 0) {
        const first = recordAt(block, 0)
        const cut = first.length > shownBytes ? `… (${fileSize(first.length)})` : ''
        io.stdout(`first record ${first.subarray(0, shownBytes).toString()}${cut}\n`)
      }
      records += block.ends.length
      bytes += block.data.length
      if (bytes >= readBytes) break
    }
  } catch (error) {
    if (!(error instanceof StreamError)) throw error
    failure = error
  }
  const more = bytes >= readBytes ? ' so far (it is larger; reading stopped here)' : ''
  const oversize = tally.oversize > 0 ? `, ${count(tally.oversize)} longer than line_limit` : ''
  io.stdout(`records      ${count(records)}, ${fileSize(bytes)}${oversize}${more}\n`)
  if (failure !== undefined) io.stdout(`then         quarantine: ${explainError(failure)}\n`)
  return 0
}
