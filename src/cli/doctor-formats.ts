/** What the formats of a pipeline make of keys that were found, and of the content of the newest object. */
import type { Finding, ListedObject, Signal } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { problemOf } from '../core/findings.ts'
import { Slots } from '../core/slots.ts'
import { decode } from '../decoders/decode.ts'
import type { Decoding } from '../decoders/decoding.ts'
import type { Formats } from '../formats/format.ts'
import { count, counted } from '../telemetry/figures.ts'
import type { Assembled } from './assemble.ts'

/** So many decoded bytes of the object are looked at. */
const readBytes = 2 ** 20
const shownKeys = 3

export async function* examineKeys(
  parts: Pick<Assembled, 'formats' | 'limits' | 'source' | 'sends'>,
  keys: readonly string[],
  o: Signal,
): AsyncGenerator<Finding> {
  // Whole objects go as they are.
  if (parts.sends === 'objects') return
  yield* byName(parts.formats, keys)
  const last = keys.at(-1)
  if (last === undefined) return
  try {
    yield await byContent(parts, last, o)
  } catch (error) {
    o.signal.throwIfAborted()
    if (!(error instanceof StreamError)) throw error
    yield problemOf(error, { ...o, what: last })
  }
}

function* byName(formats: Formats, keys: readonly string[]): Generator<Finding> {
  const known = new Map<string, number>()
  const unknown: string[] = []
  for (const key of keys) {
    const format = formats.list.find((one) => one.matchesKey(key) && one.timeFromKey(key) !== undefined)
    if (format) known.set(format.name, (known.get(format.name) ?? 0) + 1)
    else unknown.push(key)
  }
  if (known.size > 0) {
    const names = [...known].map(([name, n]) => `${name} (${count(n)})`)
    yield { level: 'ok', text: `known with their time by their names: ${names.join(', ')}` }
  }
  if (unknown.length === 0) return
  const some = unknown.slice(0, shownKeys).join(', ')
  const text = `${count(unknown.length)} of ${count(keys.length)} names have no time that a format knows: ${some}${unknown.length > shownKeys ? ', …' : ''}`
  const advice =
    'their content decides the format, and LastModified is their time; a format of your own can read the time from the name'
  yield { level: 'note', text, advice }
}

async function byContent(
  { formats, limits, source }: Pick<Assembled, 'formats' | 'limits' | 'source'>,
  key: string,
  { signal }: Signal,
): Promise<Finding> {
  // Named with the folder or bucket that the source has by itself.
  const object: ListedObject = await source.find(key, { signal })
  const open = (offset: number) => source.open(object, offset, { signal })
  try {
    const decoding = await decode(open, { key, formats, limits, resume: undefined, slots: new Slots(1), signal })
    const { records, isAll } = await countOf(decoding)
    const { format, layers, selectedBy } = decoding
    const packed = layers.length === 0 ? 'not compressed' : layers.join(', inside it ')
    const what = `${key} is ${packed}`
    const many = `${isAll ? '' : 'at least '}${counted(records, 'record')}`
    if (selectedBy === 'fallback') {
      const advice = 'right for plain text; else name its format in default_format, or add one of your own'
      return { level: 'note', text: `${what}; no format fits it: its lines are sent as they are, ${many}`, advice }
    }
    const text = `${what}, format ${format.name}, ${many}`
    if (records > 0) return { level: 'ok', text }
    return { level: 'note', text }
  } catch (error) {
    if (!(error instanceof StreamError) || error.kind !== 'permanent') throw error
    const advice = `see: s3-streamer explain ${key}`
    return { level: 'warning', text: `${key} would go to quarantine: ${explainError(error)}`, advice }
  }
}

async function countOf({ blocks }: Decoding): Promise<{ readonly records: number; readonly isAll: boolean }> {
  let records = 0
  let bytes = 0
  for await (const block of blocks) {
    records += block.ends.length
    bytes += block.data.length
    if (bytes >= readBytes) return { records, isAll: false }
  }
  return { records, isAll: true }
}
