/**
 * `npm run bench`: the whole command beside a bare GET → gunzip → POST script, in one run on this machine, and what large and
 * many objects cost. Writes bench/results.md. `-- --quick` takes a tenth of everything and writes nothing.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { count, fileSize } from '../src/telemetry/figures.ts'
import { startHttpInput } from '../test/servers/http-input.ts'
import { startS3 } from '../test/servers/s3.ts'
import { zscalerObject } from '../test/servers/zscaler-data.ts'
import { copyTable } from './copy.ts'
import { decoderCosts, decoderTable } from './decoders.ts'
import { figures, measure, startServers, type Usage } from './measure.ts'
import { queueTable } from './queue.ts'
import { watchedTable } from './watched.ts'

const { values: flags } = parseArgs({ options: { quick: { type: 'boolean', default: false } } })
const scale = flags.quick ? 0.1 : 1
const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 's3-streamer-bench-'))
const env = { ...process.env, AWS_ACCESS_KEY_ID: 'bench', AWS_SECRET_ACCESS_KEY: 'bench', AWS_REGION: 'us-east-1' }
const rows: string[] = []
const say = (line: string) => {
  rows.push(line)
  console.log(line)
}
let runs = 0

function configOf(o: {
  endpoint: string
  prefix: string
  inputs: readonly string[]
  s3?: string
  processing?: string
}): string {
  runs += 1
  const file = join(folder, `config-${runs}.yaml`)
  writeFileSync(
    file,
    `s3: { bucket: bench, prefix: "${o.prefix}", endpoint: "${o.endpoint}"${o.s3 ?? ''} }
http: { endpoints: ${JSON.stringify(o.inputs)} }
processing: { worker_count: 15${o.processing ?? ''} }
state: { file_path: "${join(folder, `state-${runs}.json`)}" }
logging: { level: warn, format: json }
`,
  )
  return file
}

async function streamOnce(file: string): Promise<Usage> {
  const usage = await measure(path('../bin/s3-streamer'), ['run', '--once', '--config', file], { env })
  if (usage.code !== 0) throw new Error(`the streamer ended with ${usage.code}: ${usage.stdout}${usage.stderr}`)
  return usage
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN

async function mainJob(): Promise<void> {
  const servers = await startServers('zscaler', Math.round(400 * scale))
  const { served } = servers
  const floors: Usage[] = []
  const ours: Usage[] = []
  const inputs = served.inputs.flatMap((url) => ['--input', url])
  const floorArgs = [
    path('floor.ts'),
    '--endpoint',
    served.endpoint,
    '--bucket',
    served.bucket,
    '--prefix',
    served.prefix,
    ...inputs,
  ]
  for (let round = 0; round < 3; round += 1) {
    floors.push(await measure(process.execPath, floorArgs, { env }))
    await servers.stats()
    ours.push(await streamOnce(configOf({ endpoint: served.endpoint, prefix: served.prefix, inputs: served.inputs })))
    const stats = await servers.stats()
    if (stats.bytes !== served.bytes) throw new Error(`${stats.bytes} bytes arrived of ${served.bytes}`)
  }
  await servers.close()
  const cost = (usages: readonly Usage[]) => ({
    cpu: median(usages.map((usage) => figures(usage, served.bytes).cpuSecondsPerGb)),
    speed: median(usages.map((usage) => figures(usage, served.bytes).mbPerSecond)),
    rss: Math.max(...usages.map(({ peakRssBytes }) => peakRssBytes)),
  })
  const [floor, product] = [cost(floors), cost(ours)]
  say(
    `## The main job: ${count(served.objects)} Zscaler objects, ${fileSize(served.bytes)}, medians of three runs each, taken in turn\n`,
  )
  say('| | CPU-s/GB | MB/s | peak RSS |\n|---|---|---|---|')
  say(
    `| bare script (GET, gunzip, cut, POST) | ${floor.cpu.toFixed(2)} | ${Math.round(floor.speed)} | ${fileSize(floor.rss)} |`,
  )
  say(
    `| s3-streamer run --once, start-up included | ${product.cpu.toFixed(2)} | ${Math.round(product.speed)} | ${fileSize(product.rss)} |`,
  )
  say(`| **ratio** | **${(product.cpu / floor.cpu).toFixed(2)}** | ${(product.speed / floor.speed).toFixed(2)} | |`)
}

/** One object every 2.6 s: the 3.8 MB/s that the old program was measured at. */
async function seedRate(): Promise<void> {
  const s3 = await startS3()
  let bytes = 0
  const take = (body: Buffer) => {
    bytes += body.length
  }
  const inputs = [await startHttpInput({ take }), await startHttpInput({ take })]
  const file = configOf({
    endpoint: s3.endpoint,
    prefix: 'p/',
    inputs: inputs.map(({ url }) => url),
    processing: ', scan_interval: 1s, delay_window: 1s',
  })
  const objects = Math.max(4, Math.round(14 * scale))
  let isDone = false
  const feeding = (async () => {
    for (let i = 0; i < objects; i += 1) {
      const { key, body } = zscalerObject({ object: i, startMs: Date.now() - 5000 })
      s3.put(`p/${key}`, body)
      await sleep(2600)
    }
    isDone = true
  })()
  const usage = await measure(path('../bin/s3-streamer'), ['--config', file], { env, until: async () => isDone })
  await feeding
  await Promise.all([s3.close(), ...inputs.map((input) => input.close())])
  say(
    `| ${count(objects)} objects, one every 2.6 s (3.8 MB/s), daemon | ${fileSize(bytes)} | ${usage.seconds.toFixed(1)} s | ${((100 * usage.cpuSeconds) / usage.seconds).toFixed(1)} % of a core | ${fileSize(usage.peakRssBytes)} |`,
  )
}

