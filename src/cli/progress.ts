/** The progress bar of `run --once` in a terminal: one line on standard error, redrawn a few times a second. */
import type { Source } from '../core/component.ts'
import type { Flow } from '../core/flow.ts'
import { count, fileSize } from '../telemetry/figures.ts'

const barWidth = 24
const redrawMs = 200

export class Progress {
  readonly #write: (text: string) => void
  readonly #followed: Array<{ readonly flow: Flow; readonly source: Source }> = []
  readonly #startMs = Date.now()
  readonly #timer: NodeJS.Timeout
  /** True while the bar stands on the screen, or is only away for the line being written. */
  #shown = false

  constructor(write: (text: string) => void) {
    this.#write = write
    this.#timer = setInterval(() => this.#draw(), redrawMs)
    this.#timer.unref()
  }

  follow(flow: Flow, source: Source): void {
    this.#followed.push({ flow, source })
  }

  /** Takes the bar away, so that something else can be written. */
  clear(): void {
    if (this.#shown) this.#write('\r\u001b[K')
  }

  /** Brings it back after that. */
  restore(): void {
    if (this.#shown) this.#draw()
  }

  end(): void {
    clearInterval(this.#timer)
    this.clear()
    this.#shown = false
  }

  #draw(): void {
    let found = 0
    let settled = 0
    let bytes = 0
    let records = 0
    let complete = true
    for (const { flow, source } of this.#followed) {
      const { objects, delivered, bytes: read } = flow.totals
      found += source.progress.found
      complete &&= source.progress.complete
      settled += Object.values(objects).reduce((sum, n) => sum + n, 0)
      bytes += read
      records += delivered
    }
    const filled = found === 0 ? 0 : Math.round((barWidth * settled) / found)
    const bar = `${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)}`
    const rate = fileSize((bytes / Math.max(Date.now() - this.#startMs, 1)) * 1000)
    const objects = `${count(settled)}/${count(found)}${complete ? '' : '+'} objects`
    const line = `${bar} ${objects}  ${count(records)} records  ${fileSize(bytes)}  ${rate}/s`
    // Without automatic margins a narrow terminal cuts the line; wrapped, it could not be taken away again.
    this.#write(`\r\u001b[?7l${line}\u001b[K\u001b[?7h`)
    this.#shown = true
  }
}
