/** What may be done to the running streamer from the console. */
import type { Operations, ReplayPlan, ReplayRequest } from '../console/operations.ts'
import type { ReloadOutcome } from '../console/snapshot.ts'
import type { Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { planReplay } from '../core/replay-plan.ts'
import { Look } from './look.ts'
import type { Streamer } from './streamer.ts'

export class Act extends Look implements Operations {
  readonly #streamer: Streamer

  constructor(streamer: Streamer) {
    super(streamer)
    this.#streamer = streamer
  }

  requeue(pipeline: string, ids: readonly number[] | 'all'): number {
    return this.#ledgerOf(pipeline).requeue(ids)
  }

  drop(pipeline: string, ids: readonly number[]): number {
    return this.#ledgerOf(pipeline).drop(ids)
  }

  async planReplay(request: ReplayRequest, o: Signal): Promise<ReplayPlan> {
    const pipeline = this.find(request.pipeline)
    try {
      const { objects, bytes, seconds } = await planReplay(pipeline.parts, request, { ...o, nowMs: Date.now() })
      return { objects, bytes, seconds }
    } catch (error) {
      if (pipeline.isOpen) throw error
      const text = `pipeline ${request.pipeline} was stopped or restarted while the replay was planned: ask again`
      throw new StreamError('run.unknown', text, { cause: error })
    }
  }

  startReplay(
    request: ReplayRequest & { readonly planned: { readonly objects: number; readonly bytes: number } },
  ): number {
    const { pipeline, ...replay } = request
    return this.#ledgerOf(pipeline).replays.add(replay)
  }

  cancelReplay(pipeline: string, id: number): void {
    if (!this.#ledgerOf(pipeline).replays.cancel(id))
      throw new StreamError('run.unknown', `replay ${id} of ${pipeline} is over, or there is none of this number`)
  }

  reload(): Promise<ReloadOutcome> {
    return this.#streamer.reload()
  }

  #ledgerOf(pipeline: string) {
    return this.find(pipeline).parts.ledger
  }
}
