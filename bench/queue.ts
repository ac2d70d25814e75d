/** SQS to each sink, with and without a filter: what a record costs. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fileSize } from '../src/telemetry/figures.ts'
import { figures, measure, startScript, type Usage } from './measure.ts'
import type { QueueServed, QueueStats } from './queue-servers.ts'

const bin = fileURLToPath(new URL('../bin/s3-streamer', import.meta.url))

/** About a third of the records pass the regex, 2 % the comparison; the last one lets all pass. */
const filters: ReadonlyArray<readonly [name: string, yaml: string]> = [
  ['none', ''],
  ['match', `match: '"method":"(POST|PUT|DELETE)"'`],
  ['filter', `filter: 'status >= 500 && client.country == "DE"'`],
  ['match, all pass', `match: '"status":[25]0\\d'`],
  ['filter, all pass', `filter: 'status >= 100'`],
]

const sinksOf = (served: QueueServed, folder: string): ReadonlyArray<readonly [name: string, yaml: string]> => [
  ['http', `{ type: http, endpoints: ["${served.http}"] }`],
  ['kafka', `{ type: kafka, brokers: ["${served.kafka}"], topic: bench }`],
  ['kafka, zstd', `{ type: kafka, brokers: ["${served.kafka}"], topic: bench, compression: zstd }`],
  ['elasticsearch', `{ type: elasticsearch, endpoints: ["${served.elasticsearch}"], index: bench }`],
  ['gelf, TCP', `{ type: gelf, endpoints: ["tcp://${served.tcp}"] }`],
  ['syslog, TCP', `{ type: syslog, endpoints: ["tcp://${served.tcp}"] }`],
  ['file', `{ type: file, path: "${join(folder, 'out.log')}", sync: false }`],
]

/** Measures and says a table as Markdown, a row at a time: one for each sink and filter. */
export async function queueTable(o: {
  readonly folder: string
  readonly env: NodeJS.ProcessEnv
  readonly objects: number
  readonly recordBytes: number
  readonly say: (row: string) => void
}): Promise<void> {
  const { served, close } = await startScript<QueueServed>('queue-servers.ts', [o.objects, o.recordBytes])
  const { say } = o
  say('| sink | filter | records/s | MB/s | CPU-s/GB | ratio to no filter | peak RSS |')
  say('|---|---|---|---|---|---|---|')
  let runs = 0
  const run = async (sink: string, filter: string): Promise<Usage> => {
    runs += 1
    const config = join(o.folder, `queue-${o.recordBytes}-${runs}.yaml`)
    writeFileSync(
      config,
      `pipelines:
  - name: bench
    source: { type: s3_sqs, queue_url: "${served.queueUrl}", endpoint: "${served.endpoint}", region: us-east-1, wait_time: 1s }
    sink: ${sink}
    state: { file_path: "${join(o.folder, `queue-${o.recordBytes}-${runs}.json`)}" }
    ${filter}
logging: { level: warn }
`,
    )
    await fetch(served.stats, { method: 'POST' })
    // Until nothing is left: what is deleted was delivered.
    const until = async () => ((await (await fetch(served.stats)).json()) as QueueStats).messages === 0
    const usage = await measure(bin, ['-c', config], { env: o.env, until, sampleMs: 50 })
    if (usage.code !== 0) throw new Error(`the streamer ended with ${usage.code}: ${usage.stdout}${usage.stderr}`)
    return usage
  }
  try {
    for (const [name, sink] of sinksOf(served, o.folder)) {
      let plain = 0
      for (const [filterName, filter] of name === 'http' || name === 'elasticsearch' ? filters : filters.slice(0, 3)) {
        const usage = await run(sink, filter)
        const { cpuSecondsPerGb, mbPerSecond } = figures(usage, served.bytes)
        if (filterName === 'none') plain = cpuSecondsPerGb
        const rate = Math.round(served.records / usage.seconds).toLocaleString('en-US')
        const cells = [rate, mbPerSecond.toFixed(0), cpuSecondsPerGb.toFixed(2), (cpuSecondsPerGb / plain).toFixed(2)]
        say(`| ${name} | ${filterName} | ${cells.join(' | ')} | ${fileSize(usage.peakRssBytes)} |`)
      }
    }
  } finally {
    await close()
  }
}
