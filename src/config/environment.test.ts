import assert from 'node:assert/strict'
import { test } from 'node:test'
import { registry } from '../registry.ts'
import { placesOf } from './environment.ts'
import { inputSchema, showPath } from './json-schema.ts'
import { loadConfig } from './load.ts'
import { fileSchema, type PipelineConfig } from './pipeline.ts'
import { seedSchema } from './seed-form.ts'

const minimal = 's3: { bucket: weblogs }\nhttp: { endpoints: ["http://localhost:8080"] }\n'

function load(text: string, env: Record<string, string>) {
  const loaded = loadConfig(text, { file: 'c.yaml', env, registry })
  return { ...loaded, pipeline: loaded.pipelines[0] as PipelineConfig }
}

/** What one variable, read with the minimal file, makes of the pipeline. */
function pipelineWith(env: Record<string, string>): PipelineConfig {
  const { pipeline, warnings } = load(minimal, env)
  assert.deepEqual(warnings, [])
  return pipeline
}

test('S3_STREAMER_<SECTION>_<KEY> sets a key, whatever underscores it has', () => {
  assert.equal(pipelineWith({ S3_STREAMER_S3_BUCKET: 'other' }).source.bucket, 'other')
  assert.equal(pipelineWith({ S3_STREAMER_S3_FORCE_PATH_STYLE: 'true' }).source.force_path_style, true)
  assert.equal(pipelineWith({ S3_STREAMER_STATE_FILE_PATH: '/tmp/s.json' }).state.file_path, '/tmp/s.json')
  assert.equal(pipelineWith({ S3_STREAMER_SHUTDOWN_TIMEOUT: '5s' }).shutdown_timeout, 5000)
  assert.equal(pipelineWith({ S3_STREAMER_DECODE_LINE_LIMIT: '2MiB' }).decode.line_limit, 2 ** 21)
  const { sink } = pipelineWith({ S3_STREAMER_HTTP_BATCH_LINES: '500', S3_STREAMER_HTTP_RETRY_MAX: '1m' })
  assert.deepEqual(sink.batch, { records: 500, bytes: 2 ** 20, linger: 1000 })
  assert.deepEqual(sink.retry, { min: 100, max: 60_000 })
})

test('a list is written with commas, or entry by entry', () => {
  const urls = ['http://a:1', 'http://b:2', 'http://c:3']
  assert.deepEqual(
    pipelineWith({ S3_STREAMER_HTTP_ENDPOINTS: ' http://a:1, http://b:2,http://c:3 ' }).sink.endpoints,
    urls,
  )
  const { endpoints } = pipelineWith({
    S3_STREAMER_HTTP_ENDPOINTS_0: 'http://a:1',
    S3_STREAMER_HTTP_ENDPOINTS_1: 'http://b:2',
    S3_STREAMER_HTTP_ENDPOINTS_2: 'http://c:3',
  }).sink
  assert.deepEqual(endpoints, urls)
})

test('a header is set by the rest of the name', () => {
  const text = minimal.replace('8080"]', '8080"], headers: { X-Api-Key: a }')
  assert.deepEqual(
    load(text, { S3_STREAMER_HTTP_HEADERS_X_API_KEY: 'b', S3_STREAMER_HTTP_HEADERS_X_OTHER: '7' }).pipeline.sink
      .headers,
    {
      'X-Api-Key': 'b',
      'x-other': '7',
    },
  )
})

test('a variant that a variable chooses has its keys', () => {
  const { sink } = pipelineWith({ S3_STREAMER_HTTP_AUTH_TOKEN: 'hidden', S3_STREAMER_HTTP_AUTH_TYPE: 'bearer' })
  assert.equal((sink.auth as { token: { reveal(): string } }).token.reveal(), 'hidden')
})

test('variables alone are a configuration', () => {
  const { pipeline } = load('', { S3_STREAMER_S3_BUCKET: 'b', S3_STREAMER_HTTP_ENDPOINTS: 'http://a' })
  assert.equal(pipeline.source.bucket, 'b')
  const general = load('', {
    S3_STREAMER_PIPELINES_0_NAME: 'p',
    S3_STREAMER_PIPELINES_0_SOURCE_TYPE: 's3_scan',
    S3_STREAMER_PIPELINES_0_SOURCE_BUCKET: 'b',
    S3_STREAMER_PIPELINES_0_SINK_TYPE: 'http',
    S3_STREAMER_PIPELINES_0_SINK_ENDPOINTS: 'http://a',
    S3_STREAMER_PIPELINES_0_SINK_BATCH_RECORDS: '9',
  })
  assert.equal(general.pipeline.name, 'p')
  assert.equal((general.pipeline.sink.batch as { records: number }).records, 9)
})

test('text, numbers and booleans come out as the key wants them, from placeholders too', () => {
  const text = [
    's3: { bucket: 123, region: "${REGION}", force_path_style: "${STYLE}" }',
    'http: { endpoints: ["${URL:-http://localhost:8080}"], workers: "${WORKERS}", batch_bytes: "${BYTES}", auth: { type: bearer, token: "${TOKEN}" } }',
    'redis: { enabled: off, password: 007 }',
  ].join('\n')
  const env = { REGION: '1', STYLE: 'yes', WORKERS: '3', BYTES: '65536', TOKEN: '0123' }
  const { source, sink } = load(text, env).pipeline
  assert.deepEqual([source.bucket, source.region, source.force_path_style], ['123', '1', true])
  assert.deepEqual([sink.max_in_flight, (sink.batch as { bytes: number }).bytes], [3, 65536])
  assert.equal((sink.auth as { token: { reveal(): string } }).token.reveal(), '0123')
})

test('A1: a variable that names no key is told, ours are not', () => {
  const { warnings } = load(minimal, {
    S3_STREAMER_HTTP_BATCH_LINE: '1',
    S3_STREAMER_ZZQQXX: '1',
    S3_STREAMER_LAUNCHED: '1',
    S3_STREAMER_TEST_X: '1',
    STREAMER_VERSION: '1.0.0',
  })
  assert.deepEqual(
    warnings.map(({ where, message }) => [where, message]),
    [
      [
        'S3_STREAMER_HTTP_BATCH_LINE',
        'S3_STREAMER_HTTP_BATCH_LINE names no key of the configuration (did you mean S3_STREAMER_HTTP_BATCH_LINES?)',
      ],
      ['S3_STREAMER_ZZQQXX', 'S3_STREAMER_ZZQQXX names no key of the configuration'],
    ],
  )
})

test('no two keys have the same variable', () => {
  for (const schema of [seedSchema, fileSchema(registry)]) {
    const places = placesOf(inputSchema(schema), {})
    assert.ok(places.size > 40)
    for (const [variable, { path }] of places) {
      assert.equal(variable, `S3_STREAMER_${showPath(path).replaceAll(/\W+/g, '_').toUpperCase()}`.replace(/_$/, ''))
    }
    assert.equal(new Set([...places.values()].map(({ path }) => showPath(path))).size, places.size)
  }
})
