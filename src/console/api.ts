/**
 * What the console, `status` and scripts ask of a running streamer, as JSON over HTTP. Types are those of `snapshot.ts` and
 * `operations.ts`; a member that is undefined there is left out here.
 *
 *   GET  /api/session                                          → SessionState { authenticated, canAct, tokenConfigured }
 *   POST /api/session               { token }                  → SessionState and { key }, with a cookie; 401 wrong, 429 too many wrong ones
 *   DELETE /api/session                                        → SessionState; the cookie is forgotten
 *
 *   GET  /api/status                                           → Snapshot
 *   GET  /api/series                                           → SeriesSnapshot
 *   GET  /api/config                                           → YAML, secrets hidden (text/yaml)
 *   GET  /api/runs?pipeline=P&limit=N                          → { runs: RunSnapshot[] }
 *   GET  /api/objects?pipeline=P&state=S&limit=N               → { objects: ObjectSnapshot[] }
 *   GET  /api/quarantine?pipeline=P&limit=N                    → { entries: QuarantineSnapshot[] }
 *   GET  /api/quarantine/<pipeline>/<id>                       → QuarantineDetail
 *   GET  /api/events                                           → text/event-stream, see `events.ts`
 *
 *   POST /api/quarantine/requeue    { pipeline, ids: number[] | "all" }  → { requeued: number }
 *   POST /api/quarantine/drop       { pipeline, ids: number[] }          → { dropped: number }
 *   POST /api/replays/plan          ReplayRequest                        → ReplayPlan
 *   POST /api/replays               ReplayRequest and { planned: { objects, bytes } } → { id: number }
 *   POST /api/replays/cancel        { pipeline, id }                     → { cancelled: true }
 *   POST /api/reload                (no body, or {})                     → ReloadOutcome, 200 also if it was refused (`ok` false)
 *
 * All parameters of the query may be left out; `limit` is 1 to 1000, else 100. Without `pipeline` it is all of them. Bodies are
 * `application/json`, at most 64 KiB. ReplayRequest is { pipeline, fromMs, toMs, prefix, bytesPerSecond }.
 *
 * What cannot be done is answered as application/problem+json { title, status, detail }, where `detail` is a sentence for people
 * that says what to do: 400 malformed, 401 token needed, 403 not allowed from there, 404 no such pipeline, entry or path,
 * 405, 409 it cannot be done as the streamer is configured, 413, 415, 429 with Retry-After, 503 with Retry-After.
 *
 * Reading is free from this machine; from elsewhere it needs the token, and acting always does (`access.ts`): either as
 * `Authorization: Bearer`, or by the cookie of POST /api/session, which a script of the page never sees, together with the key that
 * came with it, as `X-S3-Streamer-Key`. `canAct` says whether
 * this request has one of them; `authenticated` whether it may read.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Log, Signal } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import type { Access } from './access.ts'
import { type Answer, hiddenJson, json, jsonType, Refusal, text } from './answer.ts'
import type { SnapshotEvents } from './events.ts'
import type { Operations } from './operations.ts'
import {
  cancelBody,
  dropBody,
  entryId,
  listQuery,
  nothing,
  objectsQuery,
  planBody,
  readBody,
  readQuery,
  replayBody,
  requeueBody,
  tokenBody,
} from './request-body.ts'

/** A request to the API. */
export interface Call extends Signal {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** As in the URL, cut at the slashes and then decoded: names may have slashes. Without `api`. */
  readonly segments: readonly string[]
  readonly query: URLSearchParams
}

/** undefined: the answer is on its way already, and goes on. */
type Handler = (call: Call) => Answer | undefined | Promise<Answer>
type Methods = Readonly<Record<string, Handler>>

/** Each lists a bucket, which costs money and time. */
const mostPlans = 4

export class Api {
  readonly #operations: Operations
  readonly #access: Access
  readonly #events: SnapshotEvents
  readonly #hide: (text: string) => string
  readonly #log: Log
  readonly #routes: ReadonlyMap<string, Methods>
  #plans = 0

  constructor(o: {
    readonly operations: Operations
    readonly access: Access
    readonly events: SnapshotEvents
    /** Takes secrets of the configuration out of a text. */
    readonly hide: (text: string) => string
    readonly log: Log
  }) {
    this.#operations = o.operations
    this.#access = o.access
    this.#events = o.events
    this.#hide = o.hide
    this.#log = o.log
    this.#routes = new Map(Object.entries({ ...this.#session(), ...this.#looking(), ...this.#acting() }))
  }

  /** Throws a Refusal, or what `operations` throw as one. undefined: the answer is on its way already, and goes on. */
  async answer(call: Call): Promise<Answer | undefined> {
    const { segments } = call
    const entry = segments.length === 3 && segments[0] === 'quarantine' ? segments.slice(1) : undefined
    const methods = entry ? this.#entry(entry[0] as string, entry[1] as string) : this.#routes.get(segments.join('/'))
    if (!methods) throw new Refusal(404, 'there is no such path in this API')
    const method = call.request.method === 'HEAD' ? 'GET' : (call.request.method ?? '')
    const handler = Object.hasOwn(methods, method) ? methods[method] : undefined
    if (!handler) {
      const allowed = Object.keys(methods).flatMap((one) => (one === 'GET' ? ['GET', 'HEAD'] : [one]))
      throw new Refusal(405, `that path takes ${allowed.join(', ')}`, { allow: allowed.join(', ') })
    }
    try {
      return await handler(call)
    } catch (error) {
      throw refusalOf(error)
    }
  }

