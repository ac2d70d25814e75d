/** For tests of sources of files: a folder, a store that can be made to fail, a clock, and what survives a restart. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { ListedObject, Outcome, Signal, Source } from '../../src/core/component.ts'
import { StreamError } from '../../src/core/errors.ts'
import { openLedger, type SqliteLedger } from '../../src/ledger/sqlite.ts'
import { directoryConfig } from '../../src/sources/directory.ts'
import type { FileObject } from '../../src/sources/file-object.ts'
import { FileSource } from '../../src/sources/file-source.ts'
import type { FileEntry, FileFacts, FileStore, OpenFile } from '../../src/sources/file-store.ts'
import { LocalStore } from '../../src/sources/local-store.ts'
import { MemoryMeter } from '../../src/telemetry/meter.ts'
import { testContext } from '../conformance/sink.ts'
import { finish, scanOnce } from '../conformance/source-harness.ts'

type Call = 'resolve' | 'list' | 'stat' | 'open' | 'read' | 'remove' | 'move'

/** A store in front of another: each call may fail, wait, or be told lies. */
export class FaultyStore implements FileStore {
  readonly #store: FileStore
  readonly calls: Array<readonly [call: Call, path: string]> = []
  /** Called before each call; what it throws is thrown, what it waits for is waited for. */
  fault: (call: Call, path: string, o: Signal) => Promise<void> | void = () => undefined
  /** Entries that are listed besides, or instead. */
  entries: (folder: string, entries: readonly FileEntry[]) => readonly FileEntry[] = (_, entries) => entries
  facts: (path: string, facts: FileFacts | undefined) => FileFacts | undefined = (_, facts) => facts
  openFiles = 0

  constructor(store: FileStore) {
    this.#store = store
  }

  get place(): string {
    return this.#store.place
  }

