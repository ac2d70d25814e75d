/** Finds the streamer that runs the pipelines of a configuration, and asks it over HTTP. */
import type { LoadedConfig, PipelineConfig } from '../config/pipeline.ts'
import { defaultAddress, hostOf, isLoopback, portOf } from '../console/config.ts'
import type { Snapshot } from '../console/snapshot.ts'
import type { Signal } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { databasePath } from '../ledger/database.ts'
import { holderOf } from '../ledger/meta.ts'
import { registry } from '../registry.ts'
import { ledgerOf } from './assemble.ts'
import type { Io } from './io.ts'
import { createCommandLog } from './run-log.ts'

/** It is on this machine, and answers from memory. */
const answerMs = 3000
const mostBytes = 32 * 1024 * 1024

export class RunningStreamer {
  /** `http://localhost:8090` */
  readonly url: string
  readonly #token: string | undefined

  constructor(url: string, token: string | undefined) {
    this.url = url
    this.#token = token
  }

  /** Throws run.unknown with what it says if it does not answer with what was asked for. */
  async get<T>(path: string, o: Signal): Promise<T> {
    // From this machine anybody may read; and whoever took the port meanwhile is not told the token.
    const isOpen = isLoopback(new URL(this.url).host)
    return await this.#ask<T>(path, isOpen ? {} : this.#authorization(), o)
  }

  #authorization(): Record<string, string> {
    return this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }
  }

  async #ask<T>(path: string, headers: Record<string, string>, { signal }: Signal): Promise<T> {
    let response: Response
    let text: string
    const late = AbortSignal.timeout(answerMs)
    try {
      response = await fetch(`${this.url}${path}`, {
        headers,
        signal: AbortSignal.any([signal, late]),
        redirect: 'error',
      })
      text = await textOf(response)
    } catch (error) {
      const why = late.aborted ? `no answer within ${answerMs / 1000} s` : explainError(error)
      throw new StreamError('run.unknown', `cannot ask the streamer at ${this.url}: ${why}`)
    }
    try {
      const answer = JSON.parse(text) as T & { readonly detail?: string }
      if (response.ok) return answer
      throw new StreamError(
        'run.unknown',
        `the streamer at ${this.url} refuses (${response.status}): ${answer.detail ?? ''}`,
      )
    } catch (error) {
      if (error instanceof StreamError) throw error
      throw new StreamError('run.unknown', `what answers at ${this.url} is no s3-streamer (${response.status})`)
    }
  }
}

/** Throws if there is more of it than any streamer says. */
async function textOf({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of body ?? []) {
    chunks.push(chunk)
    length += chunk.length
    if (length > mostBytes) throw new Error('the answer has no end')
  }
  return Buffer.concat(chunks).toString()
}

export interface Found {
  readonly streamer: RunningStreamer
  readonly snapshot: Snapshot
}

/**
 * The streamer that runs a pipeline of `loaded`: it tells in its ledger where it listens. undefined if none answers; then
 * `refusal` may say why one did not.
 */
export async function findStreamer(
  loaded: LoadedConfig,
  io: Io,
  { signal, refused }: Signal & { readonly refused?: (why: string) => void },
): Promise<Found | undefined> {
  const known = loaded.pipelines.map((config) => lookAt(config, io))
  const token = loaded.console.token?.reveal()
  const names = new Set(loaded.pipelines.map(({ name }) => name))
  for (const url of candidates(loaded, known)) {
    const streamer = new RunningStreamer(url, token)
    try {
      const snapshot = await streamer.get<Snapshot>('/api/status', { signal })
      if (!isSnapshot(snapshot)) continue
      const isOurs = known.some(
        ({ pid, isShared, consoleUrl }) =>
          pid === String(snapshot.pid) || pid === undefined || (isShared && consoleUrl === url),
      )
      if (isOurs && snapshot.pipelines.some(({ name }) => names.has(name))) return { streamer, snapshot }
    } catch (error) {
      if (!(error instanceof StreamError)) throw error
      if (/refuses/.test(error.message)) refused?.(error.message)
    }
    if (signal.aborted) break
  }
  return undefined
}

/** Anybody may listen on that port, and its pid is one that we may signal. */
function isSnapshot(value: Partial<Snapshot> | null): boolean {
  const { pid, pipelines } = value ?? {}
  return Number.isSafeInteger(pid) && Number(pid) > 0 && Array.isArray(pipelines)
}

interface Known {
  readonly consoleUrl: string | undefined
  /** Of the process that works on the ledger, or did last; undefined if it does not tell. */
  readonly pid: string | undefined
  /** Several processes may work on it. */
  readonly isShared: boolean
}

function lookAt(config: PipelineConfig, io: Io): Known {
  const isShared = registry.sources.find(({ type }) => type === config.source.type)?.isShared ?? false
  try {
    const ledger = ledgerOf(config, 'readonly', createCommandLog(io))
    const consoleUrl = ledger.console
    void ledger[Symbol.asyncDispose]()
    return { consoleUrl, pid: holderOf(databasePath(config.state.file_path)), isShared }
  } catch (error) {
    if (!(error instanceof StreamError)) throw error
    return { consoleUrl: undefined, pid: undefined, isShared }
  }
}

function candidates({ health }: LoadedConfig, known: readonly Known[]): Set<string> {
  const told = known.flatMap(({ consoleUrl }) => consoleUrl ?? [])
  return new Set([...told, urlOf(health.address ?? defaultAddress)])
}

/** Every interface is this machine's, too. */
function urlOf(address: string): string {
  const host = hostOf(address) ?? 'localhost'
  const name = host === '0.0.0.0' || host === '::' ? 'localhost' : host
  return `http://${name.includes(':') ? `[${name}]` : name}:${portOf(address)}`
}