  #session(): Record<string, Methods> {
    const access = this.#access
    return {
      session: {
        GET: ({ request }) => {
          access.page(request)
          return json(access.state(request))
        },
        POST: async ({ request }) => {
          const { token } = await readBody(request, tokenBody)
          const { cookie, key } = access.login(request, token)
          this.#log.info({ from: request.socket.remoteAddress }, 'console: someone logged in')
          return json(
            { authenticated: true, canAct: true, tokenConfigured: true, key },
            { headers: { 'set-cookie': cookie } },
          )
        },
        DELETE: ({ request }) => {
          const cookie = access.logout(request)
          return json(access.stateWithout(request), { headers: { 'set-cookie': cookie } })
        },
      },
    }
  }

  #looking(): Record<string, Methods> {
    const operations = this.#operations
    return {
      status: this.#read(() => this.#shown(operations.snapshot())),
      series: this.#read(() => this.#shown(operations.series())),
      config: this.#read(() => text(this.#hide(operations.config()), { type: 'text/yaml; charset=utf-8' })),
      runs: this.#read(({ query }) => this.#shown({ runs: operations.runs(readQuery(query, listQuery)) })),
      objects: this.#read(({ query }) => this.#shown({ objects: operations.objects(readQuery(query, objectsQuery)) })),
      quarantine: this.#read(({ query }) =>
        this.#shown({ entries: operations.quarantine(readQuery(query, listQuery)) }),
      ),
      events: this.#read(({ request, response }) => {
        if (request.method === 'HEAD')
          return { status: 200, headers: { 'content-type': 'text/event-stream' }, body: '' }
        this.#events.add(response, () => this.#access.mayRead(request))
        return undefined
      }),
    }
  }

  #entry(pipeline: string, id: string): Methods {
    const number = entryId(id)
    return this.#read(() => {
      if (number === undefined) throw new Refusal(400, `"${id.slice(0, 40)}" is no number of an entry`)
      return this.#shown(this.#operations.quarantined(pipeline, number))
    })
  }

  #acting(): Record<string, Methods> {
    const operations = this.#operations
    return {
      'quarantine/requeue': this.#act(async (call) => {
        const { pipeline, ids } = await readBody(call.request, requeueBody)
        const requeued = operations.requeue(pipeline, ids)
        this.#tell(call, { pipeline, requeued }, 'entries of the quarantine are tried again')
        return json({ requeued })
      }),
      'quarantine/drop': this.#act(async (call) => {
        const { pipeline, ids } = await readBody(call.request, dropBody)
        const dropped = operations.drop(pipeline, ids)
        const from = call.request.socket.remoteAddress
        // The records are lost with that, as whoever did it wanted.
        this.#log.warn(
          { pipeline, dropped, ids: ids.slice(0, 20), from },
          'console: entries of the quarantine were dropped',
        )
        return json({ dropped })
      }),
      'replays/plan': this.#act(async ({ request, signal }) => {
        const asked = await readBody(request, planBody)
        if (this.#plans >= mostPlans)
          throw new Refusal(429, `${mostPlans} plans are being made already: try again when they are done`, {
            'retry-after': '10',
          })
        this.#plans += 1
        try {
          return json(await operations.planReplay(asked, { signal }))
        } finally {
          this.#plans -= 1
        }
      }),
      replays: this.#act(async (call) => {
        const asked = await readBody(call.request, replayBody)
        const id = operations.startReplay(asked)
        this.#tell(call, { pipeline: asked.pipeline, id }, 'a replay was asked for')
        return json({ id })
      }),
      'replays/cancel': this.#act(async (call) => {
        const { pipeline, id } = await readBody(call.request, cancelBody)
        operations.cancelReplay(pipeline, id)
        this.#tell(call, { pipeline, id }, 'a replay was cancelled')
        return json({ cancelled: true })
      }),
      reload: this.#act(async (call) => {
        await readBody(call.request, nothing)
        this.#tell(call, {}, 'a reload of the configuration was asked for')
        return this.#shown(await operations.reload())
      }),
    }
  }

  /** What components said may hold what they were told: a receiver sends back what it was sent. */
  #shown(value: unknown): Answer {
    return text(hiddenJson(value, this.#hide), { type: jsonType })
  }

  #read(handler: Handler): Methods {
    return {
      GET: (call) => {
        this.#access.read(call.request)
        return handler(call)
      },
    }
  }

  #act(handler: (call: Call) => Promise<Answer>): Methods {
    return {
      POST: (call) => {
        this.#access.act(call.request)
        return handler(call)
      },
    }
  }

  /** What was done by whom, for those who ask later. */
  #tell({ request }: Call, facts: object, message: string): void {
    this.#log.info({ ...facts, from: request.socket.remoteAddress }, `console: ${message}`)
  }
}

/** What cannot be done is told in its own words; what is none of ours goes on as it is. */
function refusalOf(error: unknown): unknown {
  if (!(error instanceof StreamError)) return error
  const detail = explainError(error)
  if (error.code === 'run.unknown') return new Refusal(404, detail)
  if (error.kind === 'transient') return new Refusal(503, detail, { 'retry-after': '10' })
  return error.kind === 'bug' ? error : new Refusal(409, detail)
}
