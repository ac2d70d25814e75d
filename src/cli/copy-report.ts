/** What `copy` says while it goes on and at its end: bars for people in a terminal, lines of JSON for programs, else only the end. */
import type { ObjectReport } from '../core/account.ts'
import type { CopyProgress } from '../core/copy-progress.ts'
import { objectName } from '../core/object-name.ts'
import { count, fileSize } from '../telemetry/figures.ts'
import { printable } from '../telemetry/text-line.ts'

/** What is known of the copy at a moment. */
export interface CopyView {
  readonly underWay: Iterable<CopyProgress>
  /** Found so far, and whether that is all there is. */
  readonly found: { readonly objects: number; readonly bytes: number; readonly complete: boolean }
  readonly finished: { readonly objects: number; readonly failed: number; readonly bytes: number }
}

export interface CopySummary {
  readonly copied: number
  readonly skipped: number
  readonly bytes: number
  /** Bytes that an earlier run had stored already. */
  readonly resumedBytes: number
  readonly seconds: number
  readonly failures: ReadonlyArray<{ readonly name: string; readonly reason: string }>
  /** What the source could not even give. */
  readonly unread: number
  readonly stopped: boolean
  readonly error: string | undefined
}

/** The end of a copy that did not come to its first file. */
export const nothingCopied: CopySummary = {
  ...{ copied: 0, skipped: 0, bytes: 0, resumedBytes: 0, seconds: 0, failures: [], unread: 0 },
  ...{ stopped: false, error: undefined },
}

export interface CopyReport {
  /** Called a few times a second. */
  progress(view: CopyView): void
  /** `target` is undefined if no key could be made for it. */
  file(report: ObjectReport, target: string | undefined): void
  /** Makes room for a line of the log. */
  clear(): void
  end(summary: CopySummary): void
}

const barWidth = 20
const nameWidth = 28
/** Files that are shown one by one. */
const shownFiles = 6
const shownFailures = 50

/** Rate over the last seconds, in bytes per second: one that counts from the start hides that it stalls. */
export class Rate {
  readonly #windowMs: number
  #samples: Array<{ readonly ms: number; readonly bytes: number }> = []

  constructor(windowMs = 5000) {
    this.#windowMs = windowMs
  }

  add(ms: number, bytes: number): number {
    this.#samples.push({ ms, bytes })
    while (this.#samples.length > 2 && (this.#samples[1]?.ms ?? ms) < ms - this.#windowMs) this.#samples.shift()
    const first = this.#samples[0]
    return first === undefined || ms <= first.ms ? 0 : ((bytes - first.bytes) / (ms - first.ms)) * 1000
  }
}

export class BarReport implements CopyReport {
  readonly #write: (text: string) => void
  readonly #total = new Rate()
  readonly #nowMs: () => number
  /** Lines on the screen. */
  #lines = 0

  constructor(write: (text: string) => void, nowMs: () => number = Date.now) {
    this.#write = write
    this.#nowMs = nowMs
  }