async function scenario(title: string, name: string, amount: number | undefined, s3 = ''): Promise<void> {
  const servers = await startServers(name, amount)
  const { served } = servers
  const usage = await streamOnce(
    configOf({ endpoint: served.endpoint, prefix: served.prefix, inputs: served.inputs, s3 }),
  )
  const stats = await servers.stats()
  await servers.close()
  const perObject = name === 'small' ? `, ${Math.round(served.objects / usage.seconds)} objects/s` : ''
  const speed =
    stats.bytes > 0
      ? `${fileSize(stats.bytes / usage.seconds)}/s, ${(usage.cpuSeconds / (stats.bytes / 1e9)).toFixed(2)} CPU-s/GB`
      : `${usage.cpuSeconds.toFixed(1)} CPU-s`
  say(
    `| ${title} | ${fileSize(stats.bytes)} | ${usage.seconds.toFixed(1)} s | ${speed}${perObject} | ${fileSize(usage.peakRssBytes)} |`,
  )
}

try {
  say('# Measured\n')
  say(
    `By \`npm run bench\`, on ${cpus().length} cores (${cpus()[0]?.model.trim()}), ${fileSize(totalmem())}, Node ${process.versions.node}; S3 server and two receivers on the same cores.`,
  )
  say('Compare rows of one table: absolute times differ from machine to machine.\n')
  await mainJob()
  say('\n## The same job watched, by turns, medians\n')
  say(
    'The ratio is the median of those of each round. A run takes some seconds, so what loading costs is in it; what stays costs 1 to 2 % of a core.\n',
  )
  await watchedTable({ folder, objects: Math.round(400 * scale), rounds: flags.quick ? 1 : 7, say })
  say('\n## Large, many, slow\n')
  say('| what | delivered | time | cost | peak RSS |\n|---|---|---|---|---|')
  await seedRate()
  await scenario('one plain object of 10 GB', 'plain', 10 * scale)
  await scenario('one CloudTrail object, 1 GB of JSON in one line', 'cloudtrail', scale)
  await scenario('the same, gzipped', 'cloudtrail-gz', scale)
  await scenario('20,000 objects of 5 KB', 'small', Math.round(20_000 * scale))
  await scenario(
    'listing 1 M keys, flat, nothing new',
    'keys',
    Math.round(1e6 * scale),
    ', partition: none, start_at: now',
  )
  const objects = Math.round(100 * scale)
  say(`\n## SQS to each sink: ${objects} objects of 10 MB, JSON records of 300 bytes, start-up included\n`)
  say(
    'The receivers are in one other process on the same cores and only count. `match` passes a third of the records, `filter` 2 %.\n',
  )
  await queueTable({ folder, env, objects, recordBytes: 300, say })
  say(`\n## SFTP to S3 beside rclone, by turns on the same sshd and S3 server (versitygw)\n`)
  say(
    'Start-up included; every copy is compared with its files. Memory and processor time of the servers are apart. Median of the rounds.\n',
  )
  await copyTable({ folder, scale, rounds: flags.quick ? 1 : 3, say })
  say('\n## Decoders\n')
  say(decoderTable(await decoderCosts()))
  if (!flags.quick) writeFileSync(path('results.md'), `${rows.join('\n')}\n`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
