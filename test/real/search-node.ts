/** What an OpenSearch and an Elasticsearch node of the tests have in common. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { request } from 'undici'
import { JavaServer, javaSource } from './java-server.ts'
import { answer, freePort } from './process.ts'

export interface SearchNode extends AsyncDisposable {
  /** `http://127.0.0.1:<port>` */
  readonly endpoint: string
  readonly pid: number
  /** Documents that a search finds, after a refresh; 0 if there is no such index. */
  count(index: string): Promise<number>
  /** Every document of the index, in the order of its ids' storage. */
  documents(index: string): AsyncGenerator<SearchDocument, void, undefined>
  /** Sends JSON; throws unless the status is 2xx. */
  put(path: string, body: object): Promise<void>
  /** SIGKILL */
  kill(): Promise<void>
  /** On the same port and data. */
  restart(): Promise<void>
  /** Ends the server and removes its folder. */
  stop(): Promise<void>
}

export interface SearchDocument {
  readonly _id: string
  readonly _source: Readonly<Record<string, unknown>>
}

const pageDocuments = 10_000

/** `source` is the program of test/real/java, `configuration` the name of the file it reads its settings from. */
export async function startSearchNode(o: {
  readonly name: string
  readonly source: string
  readonly configuration: string
  readonly besides?: RegExp
  prepare?(folder: string): Promise<void>
}): Promise<SearchNode> {
  const [port, transport] = await Promise.all([freePort(), freePort()])
  const endpoint = `http://127.0.0.1:${port}`
  const server = await JavaServer.start({
    name: o.name,
    heap: '512m',
    ...(o.besides ? { besides: o.besides } : {}),
    args: (folder) => ['-Dlog4j2.disable.jmx=true', javaSource(o.source), folder],
    ready: () => answer(endpoint),
    prepare: async (folder) => {
      await mkdir(join(folder, 'config'))
      await writeFile(join(folder, 'config', o.configuration), settings(port, transport))
      await o.prepare?.(folder)
    },
  })
  const ask = async (method: 'GET' | 'POST' | 'PUT', path: string, body?: object) => {
    const response = await request(`${endpoint}${path}`, {
      method,
      headers: { 'content-type': 'application/json' },
      body: body ? JSON.stringify(body) : null,
    })
    const text = await response.body.text()
    if (response.statusCode >= 300) throw new Error(`${method} ${path}: ${response.statusCode} ${text.slice(0, 500)}`)
    return JSON.parse(text) as unknown
  }
  return {
    endpoint,
    get pid() {
      return server.pid
    },
    count: async (index) => {
      // An index that is being made, or that a start brings back, has no shard for a moment: then the node answers 503.
      for (const end = Date.now() + 20_000; ; ) {
        try {
          await ask('POST', `/${index}/_refresh?ignore_unavailable=true`)
          const { count } = (await ask('GET', `/${index}/_count?ignore_unavailable=true`)) as { readonly count: number }
          return count
        } catch (error) {
          if (!(error instanceof Error) || !error.message.includes(': 503 ') || Date.now() > end) throw error
          await sleep(50)
        }
      }
    },
    async *documents(index) {
      await ask('POST', `/${index}/_refresh`)
      let page = (await ask('POST', `/${index}/_search?scroll=1m`, { size: pageDocuments, sort: ['_doc'] })) as Page
      while (page.hits.hits.length > 0) {
        yield* page.hits.hits
        page = (await ask('POST', '/_search/scroll', { scroll: '1m', scroll_id: page._scroll_id })) as Page
      }
    },
    put: async (path, body) => {
      await ask('PUT', path, body)
    },
    kill: () => server.kill(),
    restart: () => server.restart(),
    stop: () => server.stop(),
    [Symbol.asyncDispose]: () => server.stop(),
  }
}

interface Page {
  readonly _scroll_id: string
  readonly hits: { readonly hits: readonly SearchDocument[] }
}

/** A test machine's disk may be nearly full. */
function settings(port: number, transport: number): string {
  return `cluster.name: s3-streamer-test
discovery.type: single-node
network.host: 127.0.0.1
http.port: ${port}
transport.port: ${transport}
cluster.routing.allocation.disk.threshold_enabled: false
`
}
