/** `explain`: how one object, or a local file, would be read: compression, format, time, records, what goes on the wire. */
import { createReadStream, existsSync, type Stats, statSync } from 'node:fs'
import type { LoadedConfig, PipelineConfig } from '../config/pipeline.ts'
import { recordAt } from '../core/block.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { objectName } from '../core/object-name.ts'
import { Slots } from '../core/slots.ts'
import { decode } from '../decoders/decode.ts'
import type { DecodeLimits, Decoding, OpenBytes } from '../decoders/decoding.ts'
import { fieldReader } from '../filters/fields.ts'
import type { ObjectShape, Shape } from '../filters/shape.ts'
import { createFormats } from '../formats/compile.ts'
import type { Format, Formats } from '../formats/format.ts'
import type { ObjectEntry } from '../ledger/ledger.ts'
import { count, fileSize, utc } from '../telemetry/figures.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { printable } from '../telemetry/text-line.ts'
import { assemble, contextOf, formatsOf, limitsOf, shapeOf } from './assemble.ts'
import { openConfig } from './config-file.ts'
import type { ExitCode, Io } from './io.ts'
import { placeOf } from './place.ts'
import { createCommandLog } from './run-log.ts'

/** Enough to tell what an object is like without reading a very large one to its end. */
const readBytes = 256 * 2 ** 20
const shownBytes = 300
const shownFields = 40
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
  const file = statSync(target, { throwIfNoEntry: false })
  if (file?.isDirectory()) {
    io.stderr(`${printable(target)} is a folder: name one file in it, or a key of the bucket\n`)
    return 2
  }
  const needsConfig = !file || flags.configGiven || existsSync(flags.config)
  const loaded = needsConfig ? openConfig(flags, io) : undefined
  if (needsConfig && !loaded) return 2
  try {
    if (!file) return await explainKey(target, loaded as LoadedConfig, io)
    const config = loaded?.pipelines[0]
    const formats = config ? formatsOf(config) : createFormats([], {})
    const shape = config && shapeOf(config, contextOf(config, { log: createCommandLog(io), meter: new MemoryMeter() }))
    return await tell(localFile(target, file), { formats, limits: config ? limitsOf(config) : plainLimits, shape }, io)
  } catch (error) {
    if (!(error instanceof StreamError)) throw error
    io.stderr(`${printable(explainError(error))}\n`)
    return 1
  }
}

