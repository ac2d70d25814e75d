/**
 * The main job before your eyes: an S3 server and two Edge Delta-like inputs in this process, the real command beside it. The
 * inputs fail now and then, and half-way the streamer is killed with `kill -9` and started again. Then every line is counted.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { count, fileSize } from '../src/telemetry/figures.ts'
import { type Fault, type HttpInput, startHttpInput } from '../test/servers/http-input.ts'
import { startS3 } from '../test/servers/s3.ts'
import { LineCounter, ZscalerData, zscalerPrefix } from '../test/servers/zscaler-data.ts'
import { Streamer } from './streamer.ts'

const { values: flags } = parseArgs({
  options: {
    keep: { type: 'boolean', default: false },
    short: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (flags.help) {
  console.log(
    'npm run demo -- [--short] [--keep]\n  --short  fewer objects\n  --keep   leave the servers and the streamer running to play with, until Ctrl-C',
  )
  process.exit(0)
}

const bucket = 'demo-logs'
const limitMs = 120_000
const objects = flags.short ? 24 : 80
const folder = mkdtempSync(join(tmpdir(), 's3-streamer-demo-'))
const say = (text: string) => console.log(text)
const live = process.stdout.isTTY === true
const startMs = Date.now()

/** Now and then, as real agents do: busy, restarting, or gone after the batch was taken. */
function faults(n: number): Fault | undefined {
  if (n % 41 === 17) return { status: 503 }
  if (n % 97 === 29) return { status: 429, headers: { 'retry-after': '1' } }
  if (n % 67 === 31) return 'reset'
  return undefined
}

const s3 = await startS3()
s3.record = false
const data = new ZscalerData({ objects })
const counter = new LineCounter(data)
const take = (body: Buffer) => counter.add(body)
const inputs: HttpInput[] = [
  await startHttpInput({ take, fault: faults }),
  await startHttpInput({ take, fault: faults }),
]

let streamer: Streamer | undefined
let isLeaving = false
/** Keeps this process here when all is done, until Ctrl-C. */
let stay: NodeJS.Timeout | undefined
async function leave(code: number): Promise<void> {
  if (isLeaving) return
  isLeaving = true
  clearInterval(stay)
  if (streamer && streamer.child.exitCode === null) {
    streamer.kill('SIGTERM')
    await streamer.ended
  }
  await Promise.all([...inputs.map((input) => input.close()), s3.close()])
  rmSync(folder, { recursive: true, force: true })
  process.exitCode = code
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void leave(130))

say(`Making ${objects} Zscaler objects of 10 MB in 6,554 lines …`)
let bytes = 0
for await (const object of data.all()) {
  s3.put(object.key, object.gz, { lastModified: object.time })
  bytes += object.bytes
}
const config = join(folder, 'config.yaml')
writeFileSync(
  config,
  `# As for the former S3 to Edge Delta streamer, plus s3.endpoint.
s3:
  bucket: ${bucket}
  prefix: "/${zscalerPrefix}"
  region: us-east-1
  endpoint: ${s3.endpoint}
http:
  endpoints:
${inputs.map(({ url }) => `    - ${url}`).join('\n')}
  batch_lines: 1000
  batch_bytes: 1048576
  flush_interval: 1s
  workers: 10
processing:
  worker_count: 15
  scan_interval: 2s
  delay_window: 1s
state:
  file_path: ${join(folder, 'state.json')}
  save_interval: 1s
logging:
  level: info
  format: text
`,
)
say(`\n$ s3-streamer --config ${config}\n`)

let drawnMs = 0
function draw(): void {
  if (Date.now() - drawnMs < (live ? 200 : 2000)) return
  drawnMs = Date.now()
  const done = counter.expected - counter.lost
  const line = `  ${Math.round((100 * done) / counter.expected)}%  ${count(done)} of ${count(counter.expected)} lines  ${s3.counters.get} GETs`
  if (live) process.stdout.write(`\r\u001b[2K${line}`)
  else say(line)
}

/** Lets the streamer run until `isThere`; false if it ended by itself before. */
async function runUntil(isThere: () => boolean): Promise<boolean> {
  const current = new Streamer(['--config', config])
  streamer = current
  let hasEnded = false
  void current.ended.then(() => {
    hasEnded = true
  })
  while (!isThere() && !isLeaving) {
    if (hasEnded || Date.now() - startMs > limitMs) return false
    draw()
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return true
}

const runMs = Date.now()
const half = await runUntil(() => counter.expected - counter.lost > counter.expected / 2)
const killed = streamer as Streamer | undefined
if (half && killed) {
  killed.kill('SIGKILL')
  await killed.ended
  say(`${live ? '\r\u001b[2K' : ''}  kill -9 after ${count(counter.expected - counter.lost)} lines, and start again`)
}
const whole = half && (await runUntil(() => counter.lost === 0))
const seconds = (Date.now() - runMs) / 1000
const second = streamer as Streamer | undefined
if (whole && second) {
  // A little longer: what is sent twice must be seen too.
  await new Promise((resolve) => setTimeout(resolve, 300))
  if (!flags.keep) {
    second.kill('SIGTERM')
    const code = await second.ended
    if (code !== 0) say(`the streamer ended with ${code}:\n${second.output}`)
  }
}
if (live) process.stdout.write('\r\u001b[2K')

const { expected, received, lost, duplicated, strange } = counter.result()
const cpu = (killed?.cpuSeconds ?? 0) + (second?.cpuSeconds ?? 0)
const peak = Math.max(killed?.peakRssBytes ?? 0, second?.peakRssBytes ?? 0)
const refused = inputs.reduce((sum, input) => sum + input.requests, 0)
const isGood = whole && lost === 0 && strange === 0
say(`
lines sent        ${count(expected)}  (${objects} objects, ${fileSize(bytes)})
lines received    ${count(received)}  (in ${count(refused)} requests, some of them refused or reset on purpose)
lost              ${count(lost)}
duplicated        ${count(duplicated)}  (by the kill and the resets: at least once)
speed             ${fileSize(bytes / seconds)}/s, with S3 and the inputs on the same cores, restart included
${cpu > 0 ? `CPU               ${((cpu * 1e9) / bytes).toFixed(2)} s per GB of log, start-up of two processes included\npeak memory       ${fileSize(peak)}\n` : ''}
${isGood ? 'PASSED: every line arrived.' : 'FAILED: not every line arrived.'}`)
if (!isGood) say(`\nlast output of the streamer:\n${(second ?? killed)?.output.slice(-4000)}`)

if (isGood && flags.keep) {
  say(`
It keeps running. S3 is at ${s3.endpoint}, bucket ${bucket}; the configuration is ${config}
Its console: ${/ at (http:\/\/localhost:\d+)/.exec(second?.output ?? '')?.[1] ?? 'see its log'}
Try, in another terminal:

  export AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo
  bin/s3-streamer status --config ${config}
  bin/s3-streamer explain '${data.key(0, data.time(0))}' --config ${config}
  curl -T README.md '${s3.endpoint}/${bucket}/${encodeURI(zscalerPrefix)}hello.txt'    # a new object: it arrives within seconds

Ctrl-C ends everything and leaves nothing behind.`)
  stay = setInterval(() => undefined, 1000)
} else await leave(isGood ? 0 : 1)
if (isLeaving) process.exit()
