/** What the suites of sources stand on: the store that a test starts, and what they all do with it. */
import { test } from 'node:test'
import type { ListedObject, Outcome, Source } from '../../src/core/component.ts'
import { nothingCounted, startOfObject } from '../../src/core/delivery.ts'
import { StreamError } from '../../src/core/errors.ts'
import type { Ledger } from '../../src/ledger/ledger.ts'

export interface SourceHarness {
  /** The next start: the source and the ledger of the last one are closed, with `killed` without saving. */
  start(how?: 'stopped' | 'killed'): Promise<{ readonly source: Source; readonly ledger: Ledger }>
  /** An object arrives, or replaces the one with its key, and the source can know. */
  put(key: string, body: Buffer): void
  remove(key: string): void
  /** From now on the store takes requests for what there is to read, or for bytes, and does not answer to the end. */
  stall(what: 'lists' | 'reads'): void
  /** From now on the store refuses the credentials. */
  deny(): void
  /** Everything the store holds, to see what `check` did. */
  content(): unknown
  /** So much time passes that a failed object is due again. */
  later(): void | Promise<void>
  /** False if it gives out what there is, but never says that this was all. */
  readonly completes?: boolean
  /** True if a replay is listed where neither `stall` nor `deny` reaches. */
  readonly replaysElsewhere?: boolean
  close(): Promise<void>
}

export type Run = (title: string, body: (harness: SourceHarness) => Promise<void>) => void

/** Tests of one store, each with its own. */
export function runOf(name: string, make: () => Promise<SourceHarness>): Run {
  return (title, body) =>
    void test(`${name}: ${title}`, { timeout: 30_000 }, async () => {
      const harness = await make()
      try {
        await body(harness)
      } finally {
        await harness.close()
      }
    })
}

export const never = new AbortController().signal
export const live = { signal: never }

/** What one scan gives out; nothing of it is finished. */
export async function scanOnce(source: Source, o: { soft?: AbortSignal } = {}): Promise<ListedObject[]> {
  const given: ListedObject[] = []
  for await (const object of source.objects({ soft: o.soft ?? never, hard: never, once: true })) given.push(object)
  return given
}

export async function bytesOf(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const read: Buffer[] = []
  for await (const chunk of chunks) read.push(chunk)
  return Buffer.concat(read)
}

export async function drain(objects: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of objects);
}

export async function collected<T>(all: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const one of all) list.push(one)
  return list
}

/** Settles an object as the engine does. */
export function finish(
  { source, ledger }: { readonly source: Source; readonly ledger: Ledger },
  object: ListedObject,
  outcome: Outcome = 'done',
): void {
  ledger.begin(object)
  const where = { position: startOfObject, counts: nothingCounted }
  if (outcome === 'stopped') ledger.suspend(object.id)
  else ledger.settle(object.id, outcome, { ...where, timeMs: object.timeMs, reason: 'because' })
  source.finished(object, outcome, nothingCounted)
}

/** The key that it was put with: a source of files has the folder it reads in front of it. */
export const nameOf = ({ path, key }: ListedObject) => path ?? key
export const keysOf = (objects: readonly ListedObject[]) => objects.map(nameOf).toSorted()
export const failsWith = (code: string) => (error: unknown) => error instanceof StreamError && error.code === code
