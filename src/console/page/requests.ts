/** What the page asks of the streamer: every answer is JSON, every refusal says what to do. */
import type { ReplayPlan, ReplayRequest } from '../operations.ts'
import type {
  ObjectSnapshot,
  QuarantineDetail,
  QuarantineSnapshot,
  ReloadOutcome,
  RunSnapshot,
  SeriesSnapshot,
  Snapshot,
} from '../snapshot.ts'

export interface Session {
  readonly authenticated: boolean
  /** True if this browser may act. */
  readonly canAct: boolean
  /** False: nobody can, because the configuration names no token. */
  readonly tokenConfigured: boolean
}

/** The streamer refused, or did not answer; the message is for the reader. */
export class Refusal extends Error {
  /** 0 if there was no answer. */
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

interface Listing {
  /** Undefined: of all. */
  readonly pipeline?: string | undefined
  readonly limit: number
}

type Query = Readonly<Record<string, string | number | undefined>>

/** Of our session: scripts of other ports of this host, which are sent the cookie, cannot read it. */
const keyName = 's3-streamer-key'

function sessionKey(): string | undefined {
  try {
    return localStorage.getItem(keyName) ?? undefined
  } catch {
    // The reader allows no storage: then the key is as long-lived as the page.
    return keptKey
  }
}

let keptKey: string | undefined

function keepKey(key: string | undefined): void {
  keptKey = key
  try {
    if (key === undefined) localStorage.removeItem(keyName)
    else localStorage.setItem(keyName, key)
  } catch {
    // As above.
  }
}

async function ask(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown): Promise<Response> {
  let response: Response
  const key = sessionKey()
  try {
    response = await fetch(path, {
      method,
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(key === undefined ? {} : { 'x-s3-streamer-key': key }),
      },
      body: body === undefined ? null : JSON.stringify(body),
      credentials: 'same-origin',
    })
  } catch {
    throw new Refusal(0, 'The streamer does not answer. Is it running?')
  }
  if (response.ok) return response
  throw new Refusal(response.status, await reason(response))
}

async function reason(response: Response): Promise<string> {
  const fallback = `The streamer answered ${response.status} ${response.statusText}`.trim()
  try {
    const problem: unknown = await response.json()
    if (typeof problem === 'object' && problem !== null) {
      if ('detail' in problem && typeof problem.detail === 'string') return problem.detail
      if ('title' in problem && typeof problem.title === 'string') return problem.title
    }
  } catch {
    // Not JSON: a proxy between us and the streamer has its own pages.
  }
  return fallback
}

function withQuery(path: string, query: Query): string {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') parameters.set(name, String(value))
  }
  return parameters.size === 0 ? path : `${path}?${parameters}`
}

async function get<T>(path: string, query: Query = {}): Promise<T> {
  return (await ask('GET', withQuery(path, query))).json() as Promise<T>
}

async function post<T>(path: string, body: unknown): Promise<T> {
  const text = await (await ask('POST', path, body)).text()
  return (text === '' ? undefined : JSON.parse(text)) as T
}

export const requests = {
  session: () => get<Session>('api/session'),
  signIn: async (token: string) => {
    const { key, ...session } = await post<Session & { readonly key?: string }>('api/session', { token })
    keepKey(key)
    return session
  },
  signOut: async () => {
    const left = (await (await ask('DELETE', 'api/session')).json()) as Session
    keepKey(undefined)
    return left
  },
  status: () => get<Snapshot>('api/status'),
  series: () => get<SeriesSnapshot>('api/series'),
  config: async () => (await ask('GET', 'api/config')).text(),
  runs: async (query: Listing) => (await get<{ readonly runs: RunSnapshot[] }>('api/runs', { ...query })).runs,
  objects: async (query: Listing & { readonly state?: string | undefined }) =>
    (await get<{ readonly objects: ObjectSnapshot[] }>('api/objects', { ...query })).objects,
  quarantine: async (query: Listing) =>
    (await get<{ readonly entries: QuarantineSnapshot[] }>('api/quarantine', { ...query })).entries,
  quarantined: (pipeline: string, id: number) =>
    get<QuarantineDetail>(`api/quarantine/${encodeURIComponent(pipeline)}/${id}`),
  requeue: (pipeline: string, ids: readonly number[] | 'all') =>
    post<{ readonly requeued: number }>('api/quarantine/requeue', { pipeline, ids }),
  drop: (pipeline: string, ids: readonly number[]) =>
    post<{ readonly dropped: number }>('api/quarantine/drop', { pipeline, ids }),
  planReplay: (request: ReplayRequest) => post<ReplayPlan>('api/replays/plan', request),
  startReplay: (request: ReplayRequest, planned: { readonly objects: number; readonly bytes: number }) =>
    post<{ readonly id: number }>('api/replays', { ...request, planned }),
  cancelReplay: (pipeline: string, id: number) => post<unknown>('api/replays/cancel', { pipeline, id }),
  reload: () => post<ReloadOutcome>('api/reload', {}),
}
