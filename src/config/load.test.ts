/** What test/config/*.yaml cannot show. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { StreamError } from '../core/errors.ts'
import { registry } from '../registry.ts'
import { loadConfig, readConfigFile } from './load.ts'
import type { ConfigProblem, LoadedConfig, PipelineConfig } from './pipeline.ts'

const minimal = 's3: { bucket: weblogs }\nhttp: { endpoints: ["http://localhost:8080"] }\n'
const load = (text: string, env: Record<string, string> = {}): LoadedConfig =>
  loadConfig(text, { file: 'c.yaml', env, registry })
const pipelineOf = (text: string): PipelineConfig => load(text).pipelines[0] as PipelineConfig

function problemsOf(text: string, env: Record<string, string> = {}): ConfigProblem[] {
  try {
    load(text, env)
  } catch (error) {
    assert.ok(error instanceof StreamError && error.code === 'config.invalid', String(error))
    return error.data.problems as ConfigProblem[]
  }
  return []
}

test('A2: what is left out has the defaults that the seed shipped, where the seed had none in code', () => {
  const { source, sink, state, ...rest } = pipelineOf(minimal)
  assert.deepEqual(
    [source.workers, source.queue, source.scan_interval, source.delay_window, source.prefix],
    [15, 1000, 15_000, 60_000, ''],
  )
  assert.deepEqual(sink.batch, { records: 1000, bytes: 1048576, linger: 1000 })
  assert.deepEqual(
    [sink.max_in_flight, sink.timeout, sink.max_connections, sink.idle_timeout],
    [10, 30_000, 100, 90_000],
  )
  assert.deepEqual([sink.connect_timeout, sink.response_header_timeout], [10_000, 10_000])
  assert.deepEqual(state, {
    file_path: '/var/lib/s3-streamer/state.json',
    save_interval: 30_000,
    retention: 172_800_000,
  })
  assert.deepEqual(rest, {
    name: 's3-to-edgedelta',
    formats: [],
    default_format: 'auto',
    ...{ match: [], exclude: [], on_error: 'keep', replace: [], redact: [], envelope: 'raw' },
    decode: { line_limit: 2 ** 20, line_policy: 'split', ratio_limit: 200, size_limit: 0 },
    shutdown_timeout: 30_000,
  })
  assert.deepEqual(load(minimal).logging, { level: 'info', format: 'json' })
})

test('A2: unknown keys are problems, not ignored', () => {
  assert.deepEqual(problemsOf(`${minimal}s4: {}\n`), [
    {
      where: 'c.yaml:3:1',
      path: 's4',
      message: 'is no key of this section (did you mean "s3"?)',
    },
  ])
})

test('A16.13: with redis the state stays in one place, the file, and a warning says so: nothing falls back to a stale one', () => {
  const loaded = load(`${minimal}state: { file_path: a.json, redis: { enabled: true, host: redis.example.com } }\n`)
  assert.equal(loaded.pipelines[0]?.state.file_path, 'a.json')
  assert.deepEqual(
    loaded.warnings.map(({ message }) => message),
    ['state.redis: accepted, but this version keeps its state in the file only'],
  )
})

test('A2: a top-level redis block is read, as the README of the seed has it', () => {
  assert.deepEqual(
    problemsOf(`${minimal}redis: { database: 16 }\n`).map(({ path }) => path),
    ['redis.database'],
  )
  assert.deepEqual(
    load(`${minimal}redis: { enabled: true }\n`).warnings.map(({ message }) => message),
    ['redis: accepted, but this version keeps its state in the file only'],
  )
  assert.deepEqual(problemsOf(`${minimal}redis: { enabled: false }\nstate: { redis: { host: localhost } }\n`), [])
})

test('A2: default_format stays what the user wrote, with or without formats', () => {
  assert.equal(pipelineOf(`${minimal}processing: { default_format: cisco_umbrella }`).default_format, 'cisco_umbrella')
  assert.equal(pipelineOf(`${minimal}processing: { default_format: auto, log_format: zscaler }`).default_format, 'auto')
  const old = load(`${minimal}processing: { log_format: zscaler }`)
  assert.equal(old.pipelines[0]?.default_format, 'zscaler')
  assert.deepEqual(
    old.warnings.map(({ message }) => message),
    ['processing.log_format is deprecated: write default_format'],
  )
})

test('A2: a format that does not exist is told when the file is read', () => {
  const [problem] = problemsOf(`${minimal}processing: { log_format: auto, default_format: zscalar }`)
  assert.deepEqual(problem, {
    where: 'c.yaml:3:49',
    path: 'processing.default_format',
    message: 'there is no format "zscalar" (did you mean "zscaler"?)',
  })
})

test('A2: save_interval 0 and an empty health path, which stopped the seed with a panic, are problems', () => {
  const problems = problemsOf(`${minimal}state: { save_interval: 0 }\nhealth: { enabled: true, path: "" }`)
  assert.deepEqual(
    problems.map(({ path }) => path),
    ['state.save_interval', 'health.path'],
  )
})

test('A2, A11: s3:// before the bucket is dropped, a path behind it is told', () => {
  assert.equal(pipelineOf(minimal.replace('weblogs', 's3://weblogs')).source.bucket, 'weblogs')
  assert.match(problemsOf(minimal.replace('weblogs', 's3://weblogs/a/b'))[0]?.message ?? '', /put "a\/b" into prefix/)
})

test("A12: the file of the seed's installer, without buffer_size, is accepted; a wrong one is not", () => {
  assert.deepEqual(problemsOf(minimal), [])
  for (const size of [0, 100_001]) {
    const problems = problemsOf(minimal.replace('8080"]', `8080"], buffer_size: ${size}`))
    assert.deepEqual(
      problems.map(({ path }) => path),
      ['http.buffer_size'],
    )
  }
})

test('A13, A16.20: a health port that is the port of an input of the same host is told, and another one taken', () => {
  const texts = (address: string, endpoint = 'http://localhost:8080') =>
    load(`${minimal.replace('http://localhost:8080', endpoint)}health: { enabled: true, address: "${address}" }`)
      .warnings.map(({ message }) => message)
      .filter((message) => message.includes('port'))
  assert.deepEqual(texts(':8080'), [
    'health.address: port 8080 is the one of http://localhost:8080/ too: health checks are served at :8090 instead',
  ])
  assert.equal(texts('0.0.0.0:8080', 'http://127.0.0.1:8080').length, 1)
  assert.equal(texts(':443', 'https://u:secret@[::1]/x').length, 1)
  assert.doesNotMatch(texts(':443', 'https://u:secret@[::1]/x')[0] ?? '', /secret/)
  assert.deepEqual(texts(':8090'), [])
  assert.deepEqual(texts(':8080', 'http://agent:8080'), [])
  const addressOf = (address: string) => load(`${minimal}health: { address: "${address}" }`).health.address
  assert.equal(addressOf('0.0.0.0:8080'), '0.0.0.0:8090')
  assert.equal(addressOf(':8081'), ':8081')
})

test('in the general form a health port that is the port of an input is a problem: no file of before has it', () => {
  const file = (address: string) =>
    `pipelines:\n  - { name: a, source: { type: s3_scan, bucket: b }, sink: { type: edgedelta, endpoints: ["http://localhost:8080"] } }\nhealth: { address: "${address}" }\n`
  const [problem] = problemsOf(file(':8080'))
  assert.deepEqual([problem?.where, problem?.path], ['c.yaml:3:20', 'health.address'])
  assert.match(problem?.message ?? '', /choose another, like "localhost:8090"/)
  assert.deepEqual(problemsOf(file(':8091')), [])
})

test('a console that others could reach is not served without a token, and that is told; a short token is refused', () => {
  const warnings = (more: string) =>
    load(`${minimal}${more}`)
      .warnings.map(({ message }) => message)
      .filter((message) => message.startsWith('console'))
  assert.match(
    warnings('health: { address: ":9000" }')[0] ?? '',
    /other machines see only health checks and \/metrics at :9000/,
  )
  for (const quiet of [
    'health: { address: "localhost:9000" }',
    'health: { address: "127.0.0.1:9000" }',
    'health: { address: "[::1]:9000" }',
    'health: { address: ":9000", enabled: false }',
    'health: { address: ":9000" }\nconsole: { enabled: false }',
    'health: { address: ":9000" }\nconsole: { token: correct-horse-battery }',
    '',
  ])
    assert.deepEqual(warnings(quiet), [], quiet)
  const [problem] = problemsOf(`${minimal}console: { token: short }`)
  assert.equal(problem?.path, 'console.token')
  assert.doesNotMatch(problem?.message ?? '', /short/)
})

test('A16.18: content_type and field_separator of a format are kept', () => {
  const format = '{ name: a, filename_pattern: "*", timestamp_regex: x, content_type: text/csv, field_separator: ";" }'
  const [first] = pipelineOf(`${minimal}processing: { log_formats: [${format}] }`).formats
  assert.deepEqual([first?.content_type, first?.field_separator], ['text/csv', ';'])
})

test('each line of the message is one problem, in the order of the file, variables at the end', () => {
  const text = 'http: { endpoints: [a] }\ns3: { buket: 1 }\n'
  const lines = (() => {
    try {
      load(text, { S3_STREAMER_HTTP_WORKERS: 'x' })
    } catch (error) {
      return (error as Error).message.split('\n')
    }
    return []
  })()
  assert.deepEqual(lines, [
    'c.yaml:1:21 http.endpoints[0]: must be an http:// or https:// URL',
    'c.yaml:2:1 s3.bucket: is missing',
    'c.yaml:2:7 s3.buket: is no key of this section (did you mean "bucket"?)',
    'S3_STREAMER_HTTP_WORKERS http.workers: must be a number, not text',
  ])
})

test('of a value that may be text or a list, what is wrong in it is told, not that it is the other', () => {
  const config = (more: string) =>
    `pipelines:\n  - { name: a, source: { type: s3_scan, bucket: b }, sink: { type: stdout }, ${more} }\n`
  const messages = (more: string) => problemsOf(config(more)).map(({ path, message }) => `${path}: ${message}`)
  for (const [given, path] of [
    ['"(a"', 'match'],
    ['["b", "(a"]', 'match\\[1\\]'],
  ] as const) {
    const [problem, ...others] = messages(`match: ${given}`)
    assert.match(problem ?? '', new RegExp(`pipelines\\[0\\]\\.${path}: "\\(a" is no RE2 expression: missing closing`))
    assert.deepEqual(others, [])
  }
  assert.match(messages('match: 5').join(), /match: must be (text|a list)/)
})

test('a file that cannot be read says what to do', () => {
  const directory = mkdtempSync(join(tmpdir(), 's3-streamer-'))
  try {
    const latin = join(directory, 'latin.yaml')
    writeFileSync(latin, Buffer.from('s3: { bucket: "b\xfccher" }', 'latin1'))
    const bom = join(directory, 'bom.yaml')
    writeFileSync(bom, `\ufeff${minimal.replaceAll('\n', '\r\n')}`)
    const refused = (path: string, pattern: RegExp) =>
      assert.throws(
        () => readConfigFile(path),
        (error) => error instanceof StreamError && error.code === 'config.invalid' && pattern.test(error.message),
      )
    refused(
      join(directory, 'none.yaml'),
      /none\.yaml: cannot read the configuration: there is no such file; name yours with --config/,
    )
    refused(directory, /it is a directory; name the file in it/)
    refused(latin, /it is not UTF-8; save it as UTF-8/)
    assert.equal(pipelineOf(readConfigFile(bom)).source.bucket, 'weblogs')
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test('whatever the text and the environment, nothing but config.invalid is thrown', () => {
  const keys = [
    's3',
    'http',
    'pipelines',
    'source',
    'sink',
    'type',
    'bucket',
    'endpoints',
    'batch',
    'auth',
    'headers',
    'processing',
    'log_formats',
    'redis',
    'state',
    'health',
    'enabled',
    'address',
    'name',
    'x',
  ]
  const scalars = fc.constantFrom(
    's3_scan',
    'http',
    'edgedelta',
    'bearer',
    'http://a',
    1,
    -1,
    0.5,
    true,
    null,
    '',
    '${X}',
    '${X:-1}',
    '5s',
    '(',
    '[a',
  )
  const { node } = fc.letrec((tie) => ({
    node: fc.oneof(
      { maxDepth: 5 },
      scalars,
      fc.array(tie('node'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...keys), tie('node'), { maxKeys: 6 }),
    ),
  }))
  const variables = fc.constantFrom(
    'S3_STREAMER_HTTP_ENDPOINTS',
    'S3_STREAMER_S3_BUCKET',
    'S3_STREAMER_PIPELINES_0_NAME',
    'S3_STREAMER_PIPELINES_0_SOURCE_TYPE',
    'S3_STREAMER_HTTP_HEADERS_A',
    'S3_STREAMER_',
    'X',
  )
  void fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        node.map((value) => JSON.stringify(value)),
        fc.string().map((tail) => minimal + tail),
      ),
      fc.dictionary(variables, fc.string(), { maxKeys: 2 }),
      (text, env) => {
        for (const { message } of problemsOf(text, env)) assert.notEqual(message, '')
      },
    ),
    { numRuns: 300 },
  )
})
