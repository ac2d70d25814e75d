/** What `doctor` prints: groups of lines for people, or JSON lines. */
import { styleText } from 'node:util'
import type { Finding } from '../core/component.ts'
import { count, counted } from '../telemetry/figures.ts'
import { printable } from '../telemetry/text-line.ts'
import type { Io } from './io.ts'

export interface Part {
  readonly part: 'machine' | 'configuration' | 'state' | 'source' | 'sink'
  /** For people. */
  readonly title: string
  readonly pipeline?: string
}

type Level = Finding['level']
const styles = { ok: 'green', note: 'cyan', warning: 'yellow', problem: 'red' } as const satisfies Record<Level, string>
const width = 9

export class DoctorReport {
  readonly #io: Pick<Io, 'stdout' | 'color'>
  readonly #json: boolean
  readonly #told: Record<Level, number> = { ok: 0, note: 0, warning: 0, problem: 0 }
  #groups = 0

  constructor(io: Pick<Io, 'stdout' | 'color'>, { json }: { readonly json: boolean }) {
    this.#io = io
    this.#json = json
  }

  get problems(): number {
    return this.#told.problem
  }

  begin({ title }: Part): void {
    if (this.#json) return
    this.#io.stdout(`${this.#groups > 0 ? '\n' : ''}${this.#paint('bold', printable(title))}\n`)
    this.#groups += 1
  }

  tell({ part, pipeline }: Part, { level, text, advice }: Finding): void {
    this.#told[level] += 1
    if (this.#json) {
      const whole = { ...(pipeline === undefined ? {} : { pipeline }), part, level, text, ...(advice && { advice }) }
      this.#io.stdout(`${JSON.stringify(whole)}\n`)
      return
    }
    const name = this.#paint(styles[level], level.padEnd(width))
    this.#io.stdout(`  ${name}${printable(text)}\n`)
    if (advice) this.#io.stdout(`  ${' '.repeat(width)}→ ${printable(advice)}\n`)
  }

  end(): void {
    const { ok, note, warning, problem } = this.#told
    if (this.#json) {
      this.#io.stdout(`${JSON.stringify({ summary: { ok, notes: note, warnings: warning, problems: problem } })}\n`)
      return
    }
    const verdict =
      problem > 0
        ? `${counted(problem, 'problem')}: it will not work as configured`
        : warning > 0
          ? 'it can work; see the warnings'
          : 'all is well'
    const facts = [
      ...(problem > 0 ? [counted(warning, 'warning')] : warning > 0 ? [counted(warning, 'warning')] : []),
      ...(note > 0 ? [counted(note, 'note')] : []),
      `${count(ok)} ok`,
    ]
    this.#io.stdout(`\n${this.#paint('bold', verdict)} (${facts.join(', ')})\n`)
  }

  #paint(style: Parameters<typeof styleText>[0], text: string): string {
    return this.#io.color.stdout ? styleText(style, text, { validateStream: false }) : text
  }
}
