/** What state.json is to say: every object up to its time is settled, and a hand that goes back may rely on it. */
import type { ActiveObjects } from './active-objects.ts'
import type { Meta } from './meta.ts'
import type { ObjectTable } from './object-table.ts'
import type { StateFile } from './state-file.ts'

export class StateContent {
  readonly #objects: ObjectTable
  readonly #active: ActiveObjects
  #lastFile: string | undefined

  constructor(objects: ObjectTable, active: ActiveObjects) {
    this.#objects = objects
    this.#active = active
  }

  /** The place was moved: no file belongs to the time that the state has now. */
  moved(): void {
    this.#lastFile = ''
  }

  now({ horizon, totals, written }: Meta, nowMs: number): StateFile {
    const low = this.#active.oldestUnfinishedMs(new Set()) ?? Number.POSITIVE_INFINITY
    const bound = Math.min(low - 1, horizon.listed ? Number.MAX_SAFE_INTEGER : horizon.checkpointMs)
    const row = this.#objects.latestFinished(Math.min(bound, Number.MAX_SAFE_INTEGER))
    const before = written.at(-1) ?? 0
    const found = row ? Math.floor(row.timeMs / 1000) : 0
    const isOn = row !== undefined && found >= before
    if (isOn) this.#lastFile = row.key
    return {
      last_processed_timestamp: isOn ? found : before,
      last_processed_file: this.#lastFile ?? totals.lastKey,
      total_files_processed: totals.files,
      total_bytes_processed: totals.bytes,
      last_updated: Math.floor(nowMs / 1000),
    }
  }
}
