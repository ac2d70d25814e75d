/** Lines of our own log as records of OTLP. */
import { type AnyValue, SeverityNumber } from '@opentelemetry/api'
import type { Resource } from '@opentelemetry/resources'
import { LoggerProvider, type ReadableLogRecord } from '@opentelemetry/sdk-logs'

const severities: Readonly<Record<string, SeverityNumber>> = {
  debug: SeverityNumber.DEBUG,
  info: SeverityNumber.INFO,
  warn: SeverityNumber.WARN,
  error: SeverityNumber.ERROR,
}
/** Longest text of a fact: a key of S3 fits, and a stack. */
const textLength = 4096

/** Gives a function that takes a line as pino writes it. `emit` gets each record and about how many bytes it takes; it must not throw. */
export function logExport(
  resource: Resource,
  scope: { readonly name: string; readonly version: string },
  emit: (record: ReadableLogRecord, bytes: number) => void,
): (line: string) => void {
  let bytes = 0
  const done = async () => undefined
  const provider = new LoggerProvider({
    resource,
    logRecordLimits: { attributeValueLengthLimit: textLength },
    processors: [{ onEmit: (record) => emit(record, bytes), forceFlush: done, shutdown: done }],
  })
  const logger = provider.getLogger(scope.name, scope.version)
  return (line) => {
    const { level, time, msg, ...facts } = parsed(line)
    // A string takes two bytes a character at most, and the record of it little more.
    bytes = 2 * line.length + 512
    const at = typeof time === 'string' ? new Date(time) : new Date()
    logger.emit({
      timestamp: at,
      observedTimestamp: at,
      severityNumber: severities[String(level)] ?? SeverityNumber.UNSPECIFIED,
      severityText: String(level).toUpperCase(),
      body: String(msg ?? '').slice(0, textLength),
      attributes: facts,
    })
  }
}

/** What is no JSON is a message by itself: nothing that is logged may be lost for its form. */
function parsed(line: string): Record<string, AnyValue> {
  try {
    return JSON.parse(line) as Record<string, AnyValue>
  } catch {
    return { msg: line.trimEnd() }
  }
}
