/** What `doctor` asks of a cluster: by GET and HEAD only. */
import type { Finding, Log, Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { problemOf, timed } from '../core/findings.ts'
import { checkNode, checkTarget } from './elasticsearch-check.ts'
import type { ElasticsearchConfig } from './elasticsearch-config.ts'
import { hasPlaceholder, indexAt } from './elasticsearch-index.ts'
import type { Endpoint } from './http-endpoints.ts'

/** Usual watermarks of Elasticsearch and OpenSearch, in per cent: no new shards; indices become read-only. */
const highPercent = 85
const floodPercent = 95

/** Who each node is, whether what the configuration names is there, and what may soon keep the cluster from writing. */
export async function* examineCluster(
  endpoints: readonly Endpoint[],
  config: ElasticsearchConfig,
  o: Signal,
): AsyncGenerator<Finding> {
  let works: Endpoint | undefined
  for (const endpoint of endpoints) {
    const { lines, log } = findingsLog(endpoint.dependency.name)
    try {
      await timed((signal) => checkNode(endpoint, config, log, signal), o)
      yield* lines
      works ??= endpoint
    } catch (error) {
      yield problemOf(error, o)
    }
  }
  if (!works) return
  const endpoint = works
  const { lines, log } = findingsLog(endpoint.dependency.name)
  try {
    await timed((signal) => checkTarget(endpoint, config, log, signal), o)
    yield* lines
    if (lines.length === 0) yield { level: 'ok', text: `${targetOf(config)} is there, or made by its first record` }
  } catch (error) {
    yield problemOf(error, o)
  }
  const unanswered: string[] = []
  const ask = async (what: string, path: string): Promise<unknown> => {
    try {
      return JSON.parse((await timed((signal) => endpoint.get(path, signal), o)).value.toString())
    } catch (error) {
      o.signal.throwIfAborted()
      const { status } = error instanceof StreamError ? error.data : {}
      // There is no such index yet: that was told above.
      if (status !== 404 || !path.includes('_settings')) unanswered.push(what)
      return undefined
    }
  }
  yield* blocksOf(await ask('blocks of the index', settingsPath(config)))
  yield* healthOf(await ask('the health of the cluster', '/_cluster/health?filter_path=status'))
  yield* disksOf(await ask('the disks of the nodes', '/_cat/allocation?format=json&h=node,disk.percent'))
  if (unanswered.length > 0)
    yield {
      level: 'note',
      text: `${endpoint.dependency.name} does not tell ${unanswered.join(', ')} (privilege \`monitor\`, or it has no such thing)`,
    }
}

function targetOf({ index, data_stream }: ElasticsearchConfig): string {
  return data_stream === undefined ? `index ${index}` : `data stream ${data_stream}`
}

function settingsPath({ index, data_stream }: ElasticsearchConfig): string {
  const name = index === undefined ? data_stream : hasPlaceholder(index) ? indexAt(index, Date.now()) : index
  return `/${encodeURIComponent(name ?? '')}/_settings?flat_settings=true&filter_path=*.settings.index.blocks*`
}

function* blocksOf(answer: unknown): Generator<Finding> {
  for (const [index, about] of Object.entries((answer ?? {}) as Readonly<Record<string, { settings?: unknown }>>)) {
    const settings = (about.settings ?? {}) as Readonly<Record<string, unknown>>
    const blocks = ['write', 'read_only', 'read_only_allow_delete'].filter(
      (name) => String(settings[`index.blocks.${name}`]) === 'true',
    )
    for (const name of blocks)
      yield {
        level: 'problem',
        text: `index ${index} takes no records: index.blocks.${name} is set`,
        advice:
          name === 'read_only_allow_delete'
            ? 'a disk of the cluster was full: make room, then set index.blocks.read_only_allow_delete to null'
            : `set index.blocks.${name} to null, or write to another index`,
      }
  }
}

function* healthOf(answer: unknown): Generator<Finding> {
  const { status } = (answer ?? {}) as { readonly status?: unknown }
  if (status === 'green') yield { level: 'ok', text: 'the cluster is green' }
  if (status === 'yellow')
    yield { level: 'note', text: 'the cluster is yellow: it takes records, and some replicas are missing' }
  if (status === 'red')
    yield {
      level: 'warning',
      text: 'the cluster is red: some primary shards are missing, records for them wait',
      advice: 'GET /_cluster/allocation/explain says why',
    }
}

function* disksOf(answer: unknown): Generator<Finding> {
  if (!Array.isArray(answer)) return
  let fullest: { readonly node: string; readonly percent: number } | undefined
  for (const row of answer as ReadonlyArray<Readonly<Record<string, unknown>>>) {
    const percent = Number(row['disk.percent'] ?? Number.NaN)
    if (percent >= 0 && (!fullest || percent > fullest.percent)) fullest = { node: String(row.node), percent }
  }
  if (!fullest) return
  const text = `the disk of node ${fullest.node} is ${fullest.percent} % full`
  if (fullest.percent < highPercent) yield { level: 'ok', text }
  else
    yield {
      level: fullest.percent >= floodPercent ? 'problem' : 'warning',
      text: `${text}; at ${floodPercent} % its indices become read-only, unless its watermarks are set otherwise`,
      advice: 'delete old indices, or give the node more disk',
    }
}

/** What the checks log, as findings. */
function findingsLog(who: string): { readonly lines: readonly Finding[]; readonly log: Log } {
  const lines: Finding[] = []
  const keep = (level: Finding['level']) => (facts: object, message: string) => {
    const { server, version } = facts as { readonly server?: unknown; readonly version?: unknown }
    const name = server === undefined ? '' : ` (${String(server)} ${String(version)})`
    lines.push({ level, text: `${who}: ${message}${name}` })
  }
  return { lines, log: { debug: () => undefined, info: keep('ok'), warn: keep('note'), error: keep('warning') } }
}