  progress(view: CopyView): void {
    const underWay = [...view.underWay]
    const large = underWay.filter(({ partCount }) => partCount > 1).slice(0, shownFiles)
    const lines = [...large.map((one) => this.#fileLine(one)), this.#totalLine(view, underWay)]
    this.clear()
    // Without automatic margins a narrow terminal cuts the lines; wrapped, they could not be taken away again.
    this.#write(`\u001b[?7l${lines.join('\n')}\u001b[?7h`)
    this.#lines = lines.length
  }

  #fileLine({ object, totalBytes, bytes, sentParts, partCount, startedMs }: CopyProgress): string {
    const seconds = (this.#nowMs() - startedMs) / 1000
    const name = objectName(object).split('/').at(-1) ?? ''
    const parts = `${count(sentParts)}/${count(partCount)} parts`
    return `${fitted(printable(name))} ${bar(bytes, totalBytes)} ${parts}  ${fileSize(seconds > 0 ? bytes / seconds : 0)}/s`
  }

  #totalLine({ found, finished }: CopyView, underWay: readonly CopyProgress[]): string {
    const bytes = finished.bytes + underWay.reduce((sum, { bytes }) => sum + bytes, 0)
    const rate = this.#total.add(this.#nowMs(), bytes)
    const more = found.complete ? '' : '+'
    const left = found.complete && rate > 0 ? `  ${clock((found.bytes - bytes) / rate)} left` : ''
    const failed = finished.failed > 0 ? `  ${count(finished.failed)} failed` : ''
    const files = `${count(finished.objects)}/${count(found.objects)}${more} files`
    return `${fitted('total')} ${bar(bytes, found.bytes)} ${files}  ${fileSize(bytes)} of ${fileSize(found.bytes)}${more}  ${fileSize(rate)}/s${left}${failed}`
  }

  // The log tells of each failure as it comes, the end of all of them.
  file(): void {}

  clear(): void {
    if (this.#lines === 0) return
    this.#write(`\r\u001b[K${'\u001b[1A\u001b[K'.repeat(this.#lines - 1)}`)
    this.#lines = 0
  }

  end(summary: CopySummary): void {
    this.clear()
    this.#write(summaryText(summary))
  }
}

/** For people who watch a file or nothing: failures as they come, and the end. */
export class PlainReport implements CopyReport {
  readonly #write: (text: string) => void

  constructor(write: (text: string) => void) {
    this.#write = write
  }

  progress(): void {}
  clear(): void {}
  file(): void {}

  end(summary: CopySummary): void {
    this.#write(summaryText(summary))
  }
}

/** One object a line: `file` for each that is over, `progress` each second, `end` last. */
export class JsonReport implements CopyReport {
  readonly #write: (text: string) => void
  #toldMs = 0

  constructor(write: (text: string) => void) {
    this.#write = write
  }

  #line(event: string, facts: object): void {
    this.#write(`${JSON.stringify({ event, ...facts })}\n`)
  }

  progress({ underWay, found, finished }: CopyView): void {
    const nowMs = Date.now()
    if (nowMs - this.#toldMs < 1000) return
    this.#toldMs = nowMs
    const files = [...underWay].map(({ object, totalBytes: size, bytes, sentParts, partCount }) => ({
      ...{ source: objectName(object), size, bytes, parts: sentParts, of: partCount },
    }))
    const bytes = finished.bytes + files.reduce((sum, file) => sum + file.bytes, 0)
    this.#line('progress', { found, finished: { ...finished, bytes }, underWay: files })
  }

  file({ object, outcome, reason, counts, durationMs, skipped }: ObjectReport, target: string | undefined): void {
    const facts = { source: objectName(object), target, outcome: skipped ? 'skipped' : outcome }
    this.#line('file', { ...facts, bytes: counts.bytes, seconds: durationMs / 1000, reason })
  }

  clear(): void {}

  end({ failures, ...facts }: CopySummary): void {
    this.#line('end', { ...facts, failed: failures.length })
  }
}

/** Outcomes that mean: it is not there, and it was meant to be. */
export const failedOutcomes: ReadonlySet<string> = new Set(['failed', 'quarantined', 'vanished'])

function summaryText(summary: CopySummary): string {
  const { copied, skipped, bytes, resumedBytes, seconds, failures, unread, stopped, error } = summary
  const files = (n: number) => (n === 1 ? '1 file' : `${count(n)} files`)
  const rate = seconds > 0 ? `, ${fileSize((bytes - resumedBytes) / seconds)}/s` : ''
  const resumed = resumedBytes > 0 ? ` (${fileSize(resumedBytes)} of it were there from an earlier run)` : ''
  const failed = failures.length + unread
  const lines = [
    ...failures.slice(0, shownFailures).map(({ name, reason }) => `FAILED  ${name}: ${reason}`),
    ...(failures.length > shownFailures ? [`… and ${count(failures.length - shownFailures)} more`] : []),
    ...(unread > 0
      ? [
          `FAILED  ${unread === 1 ? '1 file or folder' : `${count(unread)} files or folders`} could not be read: see the messages above`,
        ]
      : []),
    ...(error === undefined ? [] : [`FAILED  ${error}`]),
    `${files(copied)} copied, ${fileSize(bytes)} in ${seconds.toFixed(1)} s${rate}${resumed}${skipped > 0 ? `; ${files(skipped)} left alone, already there` : ''}${failed > 0 ? `; ${files(failed)} failed` : ''}`,
    ...(stopped ? ['stopped: the same command goes on where it was'] : []),
    ...(!stopped && (failed > 0 || error !== undefined) ? ['the same command tries again what failed'] : []),
  ]
  return `${lines.map(printable).join('\n')}\n`
}

function bar(done: number, whole: number): string {
  const part = whole > 0 ? Math.min(1, done / whole) : 0
  const filled = Math.floor(barWidth * part)
  return `${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)} ${String(Math.floor(part * 100)).padStart(3)}%`
}

/** Exactly so wide; the end of a name tells more than its beginning. */
function fitted(text: string): string {
  const letters = [...text]
  return letters.length > nameWidth ? `…${letters.slice(-nameWidth + 1).join('')}` : text.padEnd(nameWidth)
}

/** `0:07`, `12:34`, `3:05:00` */
function clock(seconds: number): string {
  const whole = Math.max(0, Math.ceil(seconds))
  const two = (n: number) => String(n).padStart(2, '0')
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`
}