function localFile(path: string, { size, mtimeMs }: Stats): Target {
  return {
    name: path,
    key: path.replace(/^\.?\//, ''),
    size,
    modifiedMs: mtimeMs,
    async *open(start) {
      try {
        yield* createReadStream(path, { start, highWaterMark: 2 ** 20 }) as AsyncIterable<Buffer>
      } catch (error) {
        throw new StreamError('source.access', `cannot read ${path}`, { cause: error })
      }
    },
  }
}

async function explainKey(target: string, loaded: LoadedConfig, io: Io): Promise<ExitCode> {
  const [, scheme, named, rest] = /^(s3|sftp|file):\/\/([^/]*)\/?(.*)$/s.exec(target) ?? []
  const key = rest ?? target
  if (key === '') {
    io.stderr(`${printable(target)} names no object: write s3://bucket/key, or sftp://host/path\n`)
    return 2
  }
  const config = scheme === undefined ? loaded.pipelines[0] : pipelineOf(loaded, scheme, named ?? '')
  if (!config) {
    const places = loaded.pipelines.map(({ source }) => placeOf(source)).join(', ')
    io.stderr(`no pipeline reads ${printable(`${scheme}://${named}`)}; there is: ${printable(places)}\n`)
    return 2
  }
  const prefix = String(config.source.prefix ?? '')
  const log = createCommandLog(io)
  await using parts = await assemble(config, { mode: 'readonly', log, meter: new MemoryMeter() })
  const object = await parts.source
    .find(key, { signal: io.soft, bucket: scheme === 's3' ? named : undefined })
    .catch((error: unknown) => {
      if (!(error instanceof StreamError) || error.code !== 'source.vanished' || key.startsWith(prefix)) throw error
      const hint = `the keys of pipeline ${config.name} begin with "${prefix}"`
      throw new StreamError(error.code, `${error.message}; ${hint}`, { cause: error.cause })
    })
  const code = await tell(
    {
      name: objectName(object),
      key: object.key,
      size: object.size,
      modifiedMs: object.lastModifiedMs,
      open: (offset) => parts.source.open(object, offset, { signal: io.soft }),
    },
    parts,
    io,
  )
  const outside = key.startsWith(prefix) ? '' : `; it never will be, because it is outside of prefix "${prefix}"`
  line(io, 'ledger', `${describeEntry(parts.ledger.find(object.id))}${outside}`)
  line(io, 'goes to', parts.sends === 'objects' ? `${parts.sink.placeOf(object)}, as it is` : placeOf(config.sink))
  return code
}

/** The pipeline that reads there. A queue has no bucket of its own: it is told of objects in any. */
function pipelineOf({ pipelines }: LoadedConfig, scheme: string, named: string): PipelineConfig | undefined {
  const host = named.replace(/^.*@/, '').replace(/:\d+$/, '')
  if (scheme === 'file') return pipelines.find(({ source }) => source.type === 'directory')
  if (scheme === 'sftp') return pipelines.find(({ source }) => source.type === 'sftp' && source.host === host)
  const ofBuckets = pipelines.filter(({ source }) => source.type === 's3_scan' || source.type === 's3_sqs')
  return (
    ofBuckets.find(({ source }) => source.bucket === named) ??
    ofBuckets.find(({ source }) => source.bucket === undefined)
  )
}

function describeEntry(entry: ObjectEntry | undefined): string {
  if (!entry) return 'not read yet'
  const { state, counts, error } = entry
  const kept = counts.quarantined > 0 ? `, ${count(counts.quarantined)} in quarantine` : ''
  return `${state}: ${count(counts.delivered)} records delivered${kept}${error ? `; ${error}` : ''}`
}

/** One line of the answer. */
function line(io: Io, name: string, text: string): void {
  io.stdout(`${name.padEnd(13)}${printable(text)}\n`)
}

const selections: Record<Decoding['selectedBy'], string> = {
  fixed: 'by default_format',
  name: 'by its name',
  content: 'by its content',
  fallback: 'because none matches: it is the first one',
}

async function tell(
  target: Target,
  o: { readonly formats: Formats; readonly limits: DecodeLimits; readonly shape: Shape | undefined },
  io: Io,
): Promise<ExitCode> {
  const { key, modifiedMs, size } = target
  const { formats, limits } = o
  line(io, 'object', `${target.name}${size === undefined ? '' : ` (${fileSize(size)})`}`)
  let decoding: Decoding
  try {
    const slots = new Slots(1)
    decoding = await decode(target.open, { key, formats, limits, resume: undefined, slots, signal: io.soft })
  } catch (error) {
    // What will not pass is what a run would put in quarantine.
    if (!(error instanceof StreamError) || error.kind !== 'permanent') throw error
    line(io, 'cannot read', `${explainError(error)}: quarantine`)
    return 0
  }
  const { format, sample, selectedBy, layers } = decoding
  const byName = format.timeFromKey(key)
  const byContent = byName === undefined ? format.timeFromContent(sample, modifiedMs) : undefined
  const from = byName !== undefined ? 'its name' : byContent !== undefined ? 'its records' : 'LastModified'
  const header = format.skipHeaderLines > 0 ? `, ${format.skipHeaderLines} header lines skipped` : ''
  line(io, 'compression', layers.length === 0 ? 'none' : layers.join(', inside it '))
  line(io, 'format', `${format.name} (${selections[selectedBy]})`)
  line(io, 'time', `${utc(byName ?? byContent ?? modifiedMs)} (from ${from})`)
  line(io, 'decoder', `${format.decoder}${header}`)
  const [, bucket = ''] = /^s3:\/\/([^/]+)/.exec(target.name) ?? []
  const timeMs = byName ?? byContent ?? modifiedMs
  const shape = o.shape?.({ object: { id: target.name, bucket, key, timeMs }, format, sample })
  line(io, 'on the wire', shape?.contentType ?? format.contentType)
  await tellRecords(decoding, shape, io)
  return 0
}

async function tellRecords(
  { blocks, tally, format, sample }: Decoding,
  shape: ObjectShape | undefined,
  io: Io,
): Promise<void> {
  let records = 0
  let goOn = 0
  let refused = 0
  let shown: string | undefined
  let bytes = 0
  let failure: StreamError | undefined
  try {
    for await (const block of blocks) {
      if (records === 0) {
        line(io, 'first record', excerpt(recordAt(block, 0)))
        const fields = fieldsOf(recordAt(block, 0), format, sample)
        if (fields !== '') line(io, 'its fields', fields)
      }
      if (shape) {
        const shaped = shape.apply(block)
        goOn += shaped.block.ends.length
        refused += shaped.refused.length
        if (shaped.block.ends.length > 0) shown ??= excerpt(recordAt(shaped.block, 0))
      }
      records += block.ends.length
      bytes += block.data.length
      if (bytes >= readBytes) break
    }
  } catch (error) {
    if (!(error instanceof StreamError) || error.kind !== 'permanent') throw error
    failure = error
  }
  const more = bytes >= readBytes ? ' so far (it is larger; reading stopped here)' : ''
  const oversize = tally.oversize > 0 ? `, ${count(tally.oversize)} longer than line_limit` : ''
  line(io, 'records', `${count(records)}, ${fileSize(bytes)}${oversize}${more}`)
  if (shape) {
    const errs = refused > 0 ? `, ${count(refused)} to quarantine` : ''
    line(io, 'go on', `${count(goOn)}${errs}, ${count(records - goOn - refused)} filtered out`)
    if (shown !== undefined) line(io, 'as', shown)
  }
  if (failure) line(io, 'and then', `${explainError(failure)}: quarantine`)
}

function excerpt(record: Buffer): string {
  const cut = record.length > shownBytes ? `… (${fileSize(record.length)})` : ''
  return `${record.subarray(0, shownBytes).toString()}${cut}`
}

/** Names that a filter can use for this record; empty if there are none. */
function fieldsOf(record: Buffer, format: Format, sample: Buffer): string {
  try {
    const names = Object.keys(fieldReader({ format, sample }).read(record))
    const more = names.length > shownFields ? `, … (${count(names.length)})` : ''
    return `${names.slice(0, shownFields).join(', ')}${more}`
  } catch (error) {
    return explainError(error)
  }
}