  async #before(call: Call, path: string, o: Signal): Promise<void> {
    this.calls.push([call, path])
    await this.fault(call, path, o)
  }

  count(call: Call): number {
    return this.calls.filter(([name]) => name === call).length
  }

  async resolve(path: string, o: Signal): Promise<string> {
    await this.#before('resolve', path, o)
    return await this.#store.resolve(path, o)
  }

  async *list(folder: string, o: Signal): AsyncGenerator<readonly FileEntry[], void, undefined> {
    await this.#before('list', folder, o)
    const all: FileEntry[] = []
    for await (const page of this.#store.list(folder, o)) all.push(...page)
    yield this.entries(folder, all)
  }

  async stat(path: string, o: Signal): Promise<FileFacts | undefined> {
    await this.#before('stat', path, o)
    return this.facts(path, await this.#store.stat(path, o))
  }

  async open(path: string, o: Signal): Promise<OpenFile> {
    await this.#before('open', path, o)
    const file = await this.#store.open(path, o)
    this.openFiles += 1
    let isOpen = true
    return {
      stat: (signal) => file.stat(signal),
      read: async (offset, into, signal) => {
        await this.#before('read', path, signal)
        return await file.read(offset, into, signal)
      },
      [Symbol.asyncDispose]: async () => {
        if (isOpen) this.openFiles -= 1
        isOpen = false
        await file[Symbol.asyncDispose]()
      },
    }
  }

  async remove(path: string, o: Signal): Promise<void> {
    await this.#before('remove', path, o)
    await this.#store.remove(path, o)
  }

  async move(from: string, to: string, o: Signal): Promise<boolean> {
    await this.#before('move', from, o)
    return await this.#store.move(from, to, o)
  }

  makeFolder(path: string, o: Signal): Promise<void> {
    return this.#store.makeFolder(path, o)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store[Symbol.asyncDispose]()
  }
}

/** Until the signal is aborted. */
export function hang(o: Signal): Promise<never> {
  return new Promise((_, reject) => {
    if (o.signal.aborted) reject(o.signal.reason)
    o.signal.addEventListener('abort', () => reject(o.signal.reason), { once: true })
  })
}

export const denied = () => new StreamError('source.access', 'cannot list /x: permission denied (give the right to it)')
export const unavailable = () => new StreamError('source.unavailable', 'cannot reach the server: connection reset')

/**
 * A run that ends by itself does so when all it gave out is finished. Tests finish when they like: so they get one that is ended when
 * a poll went through everything.
 */
export function untilListed(source: Source): Source['objects'] {
  return async function* (o) {
    const listed = new AbortController()
    const soft = AbortSignal.any([o.soft, ...(o.once ? [listed.signal] : [])])
    const objects = source.objects({ ...o, soft })[Symbol.asyncIterator]()
    try {
      for (;;) {
        let isSettled = false
        const next = objects.next().finally(() => {
          isSettled = true
        })
        while (o.once && !isSettled && !source.progress.complete) await new Promise((resolve) => setTimeout(resolve, 1))
        if (o.once && !isSettled) listed.abort(new Error('everything was listed'))
        const { done, value } = await next
        if (done) return
        yield value
      }
    } finally {
      await objects.return?.()
    }
  }
}

/** The source with another `objects`. */
export function withObjects(source: Source, objects: Source['objects']): Source {
  return new Proxy(source, {
    get: (target, name) => {
      if (name === 'objects') return objects
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

export interface BedStart {
  readonly config?: object
  readonly how?: 'stopped' | 'killed'
  readonly dryRun?: boolean
}

export class FileBed {
  readonly lines: string[] = []
  /** What is read. */
  readonly folder: string
  nowMs = Date.UTC(2026, 9, 12, 12)
  meter = new MemoryMeter()
  ledger!: SqliteLedger
  source!: FileSource
  store!: FaultyStore
  fault: FaultyStore['fault'] = () => undefined
  readonly #base = mkdtempSync(join(tmpdir(), 's3-streamer-files-'))
  #config: object = {}
  #versions = 0

  constructor() {
    this.folder = join(this.#base, 'in')
    mkdirSync(this.folder)
  }

  /** The next start; without `config` it is that of the last one. */
  async start({ config = this.#config, how = 'stopped', dryRun = false }: BedStart = {}): Promise<this> {
    await this.stop(how)
    this.#config = config
    const parsed = directoryConfig.parse({ type: 'directory', path: this.folder, poll_interval: '5ms', ...config })
    this.meter = new MemoryMeter()
    const context = { ...testContext(this.lines), nowMs: () => this.nowMs, meter: this.meter }
    this.ledger = openLedger({
      ...{ statePath: join(this.#base, 'state', 'state.json'), mode: 'exclusive', log: context.log },
      ...{ nowMs: context.nowMs, startMs: 0, retentionMs: 3_600_000, lookbackMs: 0 },
    })
    this.store = new FaultyStore(new LocalStore())
    this.store.fault = (...call) => this.fault(...call)
    const timeFromKey = () => undefined
    this.source = new FileSource(parsed, { ...context, ledger: this.ledger, dryRun, timeFromKey }, this.store)
    return this
  }

  async stop(how: 'stopped' | 'killed' = 'stopped'): Promise<void> {
    await this.source?.[Symbol.asyncDispose]()
    if (how === 'killed') this.ledger?.abandon()
    await this.ledger?.[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    rmSync(this.#base, { recursive: true })
  }

  path(name: string): string {
    return name.startsWith('/') ? name : join(this.folder, name)
  }

  /** Each put is another version. */
  put(name: string, body: string | Buffer = `content of ${name}`, modifiedMs?: number): string {
    const path = this.path(name)
    mkdirSync(dirname(path), { recursive: true })
    rmSync(path, { force: true })
    writeFileSync(path, body)
    this.#versions += 1
    this.touch(name, modifiedMs ?? this.nowMs - 3_600_000 + this.#versions * 1000)
    return name
  }

  touch(name: string, modifiedMs: number): void {
    utimesSync(this.path(name), modifiedMs / 1000, modifiedMs / 1000)
  }

  remove(name: string): void {
    rmSync(this.path(name))
  }

  read(name: string): string {
    return readFileSync(this.path(name), 'utf8')
  }

  /** Files there are, by their paths below the folder. */
  files(below = this.folder): string[] {
    const entries = readdirSync(below, { recursive: true, withFileTypes: true })
    const files = entries.filter((entry) => !entry.isDirectory())
    return files.map(({ parentPath, name }) => join(parentPath, name).slice(below.length + 1)).toSorted()
  }

  /** One run that ends by itself; what it gives is settled by `outcome` at once. */
  async run(outcome: (object: FileObject) => Outcome = () => 'done'): Promise<string[]> {
    const given: string[] = []
    const never = new AbortController().signal
    for await (const object of this.source.objects({ soft: never, once: true })) {
      given.push(object.path)
      finish(this, object, outcome(object))
    }
    return given
  }

  /** What a run gives that is ended when everything was listed; nothing of it is finished. */
  async listed(): Promise<ListedObject[]> {
    return await scanOnce(withObjects(this.source, untilListed(this.source)))
  }
}

export async function withFiles(config: object, act: (bed: FileBed) => Promise<void>): Promise<void> {
  await using bed = new FileBed()
  await bed.start({ config })
  await act(bed)
}

export const failsWith =
  (code: string, text = /./) =>
  (error: unknown): true => {
    assert.ok(error instanceof StreamError, String(error))
    assert.equal(error.code, code, error.message)
    assert.match(error.message, text)
    return true
  }

/** The source as it runs on and on; what it gives is finished as told. */
export class Follower {
  readonly given: string[] = []
  readonly #bed: FileBed
  readonly #soft = new AbortController()
  readonly #ended: Promise<void>

  constructor(bed: FileBed, outcome: (object: FileObject) => Outcome | undefined = () => 'done') {
    this.#bed = bed
    const taking = async () => {
      for await (const object of bed.source.objects({ soft: this.#soft.signal, once: false })) {
        this.given.push(object.path)
        const result = outcome(object)
        if (result) finish(bed, object, result)
      }
    }
    this.#ended = taking()
  }

  /** Waits until two polls ended, so that one began after now; gives what came since the last call. */
  async polls(): Promise<string[]> {
    const ended = () => this.#bed.lines.filter((line) => /poll: |cannot list|interrupted/.test(line)).length
    const from = ended()
    while (ended() < from + 2) await Promise.race([new Promise((resolve) => setTimeout(resolve, 2)), this.#failed()])
    return this.given.splice(0)
  }

  /** Ends only by throwing: a follower that ended by itself would be waited for in vain. */
  async #failed(): Promise<void> {
    await this.#ended
    throw new Error('the source ended')
  }

  async stop(): Promise<void> {
    this.#soft.abort(new Error('stop'))
    await this.#ended
  }
}
