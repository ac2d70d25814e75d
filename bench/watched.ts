/**
 * What watching costs: the main job with nothing served and nobody looking, and the same with the console open, its events read,
 * `/metrics` scraped every second and metrics exported by OTLP. By turns, on the same servers. `node bench/watched.ts` alone.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { fileSize } from '../src/telemetry/figures.ts'
import { figures, measure, startServers, type Usage } from './measure.ts'

const bin = fileURLToPath(new URL('../bin/s3-streamer', import.meta.url))
const port = 18_090
const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN

interface WatchedBench {
  readonly folder: string
  readonly objects: number
  readonly rounds: number
  readonly say: (line: string) => void
}

interface Watch {
  readonly title: string
  readonly health: string
  readonly otlp: string
  readonly isLooking: boolean
}

export async function watchedTable({ folder, objects, rounds, say }: WatchedBench): Promise<void> {
  const servers = await startServers('zscaler', objects)
  // A receiver of OTLP that takes everything.
  const collector = createServer((request, response) => {
    request.resume().on('end', () => response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end())
  })
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve))
  const collectorPort = (collector.address() as { port: number }).port
  const served = `{ enabled: true, address: "127.0.0.1:${port}" }`
  const watches: Watch[] = [
    { title: 'nothing served', health: '{ enabled: false }', otlp: '{}', isLooking: false },
    { title: 'console open, events read, `/metrics` each second', health: served, otlp: '{}', isLooking: true },
    {
      title: 'the same, and OTLP every second',
      health: served,
      otlp: `{ enabled: true, protocol: http, endpoint: "http://127.0.0.1:${collectorPort}", export_interval: 1s }`,
      isLooking: true,
    },
  ]
  const usages = watches.map((): Usage[] => [])
  try {
    for (let round = 0; round < rounds; round += 1)
      // Whoever comes first in a round may find the machine in another state: each does in its turn.
      for (const i of watches.map((_, n) => (n + round) % watches.length)) {
        const watch = watches[i] as Watch
        const file = join(folder, `watched-${round}-${i}.yaml`)
        writeFileSync(
          file,
          `s3: { bucket: ${servers.served.bucket}, prefix: "${servers.served.prefix}", endpoint: "${servers.served.endpoint}" }
http: { endpoints: ${JSON.stringify(servers.served.inputs)} }
state: { file_path: "${join(folder, `watched-${round}-${i}.json`)}" }
logging: { level: warn }
health: ${watch.health}
otlp: ${watch.otlp}
`,
        )
        const gone = new AbortController()
        const looking = watch.isLooking ? look(gone.signal) : undefined
        const env = { ...process.env, AWS_ACCESS_KEY_ID: 'b', AWS_SECRET_ACCESS_KEY: 'b', AWS_REGION: 'us-east-1' }
        const usage = await measure(bin, ['run', '--once', '--config', file], { env })
        gone.abort()
        await looking
        const { bytes } = await servers.stats()
        if (usage.code !== 0 || bytes !== servers.served.bytes)
          throw new Error(`${usage.code}, ${bytes} bytes: ${usage.stdout}${usage.stderr}`)
        usages[i]?.push(usage)
      }
  } finally {
    collector.close()
    collector.closeAllConnections()
    await servers.close()
  }
  say('| | CPU-s/GB | ratio | MB/s | peak RSS |\n|---|---|---|---|---|')
  const cost = (runs: readonly Usage[]) =>
    median(runs.map((usage) => figures(usage, servers.served.bytes).cpuSecondsPerGb))
  for (const [i, { title }] of watches.entries()) {
    const runs = usages[i] ?? []
    // Of each round by itself: what changes on the machine meanwhile is in both.
    const ratio = median(
      runs.map(({ cpuSeconds }, round) => cpuSeconds / (usages[0]?.[round]?.cpuSeconds ?? Number.NaN)),
    )
    const speed = median(runs.map((usage) => figures(usage, servers.served.bytes).mbPerSecond))
    const rss = Math.max(...runs.map(({ peakRssBytes }) => peakRssBytes))
    say(`| ${title} | ${cost(runs).toFixed(2)} | ${ratio.toFixed(3)} | ${Math.round(speed)} | ${fileSize(rss)} |`)
  }
}

/** As a browser and a Prometheus would, from the moment that it is there. */
async function look(signal: AbortSignal): Promise<void> {
  const url = `http://127.0.0.1:${port}`
  const events = async () => {
    const { body } = await fetch(`${url}/api/events`, { signal })
    for await (const _ of body ?? []) signal.throwIfAborted()
  }
  const scrape = async () => await (await fetch(`${url}/metrics`, { signal })).text()
  const again = async (ask: () => Promise<unknown>) => {
    while (!signal.aborted) {
      // Not there yet, or gone by now.
      await ask().catch(() => undefined)
      await sleep(1000, undefined, { signal }).catch(() => undefined)
    }
  }
  await Promise.all([again(events), again(scrape)])
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { objects: { type: 'string', default: '400' }, rounds: { type: 'string', default: '5' } },
  })
  const folder = mkdtempSync(join(tmpdir(), 's3-streamer-bench-'))
  try {
    await watchedTable({ folder, objects: Number(values.objects), rounds: Number(values.rounds), say: console.log })
  } finally {
    rmSync(folder, { recursive: true })
  }
}
