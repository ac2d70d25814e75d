/** The metrics of a streamer that runs, looked at again and again: whatever happens to it, its counts balance at each look. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Family, parsePrometheus } from '../servers/prometheus-parse.ts'
import { startPushgateway } from '../servers/pushgateway.ts'
import type { Command } from './command.ts'

/** What became of records. */
export interface Balance {
  readonly read: number
  readonly delivered: number
  readonly filtered: number
  readonly quarantined: number
}

/** The metrics of one moment. */
export class Figures {
  readonly families: ReadonlyMap<string, Family>

  constructor(text: string) {
    this.families = parsePrometheus(text)
    assert.equal(this.sum('http_buffer_drops_total'), 0)
    for (const { labels, value: read } of this.families.get('records_read_total')?.samples ?? []) {
      const { delivered, filtered, quarantined } = this.balance(labels.pipeline)
      assert.equal(read, delivered + filtered + quarantined, `${labels.pipeline}: what was read is not accounted for`)
    }
  }

  /** Sum of the series that have these labels; of a histogram its observations. 0 if there is none. */
  sum(name: string, labels: Readonly<Record<string, string>> = {}): number {
    const family = this.families.get(name)
    const wanted = family?.type === 'histogram' ? `${name}_count` : name
    const isMeant = (of: Readonly<Record<string, string>>) =>
      Object.entries(labels).every(([label, value]) => of[label] === value)
    return (family?.samples ?? [])
      .filter((sample) => sample.name === wanted && isMeant(sample.labels))
      .reduce((sum, { value }) => sum + value, 0)
  }

  /** Of one pipeline, or of all of them. */
  balance(pipeline?: string): Balance {
    const of = (what: string) => this.sum(`records_${what}_total`, pipeline === undefined ? {} : { pipeline })
    return {
      read: of('read'),
      delivered: of('delivered'),
      filtered: of('filtered'),
      quarantined: of('quarantined'),
    }
  }
}

/** Scrapes a process until it ends. */
export class Watch {
  looks = 0
  last: Figures | undefined
  /** Metrics that were above 0 at some look. */
  readonly seen = new Set<string>()
  readonly #command: Command
  readonly #watching: Promise<void>
  #failure: unknown

  constructor(command: Command) {
    this.#command = command
    this.#watching = this.#follow().catch((error: unknown) => {
      this.#failure = error
    })
  }

  async #follow(): Promise<void> {
    const address = () => / at (http:\/\/localhost:\d+)/.exec(this.#command.stdout)?.[1]
    while (!this.#command.hasEnded && address() === undefined) await sleep(10)
    while (!this.#command.hasEnded) {
      // It may be gone at any moment, in the middle of an answer, too.
      const text = await this.#scrape(`${address()}/metrics`).catch(() => undefined)
      if (text !== undefined) {
        this.last = new Figures(text)
        this.looks += 1
        for (const name of this.last.families.keys()) if (this.last.sum(name) > 0) this.seen.add(name)
      }
      await sleep(50)
    }
  }

  async #scrape(url: string): Promise<string> {
    const answer = await fetch(url)
    const text = await answer.text()
    assert.equal(answer.status, 200, text)
    return text
  }

  /** Resolves with the figures when they are so; fails if they did not balance on the way. */
  async until(isSo: (figures: Figures) => boolean, what: string): Promise<Figures> {
    await this.#command.until(() => this.#failure !== undefined || (this.last !== undefined && isSo(this.last)), what)
    if (this.#failure !== undefined) throw this.#failure
    return this.last as Figures
  }

  /** Waits for the end of the process; throws if its figures did not balance at any look, or nobody could look. */
  async ended(): Promise<void> {
    await this.#watching
    if (this.#failure !== undefined) throw this.#failure
    assert.ok(this.looks > 0, 'nobody saw its figures')
  }
}

/** Takes the figures of runs that end by themselves: on their way, and the last ones. */
export class PushedFigures implements AsyncDisposable {
  readonly #gateway: Awaited<ReturnType<typeof startPushgateway>>

  constructor(gateway: Awaited<ReturnType<typeof startPushgateway>>) {
    this.#gateway = gateway
  }

  static async open(): Promise<PushedFigures> {
    return new PushedFigures(await startPushgateway())
  }

  /** Of the configuration. */
  get section(): { readonly endpoint: string; readonly interval: string; readonly timeout: string } {
    return { endpoint: this.#gateway.url, interval: '100ms', timeout: '1s' }
  }

  /** The same as a line of the file. */
  get config(): string {
    return `pushgateway: ${JSON.stringify(this.section)}`
  }

  get isEmpty(): boolean {
    return this.#gateway.requests.length === 0
  }

  /** The last figures of the last run; each push before them balanced as well. */
  get last(): Figures {
    const all = this.#gateway.requests.map(({ body }) => new Figures(body))
    return all.at(-1) ?? assert.fail('nothing was pushed')
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#gateway[Symbol.asyncDispose]()
  }
}
