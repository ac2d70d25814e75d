/**
 * Requests of OTLP as they come by the wire, taken apart by the schema of opentelemetry-proto into what the JSON form of OTLP says.
 * https://github.com/open-telemetry/opentelemetry-proto
 */

type Scalar = 'string' | 'bytes' | 'double' | 'fixed64' | 'varint' | 'bool'
type Field = readonly [name: string, type: Scalar | Message, isRepeated?: 'repeated']
/** Thunk: a value may hold values. */
type Message = () => Readonly<Record<number, Field>>

const value: Message = () => ({
  1: ['stringValue', 'string'],
  2: ['boolValue', 'bool'],
  3: ['intValue', 'varint'],
  4: ['doubleValue', 'double'],
  5: ['arrayValue', () => ({ 1: ['values', value, 'repeated'] })],
  6: ['kvlistValue', () => ({ 1: ['values', keyValue, 'repeated'] })],
  7: ['bytesValue', 'bytes'],
})
const keyValue: Message = () => ({ 1: ['key', 'string'], 2: ['value', value] })
const resource: Message = () => ({ 1: ['attributes', keyValue, 'repeated'] })
const scope: Message = () => ({ 1: ['name', 'string'], 2: ['version', 'string'] })
const times = { 2: ['startTimeUnixNano', 'fixed64'], 3: ['timeUnixNano', 'fixed64'] } as const
const numberPoint: Message = () => ({ ...times, 4: ['asDouble', 'double'], 7: ['attributes', keyValue, 'repeated'] })
const histogramPoint: Message = () => ({
  ...times,
  4: ['count', 'fixed64'],
  5: ['sum', 'double'],
  6: ['bucketCounts', 'fixed64', 'repeated'],
  7: ['explicitBounds', 'double', 'repeated'],
  9: ['attributes', keyValue, 'repeated'],
})
const metric: Message = () => ({
  1: ['name', 'string'],
  2: ['description', 'string'],
  3: ['unit', 'string'],
  5: ['gauge', () => ({ 1: ['dataPoints', numberPoint, 'repeated'] })],
  7: [
    'sum',
    () => ({
      1: ['dataPoints', numberPoint, 'repeated'],
      2: ['aggregationTemporality', 'varint'],
      3: ['isMonotonic', 'bool'],
    }),
  ],
  9: ['histogram', () => ({ 1: ['dataPoints', histogramPoint, 'repeated'], 2: ['aggregationTemporality', 'varint'] })],
})
const logRecord: Message = () => ({
  1: ['timeUnixNano', 'fixed64'],
  2: ['severityNumber', 'varint'],
  3: ['severityText', 'string'],
  5: ['body', value],
  6: ['attributes', keyValue, 'repeated'],
  11: ['observedTimeUnixNano', 'fixed64'],
})
const link: Message = () => ({ 1: ['traceId', 'bytes'], 2: ['spanId', 'bytes'] })
const event: Message = () => ({
  1: ['timeUnixNano', 'fixed64'],
  2: ['name', 'string'],
  3: ['attributes', keyValue, 'repeated'],
})
const span: Message = () => ({
  1: ['traceId', 'bytes'],
  2: ['spanId', 'bytes'],
  4: ['parentSpanId', 'bytes'],
  5: ['name', 'string'],
  6: ['kind', 'varint'],
  7: ['startTimeUnixNano', 'fixed64'],
  8: ['endTimeUnixNano', 'fixed64'],
  9: ['attributes', keyValue, 'repeated'],
  11: ['events', event, 'repeated'],
  13: ['links', link, 'repeated'],
  14: ['droppedLinksCount', 'varint'],
  15: ['status', () => ({ 2: ['message', 'string'], 3: ['code', 'varint'] })],
})

/** A request: resources, each with scopes, each with items. */
function request(resources: string, scopes: string, items: string, item: Message): Message {
  const scoped: Message = () => ({ 1: ['scope', scope], 2: [items, item, 'repeated'] })
  const ofResource: Message = () => ({ 1: ['resource', resource], 2: [scopes, scoped, 'repeated'] })
  return () => ({ 1: [resources, ofResource, 'repeated'] })
}
const requests = {
  metrics: request('resourceMetrics', 'scopeMetrics', 'metrics', metric),
  logs: request('resourceLogs', 'scopeLogs', 'logRecords', logRecord),
  traces: request('resourceSpans', 'scopeSpans', 'spans', span),
} as const

/** Throws if the bytes are no message. */
export function otlpJson(signal: keyof typeof requests, bytes: Buffer): unknown {
  return message(requests[signal], bytes)
}

function message(schema: Message, bytes: Buffer): Record<string, unknown> {
  const fields = schema()
  const found: Record<string, unknown> = {}
  let at = 0
  const varint = () => {
    let sum = 0
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes.readUInt8(at)
      at += 1
      sum += (byte & 127) * factor
      if (byte < 128) return sum
    }
  }
  const put = ([name, , isRepeated]: Field, value: unknown) => {
    if (!isRepeated) found[name] = value
    else if (Array.isArray(found[name])) found[name].push(value)
    else found[name] = [value]
  }
  while (at < bytes.length) {
    const tag = varint()
    const field = fields[Math.floor(tag / 8)]
    const wireType = tag % 8
    if (wireType === 2) {
      const length = varint()
      if (at + length > bytes.length) throw new RangeError('a field is longer than its message')
      const part = bytes.subarray(at, at + length)
      at += length
      if (!field) continue
      const [, type, isRepeated] = field
      if (typeof type === 'function') put(field, message(type, part))
      else if (type === 'string') put(field, part.toString())
      else if (type === 'bytes') put(field, part.toString('hex'))
      else if (isRepeated) for (let i = 0; i < part.length; i += 8) put(field, eightBytes(type, part, i))
    } else if (wireType === 1) {
      if (field) put(field, eightBytes(field[1], bytes, at))
      at += 8
    } else if (wireType === 0) {
      const number = varint()
      if (field) put(field, field[1] === 'bool' ? number === 1 : number)
    } else if (wireType === 5) {
      at += 4
    } else throw new RangeError(`no wire type: ${wireType}`)
  }
  return found
}

/** Numbers of 64 bits are text in JSON. */
function eightBytes(type: Field[1], bytes: Buffer, at: number): number | string {
  return type === 'double' ? bytes.readDoubleLE(at) : String(bytes.readBigUInt64LE(at))
}
