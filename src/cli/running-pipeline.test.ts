import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { startHttpInput } from '../../test/servers/http-input.ts'
import { startS3 } from '../../test/servers/s3.ts'
import { loadConfig } from '../config/load.ts'
import { registry } from '../registry.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { RunningPipeline } from './running-pipeline.ts'

const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

async function openFrom(yaml: string): Promise<RunningPipeline> {
  const [config] = loadConfig(yaml, { file: 'x.yaml', env: {}, registry }).pipelines
  assert.ok(config)
  return await RunningPipeline.open(config, { log, meter: new MemoryMeter() })
}

/** Runs it until something of it arrived, and stops it as a reload does; gives what is left of it. */
async function runOnce(yaml: string, signals: { soft: AbortSignal; hard: AbortSignal }, hasArrived: () => boolean) {
  const pipeline = await openFrom(yaml)
  const done = pipeline.run({ once: false, ...signals })
  for (let n = 0; n < 2000 && !hasArrived(); n += 1) await sleep(5)
  pipeline.stop(new Error('the configuration changed'))
  assert.equal(await done, 0)
  await pipeline[Symbol.asyncDispose]()
  assert.ok(hasArrived(), `nothing arrived: ${yaml}`)
  return new WeakRef(pipeline.flow)
}

test('nothing of a pipeline that a reload replaced is kept, however long the process runs', async () => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  process.env.AWS_ACCESS_KEY_ID = 'test'
  process.env.AWS_SECRET_ACCESS_KEY = 'test'
  const folder = mkdtempSync(join(tmpdir(), 's3-streamer-running-'))
  const [s3, input] = [await startS3(), await startHttpInput()]
  try {
    mkdirSync(join(folder, 'in'))
    writeFileSync(join(folder, 'in', 'a.log'), '1\n')
    s3.put('web/a.log', '1\n')
    const bucket = `bucket: logs, region: us-east-1, endpoint: "${s3.endpoint}", force_path_style: true`
    const signals = { soft: new AbortController().signal, hard: new AbortController().signal }
    const directory = `{ type: directory, path: "${join(folder, 'in')}", poll_interval: 50ms }`
    const cases: Array<[source: string, sink: string, hasArrived: () => boolean]> = [
      [
        directory,
        `{ type: http, endpoints: ["${input.url}"], batch: { linger: 10ms } }`,
        () => input.lines.length === 1,
      ],
      [
        `{ type: s3_scan, ${bucket}, prefix: web/, scan_interval: 1s, delay_window: 0s }`,
        `{ type: http, endpoints: ["${input.url}"], batch: { linger: 10ms } }`,
        () => input.lines.length === 2,
      ],
      [
        directory,
        `{ type: s3, ${bucket}, key: "copies/{path}" }`,
        () => s3.keys().some((key) => key.startsWith('copies/')),
      ],
    ]
    for (const [i, [source, sink, hasArrived]] of cases.entries()) {
      const state = `{ file_path: "${join(folder, `${i}.json`)}" }`
      const yaml = `pipelines: [{ name: one, source: ${source}, sink: ${sink}, state: ${state} }]`
      const left = await runOnce(yaml, signals, hasArrived)
      for (let n = 0; n < 50 && left.deref(); n += 1) {
        await sleep(10)
        gc()
      }
      assert.equal(left.deref(), undefined, `${source} to ${sink}`)
    }
  } finally {
    await Promise.all([s3.close(), input.close()])
    rmSync(folder, { recursive: true, force: true })
  }
})

test('a pipeline that did all it should has done so, even if its last figures cannot be had', async () => {
  const folder = mkdtempSync(join(tmpdir(), 's3-streamer-running-'))
  try {
    writeFileSync(join(folder, 'a.log'), '1\n')
    const out = join(folder, 'out', 'all')
    const sink = `{ type: file, path: "${out}" }`
    const state = `{ file_path: "${join(folder, 'state', 'x.json')}" }`
    const source = `{ type: directory, path: "${folder}", include: ["*.log"] }`
    await using pipeline = await openFrom(
      `pipelines: [{ name: one, source: ${source}, sink: ${sink}, state: ${state} }]`,
    )
    pipeline.parts.source.sample = () => {
      throw new Error('disk I/O error')
    }
    const never = new AbortController().signal
    assert.equal(await pipeline.run({ once: true, soft: never, hard: never }), 0)
    assert.equal(pipeline.state, 'stopped')
    assert.equal(readFileSync(out, 'utf8'), '1\n')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
