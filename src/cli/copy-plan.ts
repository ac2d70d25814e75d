/** The dry run of a copy: what would be copied, and where to. Lists, and reads nothing. */
import type { ListedObject, ObjectSink, Source } from '../core/component.ts'
import { nothingCounted } from '../core/delivery.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { objectName } from '../core/object-name.ts'
import { count, fileSize } from '../telemetry/figures.ts'
import { printable } from '../telemetry/text-line.ts'
import type { ExitCode, Io } from './io.ts'

export async function planCopy(
  { source, sink }: { readonly source: Source; readonly sink: ObjectSink },
  io: Io,
  o: { readonly soft: AbortSignal; readonly hard: AbortSignal },
): Promise<ExitCode> {
  let objects = 0
  let bytes = 0
  let failed = 0
  for await (const object of source.objects({ ...o, once: true })) {
    try {
      const size = await source.confirm(object, { signal: o.soft })
      io.stdout(planLine(object, size, sink.placeOf(object)))
      objects += 1
      bytes += size
    } catch (error) {
      if (o.soft.aborted) break
      if (!(error instanceof StreamError) || error.kind === 'bug') throw error
      failed += 1
      io.stdout(`${'-'.padStart(9)}  ${printable(objectName(object))}: ${printable(explainError(error))}\n`)
    }
    source.finished(object, 'done', nothingCounted)
  }
  failed += source.progress.failed ?? 0
  const troubles = failed > 0 ? ` ${count(failed)} could not be copied.` : ''
  io.stdout(
    `Would copy ${count(objects)} objects (${fileSize(bytes)}).${troubles} Nothing was copied, nothing was changed.\n`,
  )
  return failed > 0 ? 1 : 0
}

function planLine(object: ListedObject, size: number, target: string): string {
  return printable(`${fileSize(size).padStart(9)}  ${objectName(object)} -> ${target}`).concat('\n')
}
