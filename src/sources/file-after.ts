/**
 * What becomes of files that have arrived: they are deleted, or moved away.
 *
 * 1. Only after the ledger has written down that all of the file arrived, and only if it still is the version that arrived.
 * 2. A file's own marker goes before it: without its file it would call the next version finished while that is written.
 * 3. What fails is tried again here for a while, and by every later poll that finds the file and knows it as done: also after a crash.
 * 4. Nothing is ever written over: where a name is taken, a number is put behind it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs } from '../core/backoff.ts'
import type { Log } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { type FileObject, fileId } from './file-object.ts'
import type { FileStore } from './file-store.ts'
import { type MoveTarget, targetPath } from './file-template.ts'

export interface AfterOptions {
  readonly store: FileStore
  readonly action: { readonly kind: 'delete' } | { readonly kind: 'move'; readonly to: () => MoveTarget | undefined }
  /** Name of the marker of the file, if it has one of its own. */
  readonly markerOf: (path: string) => string | undefined
  readonly log: Log
  readonly did: () => void
  readonly failed: () => void
  /** Called when one more is dealt with. */
  readonly changed: () => void
}

const atOnce = 4
const attempts = 5
const waits = { minMs: 200, maxMs: 10_000 }
/** Names that are tried where the first is taken. */
const names = 1000

export class AfterActions implements AsyncDisposable {
  readonly #o: AfterOptions
  readonly #over = new AbortController()
  /** Ids of those that wait or are under way. */
  readonly #pending = new Set<string>()
  /** In the order of their arrival. Neither a promise nor a listener for each: there may be very many. */
  #waiting: FileObject[] = []
  /** So many of `#waiting` were taken. */
  #taken = 0
  readonly #lanes = new Set<Promise<void>>()
  /** Lanes that will still look for one to take: of those in `#lanes` some may have ended a moment ago. */
  #looking = 0
  /** Files that should be gone and are not. */
  readonly #stuck = new Set<string>()

  constructor(o: AfterOptions) {
    this.#o = o
  }

  get pending(): number {
    return this.#pending.size
  }

  get stuck(): number {
    return this.#stuck.size
  }

  /** Returns at once. Asking again for one that is waiting changes nothing. */
  add(object: FileObject): void {
    if (this.#pending.has(object.id) || this.#over.signal.aborted) return
    this.#pending.add(object.id)
    this.#waiting.push(object)
    if (this.#looking === atOnce) return
    this.#looking += 1
    const lane = this.#work().finally(() => this.#lanes.delete(lane))
    this.#lanes.add(lane)
  }

  /** Throws nothing. */
  async #work(): Promise<void> {
    // Whoever adds one goes on first.
    await Promise.resolve()
    for (let object = this.#take(); object && !this.#over.signal.aborted; object = this.#take()) {
      await this.#act(object)
      this.#pending.delete(object.id)
      this.#o.changed()
    }
    // In the same turn as the look that found nothing: whoever adds one after that starts a lane.
    this.#looking -= 1
  }

  #take(): FileObject | undefined {
    const object = this.#waiting[this.#taken]
    this.#taken += 1
    // Taking from the front of a long array costs its length; now and then is enough.
    if (object === undefined || this.#taken >= 1000) {
      this.#waiting = this.#waiting.slice(this.#taken)
      this.#taken = 0
    }
    return object
  }

  /** Throws nothing. */
  async #act(object: FileObject): Promise<void> {
    const { log, did, failed, action } = this.#o
    const { signal } = this.#over
    const { id, key } = object
    try {
      for (let attempt = 1; ; attempt += 1) {
        try {
          if (await this.#once(object, signal)) did()
          this.#stuck.delete(id)
          return
        } catch (error) {
          if (signal.aborted) return
          const isHopeless = error instanceof StreamError && error.kind !== 'transient'
          if (isHopeless || attempt >= attempts) throw error
          await sleep(backoffMs(waits, attempt), undefined, { signal })
        }
      }
    } catch (error) {
      if (signal.aborted) return
      failed()
      const facts = { key, error: explainError(error) }
      const text = `the file arrived and could not be ${action.kind === 'move' ? 'moved' : 'deleted'} afterwards; the next poll tries it again`
      if (this.#stuck.has(id)) log.debug(facts, text)
      else log.error(facts, text)
      this.#stuck.add(id)
    }
  }

  /** False if there was nothing to do: the file is gone, or it is another version by now. */
  async #once(object: FileObject, signal: AbortSignal): Promise<boolean> {
    const { store, action, log, markerOf } = this.#o
    const { bucket, key, path } = object
    const file = `/${key}`
    const facts = await store.stat(file, { signal })
    if (!facts) return false
    if (facts.kind !== 'file' || fileId(bucket, key, facts) !== object.id) {
      log.warn({ key }, 'the file changed after it was read: it stays, and is read again')
      return false
    }
    const markerName = markerOf(path)
    const marker = markerName === undefined ? undefined : inFolderOf(file, markerName)
    if (action.kind === 'delete') {
      if (marker !== undefined) await store.remove(marker, { signal })
      await store.remove(file, { signal })
      log.debug({ key }, 'file deleted')
      return true
    }
    const target = action.to()
    if (!target) throw new StreamError('core.unbalanced', `${object.id} arrived before its folder was found`)
    const to = await this.#move(object, marker, { target, signal })
    log.debug({ key, to }, 'file moved')
    return true
  }

  async #move(
    { key, path, timeMs }: FileObject,
    marker: string | undefined,
    { target, signal }: { readonly target: MoveTarget; readonly signal: AbortSignal },
  ): Promise<string> {
    const { store, markerOf } = this.#o
    const wanted = targetPath(target, { path, timeMs })
    await store.makeFolder(wanted.slice(0, Math.max(wanted.lastIndexOf('/'), 1)), { signal })
    let markerAt = marker !== undefined && (await store.stat(marker, { signal })) ? marker : undefined
    for (let number = 0; number < names; number += 1) {
      const to = number === 0 ? wanted : `${wanted}.${number}`
      const name = markerAt === undefined ? undefined : markerOf(to)
      if (markerAt !== undefined && name !== undefined) {
        const markerTo = inFolderOf(to, name)
        if (!(await store.move(markerAt, markerTo, { signal }))) continue
        markerAt = markerTo
      }
      if (await store.move(`/${key}`, to, { signal })) return to
    }
    const advice = 'clear that folder, or put the time into move_to'
    throw new StreamError(
      'source.access',
      `cannot move /${key} to ${wanted}: it and ${names} names like it are taken (${advice})`,
    )
  }

  /** Waits for what is under way, but no longer than that; the rest is done by a later poll. */
  async close(limitMs: number): Promise<void> {
    const limit = new AbortController()
    const waiting = sleep(limitMs, undefined, { signal: limit.signal }).catch(() => undefined)
    await Promise.race([Promise.all(this.#lanes), waiting])
    limit.abort()
    await this[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort(new Error('the source is closed'))
    await Promise.all(this.#lanes)
  }
}

function inFolderOf(file: string, name: string): string {
  return `${file.slice(0, file.lastIndexOf('/') + 1)}${name}`
}
