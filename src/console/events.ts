/**
 * Snapshots to everyone who looks on, as server-sent events: `event: snapshot`, whose data is the JSON of a Snapshot, at once and then
 * every second. While nobody looks on nothing is made; one is made and serialised once for all.
 *
 * Someone who reads too slowly misses snapshots: a new one is handed over only after the last one is gone, so nothing piles up.
 */
import type { ServerResponse } from 'node:http'
import type { Log } from '../core/component.ts'
import { explainError } from '../core/errors.ts'
import { commonHeaders, hiddenJson, Refusal } from './answer.ts'
import type { Snapshot } from './snapshot.ts'

const everyMs = 1000
/** How long a browser waits before it connects again. */
const retryMs = 2000
const mostListeners = 32
/** So many snapshots in a row that someone did not take: whoever it was is gone. */
const mostMissed = 60

interface Listener {
  readonly response: ServerResponse
  /** False from the moment on at which this listener may not look on any more. */
  readonly mayListen: () => boolean
  missed: number
}

export class SnapshotEvents implements Disposable {
  readonly #snapshot: () => Snapshot
  readonly #hide: (text: string) => string
  readonly #log: Log
  readonly #everyMs: number
  readonly #listeners = new Set<Listener>()
  #timer: NodeJS.Timeout | undefined
  #last: { readonly atMs: number; readonly bytes: Buffer } | undefined

  constructor(o: {
    readonly snapshot: () => Snapshot
    readonly hide: (text: string) => string
    readonly log: Log
    readonly everyMs?: number
  }) {
    this.#snapshot = o.snapshot
    this.#hide = o.hide
    this.#log = o.log
    this.#everyMs = o.everyMs ?? everyMs
  }

  get listeners(): number {
    return this.#listeners.size
  }

  /** Answers with events until the client goes. Throws a Refusal if too many look on. */
  add(response: ServerResponse, mayListen: () => boolean): void {
    if (this.#listeners.size >= mostListeners)
      throw new Refusal(503, `${mostListeners} others look on already: close a page, or try again`, {
        'retry-after': '10',
      })
    const listener: Listener = { response, mayListen, missed: 0 }
    response.writeHead(200, {
      ...commonHeaders,
      'content-type': 'text/event-stream; charset=utf-8',
      // Proxies would keep events until there are enough of them.
      'x-accel-buffering': 'no',
    })
    response.write(`retry: ${retryMs}\n\n`)
    this.#listeners.add(listener)
    response.once('close', () => this.#remove(listener))
    const isFresh = this.#last !== undefined && performance.now() - this.#last.atMs < this.#everyMs
    response.write(isFresh ? (this.#last?.bytes as Buffer) : this.#make())
    this.#timer ??= setInterval(() => this.#tell(), this.#everyMs).unref()
  }

  #tell(): void {
    for (const listener of this.#listeners) {
      if (listener.mayListen()) continue
      this.#remove(listener)
      listener.response.end()
    }
    const ready = [...this.#listeners].filter((listener) => isReady(listener))
    if (ready.length === 0) return
    const bytes = this.#make()
    for (const { response } of ready) response.write(bytes)
  }

  /** The next event; a comment, which keeps the connection open, if there is none. */
  #make(): Buffer {
    try {
      const bytes = Buffer.from(`event: snapshot\ndata: ${hiddenJson(this.#snapshot(), this.#hide)}\n\n`)
      this.#last = { atMs: performance.now(), bytes }
      return bytes
    } catch (error) {
      this.#log.error({ error: explainError(error) }, 'cannot tell the console how things are')
      return Buffer.from(': no snapshot\n\n')
    }
  }

  #remove(listener: Listener): void {
    this.#listeners.delete(listener)
    if (this.#listeners.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#last = undefined
  }

  /** Ends all of them. */
  [Symbol.dispose](): void {
    for (const listener of this.#listeners) {
      this.#remove(listener)
      listener.response.end()
    }
  }
}

/** False if the last event has not gone out yet. Whoever takes nothing for too long is cut off. */
function isReady(listener: Listener): boolean {
  const { response } = listener
  if (response.writableLength === 0) {
    listener.missed = 0
    return true
  }
  listener.missed += 1
  if (listener.missed >= mostMissed) response.destroy()
  return false
}
